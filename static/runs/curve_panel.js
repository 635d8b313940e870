// Curves of the ticked runs beside the list; with nothing ticked, those of the run under the cursor.

import * as api from "../shared/api.js";
import {compareHref, runHref} from "../shared/address.js";
import {logarithmic, SMOOTH, splitName} from "../charts/curves.js";
import {fill, h, icon, renew} from "../shared/dom.js";
import {colourOf, setTicked, state, stroke, tick} from "../shared/store.js";
import {fullNames, tails} from "../shared/run_names.js";
import {ending, menu, middle} from "../shared/widgets.js";
import {t} from "../shared/words.js";

const MOST_CHARTS = 3;
const MOST_RUNS = 24;            // more curves than colours and dashes say nothing
const BUCKETS = 240;
const FAVOURITES = [[/^val(id(ation)?)?\/.*acc/i, /acc(uracy)?$/i], [/^val(id(ation)?)?\/loss$/i],
  [/(^|[/_])(lr|learning_rate)$/i]];

/** Which metrics are drawn: the main ones of the runs, then what people look at, then any. Pure. */
export function pickMetrics(rows, offered, most = MOST_CHARTS) {
  const main = rows.map((row) => row.main?.metric).filter(Boolean);
  const liked = FAVOURITES.map((forms) =>
    forms.map((form) => offered.find((name) => form.test(name))).find(Boolean)).filter(Boolean);
  return [...new Set([...main, ...liked, ...offered])].slice(0, most);
}

function swatch(slot, off) {
  const {colour, dash} = stroke(slot);
  return h("i.sw",
    {class: `k${colour} ${off ? "off" : ["", "dash", "dots"][dash.length ? (dash[0] > 2 ? 1 : 2) : 0]}`,
      "aria-hidden": "true"});
}

/** A metric as the options of its chart: the last part of its name bold, what stands before it faint. */
function titled(metric) {
  const {prefix, last} = splitName(metric);
  return {title: last, sub: prefix, logY: logarithmic(metric)};
}

/** The place of a chart whose points are on their way. */
function waiting(metric) {
  const {title, sub} = titled(metric);
  return h("figure.chart.waiting", {data: {wait: t("charts.loading")}},
    h("header", {}, h("h2.cut", {}, title, " ", h("span.m3", {}, sub))));
}

export class Curves {
  /** close(): the reader shut the panel. */
  constructor(close) {
    this.head = h("div.hd");
    this.legend = h("ul.lg");
    this.place = h("div.charts");
    this.node = h("aside.panel", {"aria-label": t("runs.curves")}, this.head, this.legend, this.place);
    this.close = close;
    this.charts = new Map();     // metric -> {chart, figure}
    this.hidden = new Set();
    this.rows = [];
    this.preview = false;
    this.turn = 0;
    this.link = null;            // one crosshair for all, once charts are drawn
  }

  /**
   * rows: those ticked, or the one under the cursor when preview. offered: metric names of the listed runs.
   */
  show(rows, offered, preview) {
    this.rows = rows.slice(0, MOST_RUNS);
    this.metrics = pickMetrics(this.rows, offered);
    this.preview = preview;
    this.drawHead(rows.length);
    this.drawLegend();
    return this.load();
  }

  drawHead(count) {
    const shut = h("button.btn.bare.sq",
      {type: "button", title: t("runs.hideCurves"), "aria-label": t("runs.hideCurves"),
        onclick: this.close}, icon("x"));
    if (!count || this.preview) {
      renew(this.head, h("b.cut", {}, t(count ? "runs.underCursor" : "runs.noneTicked")), h("span.grow"),
        shut);
      return;
    }
    const more = h("button.btn.bare.sq",
      {type: "button", "aria-label": t("common.more"), title: t("common.more"), "aria-haspopup": "menu",
        onclick: (event) => this.menu(event.currentTarget)}, icon("more"));
    renew(this.head, h("b", {}, t("runs.ticked", {n: state.ticked.length})),
      h("a.btn.pri", {href: compareHref(state.ticked)}, t("top.compare")), h("span.grow"),
      h("button.btn.bare", {type: "button", onclick: () => setTicked([])}, t("runs.clear")), more);
  }

  menu(anchor) {
    const hide = async (hidden) => {
      await Promise.all(state.ticked.map((key) => api.patch(api.runPath(key), {hidden})));
      setTicked([]);
    };
    const exports = this.rows.length === 1
      ? [{label: t("runs.exportCsv"),
        href: `/api/export${api.parameters({run: this.rows[0].key, format: "csv"})}`, download: ""}] : [];
    menu(anchor, [{label: t("runs.hideTicked"), icon: "eyeoff", run: () => hide(true)},
      {label: t("runs.unhideTicked"), icon: "eye", run: () => hide(false)}, ...exports,
      null, {label: t("runs.hideCurves"), icon: "x", run: this.close}], {right: true});
  }

