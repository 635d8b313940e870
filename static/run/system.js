// The System tab of a run: what its machine is doing, and did.

import * as api from "../shared/api.js";
import {fill, h, renew} from "../shared/dom.js";
import {gauges, readable, sampleAge, systemGroups, systemInclude, systemLabel,
  systemValue} from "./gauges.js";
import {Grid} from "../charts/grid.js";
import {Link} from "../charts/crosshair.js";
import {saveCsv, savePng, zoomChip} from "../charts/toolbar.js";
import {empty} from "../shared/widgets.js";
import {t} from "../shared/words.js";

const BUCKETS = 300;

export class SystemPart {
  constructor(key) {
    this.key = key;
    this.link = new Link();
    this.grid = new Grid(
      {options: (group) => this.options(group), wanted: (groups) => this.show(groups),
        items: (group, chart) => this.items(group, chart)},
      t("run.system"),
    );
    this.now = h("div.sysnow");
    this.node = h("div.systempart", {}, this.now, this.grid.box);
    this.tools = h("div.rowf");
    this.series = new Map();
    // refused or away: the old curves stay
    this.link.on((what) => what === "zoom" && (this.drawTools(), this.renew().catch(() => null)));
  }

  options(group) {
    return {
      title: group.title,
      link: this.link,
      x: "wall",
      timed: false,
      figure: systemValue,
      include: /\.temp$/.test(group.metrics[0]) ? null : systemInclude(group.metrics[0], this.sample),
    };
  }

  items(group, chart) {
    return [{label: t("charts.png"), icon: "save", disabled: !chart.plot, run: () => savePng(chart)},
      {label: t("charts.csv"), icon: "save", run: () => saveCsv(group.title, this.dressed(group))}];
  }

  dressed(group) {
    return group.metrics.map((metric, at) => ({
      ...readable(this.series.get(metric)),
      run: this.key,
      label: systemLabel(metric),
      colour: 1 + (at % 8),
      dash: at > 7 ? [6, 4] : [],
    }));
  }

  show(groups) {
    groups.forEach((group) => this.grid.set(group.id, this.dressed(group), true));
  }

  drawTools() {
    fill(this.tools, zoomChip(this.link, "wall", false));
  }

  async renew() {
    const {lo, hi} = this.link.shown || {};
    this.take(await api.get("/api/system", {run: this.key, buckets: BUCKETS, from: lo, to: hi}));
  }

  take(answer) {
    this.sample = answer.now;
    this.series = new Map(answer.series.map((one) => [one.metric, one]));
    const groups = systemGroups([...this.series.keys()]);
    if (!groups.length) {
      fill(this.node,
        empty(t("sys.none"), h("p", {}, t("sys.noneHow")), h("pre", {}, "pip install nvidia-ml-py")));
      return;
    }
    renew(this.now, h("div.sys.wide.grow", {}, gauges(answer)), h("span.m3.keep", {}, sampleAge(answer)));
    if (this.node.firstChild !== this.now) {
      fill(this.node, this.now, this.grid.box);
    }
    this.grid.setGroups(groups);
    this.show(this.grid.near());
  }

  destroy() {
    this.grid.destroy();
  }
}
