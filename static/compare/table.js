// The table of the compare page: runs as columns, metrics, config and environment as rows, what differs
// first.

import {runHref} from "../shared/address.js";
import {against, configRows, environmentRows, metricRows} from "../charts/difference.js";
import {tickLabels} from "../charts/axes.js";
import {fill, h, icon, own, renew} from "../shared/dom.js";
import {colourOf, stroke} from "../shared/store.js";
import {distinctions, fullNames, heads} from "../shared/run_names.js";
import {runState} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

function swatch(key, hidden) {
  const {colour, dash} = stroke(colourOf(key));
  const kind = dash.length ? "" : "dot";
  return h(`i.sw.k${colour}`, {
    class: `${kind} ${hidden ? "off" : ""} ${dash.length ? (dash[0] > 2 ? "dash" : "dots") : ""}`,
    "aria-hidden": "true",
  });
}

/** A name that may break after its joints, so that a narrow column cuts no word. */
const breakable = (name) => name.match(/[^_./-]*[_./-]|[^_./-]+/g).flatMap(
  (part, at) => (at ? [h("wbr"), part] : [part]));

const signed = (amount, words) => `${amount > 0 ? "+" : "−"}${words}`;

/** A value that fits its column: the powers of ten have two figures. */
function short(value) {
  const words = fmt.value(value);
  return words.length > 9 && Number.isFinite(value) ? tickLabels([Number(value.toPrecision(5))])[0]
    : words.length > 8 ? words.replace(/(\.\d)\d+e/, "$1e") : words;
}

/** How a difference is written: +4.0%, −1.2 pp. */
function differenceText({kind, amount = 0}) {
  if (kind === "points") {
    return signed(amount, t("compare.points", {n: Math.abs(amount).toFixed(Math.abs(amount) < 10 ? 1 : 0)}));
  }
  const share = Math.abs(amount);
  if (kind === "share" && share < 0.0005) {
    return "0.0%";
  }
  return kind === "share"
    ? signed(amount, share >= 10 ? `${fmt.int(share)}×` : fmt.percent(share, share < 0.9995 ? 1 : 0)) : "";
}

/** Widths of the column of names and of a run's, px; the style sheet says the same. */
export const COLUMNS = [164, 112];
const [HEAD, CELL] = [22, 15];   // characters that fit: the name of a run in its two lines, a value

export class CompareTable {
  /** hooks: {hide(key), base(key), remove(key), fold(part)} */
  constructor(hooks) {
    this.hooks = hooks;
    this.node = h("div.scroll.tablepart", {tabindex: "0", role: "region", "aria-label": t("compare.table")});
    this.open = new Set();       // parts whose equal rows are shown
  }

  /**
   * runs: details in the order of the columns; choice: {base, hidden: Set, all: bool}; news: only values
   * changed, so that what has the focus keeps it.
   */
  show(runs, choice, news = false) {
    this.runs = runs;
    this.choice = choice;
    this.apart = distinctions(runs);
    this.heads = heads(runs, HEAD);
    this.base = Math.max(0, runs.findIndex(({key}) => key === choice.base));
    const columns = h("colgroup", {}, h("col.kcol"), runs.map(() => h("col.rcol")));
    const table = this.table(columns, this.head(),
      h("tbody", {}, this.metrics(), this.config(), this.environment()));
    if (news) {
      renew(this.node, table);
      return;
    }
    const [top, left] = [this.node.scrollTop, this.node.scrollLeft];
    fill(this.node, table);
    [this.node.scrollTop, this.node.scrollLeft] = [top, left];
  }

  table(...content) {
    const node = h("table.ct", {}, content);
    node.style.width = `${COLUMNS[0] + COLUMNS[1] * this.runs.length}px`;
    return node;
  }

  columnClass(at) {
    return at === this.base ? "base" : "";
  }

  head() {
    return h("thead", {}, h("tr", {}, h("th", {scope: "col"}, t("compare.against")),
      this.runs.map((run, at) => this.column(run, at))));
  }

  column(run, at) {
    const hidden = this.choice.hidden.has(run.key);
    const apart = this.apart.get(run.key);
    const name = apart ? `${run.name} ${apart}` : run.name;
    const eye = h(
      "button.btn.bare",
      {
        type: "button",
        "aria-pressed": String(hidden),
        title: t(hidden ? "compare.showRun" : "compare.hideRun", {name}),
        "aria-label": t(hidden ? "compare.showRun" : "compare.hideRun", {name}),
        onclick: () => this.hooks.hide(run.key),
      },
      icon(hidden ? "eyeoff" : "eye"),
    );
    const gone = h(
      "button.btn.bare",
      {
        type: "button",
        title: t("compare.remove", {name}),
        "aria-label": t("compare.remove", {name}),
        onclick: () => this.hooks.remove(run.key),
      },
      icon("x"),
    );
    const base = h(
      "label",
      {title: t("compare.baseline", {name})},
      h("input.radio", {
        type: "radio",
        name: "base",
        checked: at === this.base,
        "aria-label": t("compare.baseline", {name}),
        onchange: () => this.hooks.base(run.key),
      }),
      t("compare.base"),
    );
    return h(
      "th",
      {scope: "col", class: `${this.columnClass(at)} ${hidden ? "hiddenrun" : ""}`,
        data: {run: run.key, key: run.key}},
      h(
        "div.nm",
        {},
        swatch(run.key, hidden),
        h(
          "div",
          {class: apart ? "namesake" : ""},
          h("a", {href: runHref(run.key), title: `${run.project} / ${name} · ${run.id}`},
            own(breakable(this.heads.get(run.key)))),
          apart ? h("div.apart.cut", {title: apart}, own(apart)) : null,
        ),
      ),
      h("div.sub", {}, runState(run.state)),
      h("div.sub.e", {}, eye, gone, base),
    );
  }