  drawLegend() {
    const names = this.names = fullNames(this.rows), cuts = tails(names.values(), ending);
    renew(this.legend, this.rows.map((row) => {
      const off = this.hidden.has(row.key);
      const label = t(off ? "runs.showCurve" : "runs.hideCurve", {name: names.get(row.key)});
      const eye = h("button.btn.bare.eye",
        {type: "button", "aria-label": label, title: label, "aria-pressed": String(off),
          data: {key: row.key}, onclick: (event) => this.toggle(event.currentTarget.dataset.key)},
        icon(off ? "eyeoff" : "eye"));
      const drop = h("button.btn.bare.eye",
          {type: "button", "aria-label": t("runs.untick", {name: names.get(row.key)}),
            title: t("runs.untick", {name: names.get(row.key)}), data: {key: row.key},
            onclick: (event) => tick(event.currentTarget.dataset.key, false)},
          icon("x"));
      return h("li", {class: off ? "off" : ""}, swatch(colourOf(row.key), off),
        h("a.nm.cut", {href: runHref(row.key), "aria-label": names.get(row.key),
          title: `${names.get(row.key)}\n${row.id}`},
          middle(names.get(row.key), 12, cuts.get(names.get(row.key)))),
        h("span.grow"),
        this.preview ? null : [eye, drop]);
    }));
  }

  toggle(key) {
    if (!this.hidden.delete(key)) {
      this.hidden.add(key);
    }
    this.drawLegend();
    this.feed();
  }

  async load() {
    const turn = ++this.turn;
    if (!this.rows.length || !this.metrics.length) {
      this.drop(() => true);
      fill(this.place, h("p.hint", {}, this.rows.length ? t("runs.nothingLogged") : t("runs.tickHint")));
      return;
    }
    if (!this.charts.size) {
      fill(this.place, this.metrics.map(waiting));
    }
    const series = await this.ask(this.rows.map((row) => row.key));
    if (turn === this.turn) {
      this.series = series;
      await this.feed();
    }
  }

  /** The curves of runs; one that is gone, or that an old address names, costs the others none. */
  async ask(keys) {
    try {
      return (await api.get("/api/series",
        {run: keys, metric: this.metrics, buckets: BUCKETS, smooth: SMOOTH})).series;
    } catch (error) {
      if (keys.length > 1 && ["not_found", "ambiguous"].includes(error.code)) {
        return (await Promise.all(keys.map((key) => this.ask([key]).catch(() => [])))).flat();
      }
      throw error;
    }
  }

  async feed() {
    const {turn} = this;
    const [{Chart}, {Link}] = await Promise.all(
      [import("../charts/chart.js"), import("../charts/crosshair.js")]);
    if (turn !== this.turn) {
      return;                    // the panel was closed, or other runs are wanted by now
    }
    this.link ??= new Link();
    const wanted = this.metrics.filter((metric) => this.series.some((one) => one.metric === metric && one.m));
    this.drop((metric) => !wanted.includes(metric));
    for (const metric of wanted) {
      if (!this.charts.has(metric)) {
        const figure = h("figure.chart");
        this.charts.set(metric, {figure, chart: null});
        this.place.append(figure);
      }
    }
    const figures = wanted.map((metric) => this.charts.get(metric).figure);
    if (figures.some((figure, i) => this.place.children[i] !== figure)
        || this.place.children.length !== figures.length) {
      fill(this.place, figures.length ? figures : h("p.hint", {}, t("runs.nothingLogged")));
    }
    for (const metric of wanted) {
      const held = this.charts.get(metric);
      held.chart ||= new Chart(held.figure, {...titled(metric), legend: false, link: this.link});
      held.chart.setData(this.dressed(metric), true);
    }
  }

  /** The series of one metric with each run's name and colour. */
  dressed(metric) {
    const rows = new Map(this.rows.map((row) => [row.key, row]));
    return this.series.filter((one) =>
      one.metric === metric && rows.has(one.run) && !this.hidden.has(one.run))
      .map((one) => ({...one, label: this.names.get(one.run), ...stroke(colourOf(one.run))}));
  }

  drop(unwanted) {
    for (const [metric, {chart, figure}] of this.charts) {
      if (unwanted(metric)) {
        chart?.destroy();
        figure.remove();
        this.charts.delete(metric);
      }
    }
  }

  destroy() {
    this.turn += 1;
    this.drop(() => true);
  }
}
