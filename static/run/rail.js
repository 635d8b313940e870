// The rail beside a run's charts: the machine now, last values, config, code.

import {fill, h, own, renew} from "../shared/dom.js";
import {flattened} from "../shared/flatten.js";
import {gauges, sampleAge} from "./gauges.js";
import {metricValue} from "./header.js";
import {fmt, known, t} from "../shared/words.js";

const CONFIG_SHOWN = 12;
const SUMMARY_SHOWN = 10;

function pairs(rows, show) {
  return h(
    "dl.kv",
    {},
    rows.map(([name, value]) =>
      h("div", {}, h("dt.cut", {title: name}, own(name)),
        h("dd.cut", {title: fmt.given(value)}, show(name, value))),
    ),
  );
}

function code(meta) {
  const git = meta.git || {};
  const dirty = git.dirty ? h("span.warn", {title: t("run.dirty")}, " +") : null;
  const rows = [
    git.commit ? ["git", h("span.mono", {}, own(git.commit.slice(0, 8)), dirty)] : null,
    meta.python ? ["python", own(meta.python)] : null,
    meta.hostname ? [t("run.host"), own(meta.hostname)] : null,
    meta.user ? [t("run.user"), own(meta.user)] : null,
    meta.pid ? ["pid", String(meta.pid)] : null,
  ].filter(Boolean);
  return rows.length
    ? [
        h("h2", {}, t("run.code")),
        h(
          "dl.kv",
          {},
          rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd.cut", {}, value))),
        ),
      ]
    : null;
}

export class Rail {
  /** open(tab): show another tab of the page. */
  constructor(open) {
    this.open = open;
    this.machine = h("section");
    this.rest = h("section");
    this.node = h("aside.rail", {"aria-label": t("run.rail")}, this.machine, this.rest);
  }

  showSystem(answer) {
    if (!answer.now) {
      fill(this.machine);
      return;
    }
    renew(this.machine, h("h2", {}, t("run.system"), h("span.m3", {}, sampleAge(answer))),
      h("div.sys", {}, gauges(answer)));
  }

  show(row) {
    const summary = Object.entries(row.summary || {});
    const config = flattened(row.config);
    const all = (tab, n) => h("button.link", {type: "button", onclick: () => this.open(tab)},
      t("run.all", {n}));
    const first = (name) => (/^best/.test(name) ? 0 : /^val/.test(name) ? 1 : 2);
    summary.sort(([a], [b]) => first(a) - first(b));
    const parts = [
      summary.length
        ? [
            h("h2", {}, t("run.summary"), summary.length > SUMMARY_SHOWN
              ? all("config", summary.length + (row.more?.summary || 0)) : null),
            pairs(summary.slice(0, SUMMARY_SHOWN), (name, value) =>
              typeof value === "number" ? metricValue(name, value)
              : own(fmt.given(value), {class: value === "NaN" ? "bad" : ""}),
            ),
          ]
        : null,
      config.length
        ? [
            h("h2", {}, t("run.config"), all("config", config.length + (row.more?.config || 0))),
            pairs(config.slice(0, CONFIG_SHOWN), (_, value) => own(fmt.given(value))),
          ]
        : null,
      row.meta?.counts
        ? [h("h2", {}, t("run.counts")), pairs(Object.entries(row.meta.counts).map(([name, n]) =>
          [known(`run.counted.${name}`, {}, name), n]), (_, n) => fmt.int(n))] : null,
      code(row.meta || {}),
    ];
    renew(this.rest, parts);
  }
}