  group(title, more, part, equal) {
    const fold = equal
      ? h(
          "button.link",
          {type: "button", onclick: () => this.hooks.fold(part)},
          this.open.has(part) || this.choice.all ? t("compare.fold") : t("compare.equal", {n: equal}),
        )
      : null;
    return h(
      "tr.grp",
      {data: {key: part}},
      h("th", {colspan: 1, scope: "rowgroup"}, title, h("span.m3", {}, more), fold),
      h("th", {colspan: this.runs.length, "aria-hidden": "true"}),
    );
  }

  // -- metrics ----------------------------------------------------------------------------------------------

  metrics() {
    const rows = metricRows(this.runs);
    return rows.length ? [this.group(t("compare.metrics"), t("compare.metricsHow"), "metrics", 0),
      rows.map((row) => (row.neutral ? this.metricRow(row, row.last, row.metric, [])
        : [this.metricRow(row, row.best, row.metric, row.starred),
          this.metricRow(row, row.last, null, [], true)]))] : null;
  }

  metricRow(row, values, name, starred, last = false) {
    const direction = row.neutral
      ? null
      : h("span.dir", {title: t(row.rule === "min" ? "compare.down" : "compare.up")},
        row.rule === "min" ? "↓" : "↑");
    const head = name ? h("th", {scope: "row", title: name}, own(name), direction)
      : h("th", {scope: "row"}, t("compare.last"));
    return h("tr", {class: last ? "sec" : ""}, head,
      values.map((value, at) => this.figure(row, values, value, at, starred.includes(at))));
  }

  figure(row, values, value, at, best) {
    const found = at === this.base ? {kind: "base"} : against(row.metric, value, values[this.base], row.rule);
    const bad = typeof value === "string";
    return h(
      "td.num",
      {title: fmt.given(value),
        class: `${this.columnClass(at)} ${best ? "best" : ""} ${bad ? "bad" : ""} ${found.kind === "same" ? "same" : ""}`},
      best ? [icon("best"), h("span.vh", {}, t("compare.best"))] : null,
      short(value),
      h("span.d", {class: found.better && !row.neutral && /[1-9]/.test(differenceText(found)) ? "up" : ""},
        differenceText(found)),
    );
  }

  // -- values -----------------------------------------------------------------------------------------------

  config() {
    return this.values(t("run.config"), "config", configRows(this.runs));
  }

  environment() {
    const words = {
      state: t("compare.state"),
      group: t("runs.col.group"),
      jobType: t("runs.col.job_type"),
      git: t("compare.git"),
      gpu: t("compare.gpu"),
      attempts: t("compare.attempts"),
      tags: t("compare.tags"),
      duration: t("compare.duration"),
      host: t("compare.host"),
      python: t("compare.python"),
    };
    const gpus = (list) =>
      list?.length
      ? `${typeof list[0] === "string" ? list[0] : list[0].name}${list.length > 1 ? ` ×${list.length}` : ""}`
      : undefined;
    return this.values(
      t("compare.environment"),
      "environment",
      environmentRows(this.runs, words,
        {gpus, duration: fmt.duration, state: (run) => t(`state.${run.state}`)}).filter(({values}) =>
          values.some((value) => value !== undefined),
        ),
    );
  }

  values(title, part, rows) {
    if (!rows.length) {
      return null;
    }
    const differing = rows.filter(({differs}) => differs);
    const shown = this.choice.all || this.open.has(part) ? rows : differing;
    return [
      this.group(title, t("compare.differ", {n: differing.length}), part, rows.length - differing.length),
      shown.map(({name, values}) =>
        h(
          "tr",
          {},
          h("th", {scope: "row", title: name}, own(name)),
          values.map((value, at) => this.cell(value, values[this.base], at)),
        ),
      ),
    ];
  }

  cell(value, base, at) {
    const same = at !== this.base && JSON.stringify(value) === JSON.stringify(base);
    const words = value === undefined ? "–" : fmt.given(value);
    return h("td.num", {class: `${this.columnClass(at)} ${same ? "same" : ""}`, title: words},
      own(value === undefined ? words : fmt.within(value, CELL)));
  }

  toggle(part) {
    if (!this.open.delete(part)) {
      this.open.add(part);
    }
  }

  /** The table as rows of text, for a CSV. */
  rows() {
    const metrics = metricRows(this.runs);
    const names = fullNames(this.runs);
    return [["", ...this.runs.map(({key}) => names.get(key))], ["id", ...this.runs.map(({id}) => id)],
      ...metrics.flatMap((row) =>
        [...(row.neutral ? [] : [[`${row.metric} (best, ${row.rule})`, ...row.best]]),
          [`${row.metric} (last)`, ...row.last]]),
      ...configRows(this.runs)
        .map(({name, values}) => [name,
          ...values.map((value) => (value === undefined ? "" : fmt.given(value)))])];
  }
}

