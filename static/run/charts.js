// The charts of one run: its metrics in groups, what the reader chose for them, their curves kept up to date.

import * as api from "../shared/api.js";
import {change} from "../shared/address.js";
import {axisChoice, chooseCharts, groupChoice, saveCsv, smoothing} from "../charts/toolbar.js";
import {Board} from "../charts/board.js";
import {fill, h, icon} from "../shared/dom.js";
import {groupMetrics, matcher, shortLabel} from "../charts/curves.js";
import {hasEnded, isLive} from "../shared/states.js";
import {colourOf, stroke} from "../shared/store.js";
import {empty, errorText} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

const AT_FIRST = 6;              // charts that are in view on a usual screen
const MOST_CURVES = 100;         // drawn in one chart: of more, no eye follows one
const PAGE = 5000;               // metrics asked for at a time
// ms after the last key before the viewer is asked for metrics that are not here
const PAUSE = 200;

/** The metrics whose curves a chart shows. */
const shown = ({metrics}) => metrics.slice(0, MOST_CURVES);

export class RunCharts extends Board {
  /** key: of the run; asked: what the address says. */
  constructor(key, asked) {
    super(t("run.charts"), asked);
    this.key = key;
    this.node = h("div.chartpart", {}, this.grid.box);
    this.tools = h("div.rowf.charttools");
    this.filter = asked.metrics || "";
    this.chosenGrouping = asked.group || null;
    this.metrics = [];
    this.drawnBy = new Map();    // metric -> the metric it is drawn by, as define_metric(step_metric=…) said
    this.concealed = new Set();  // metrics that define_metric(hidden=True) leaves out
    this.extra = [];             // metrics that the run's answer left out and that were asked for
    this.brought = 0;            // how many of all metrics were asked for one after the other
    this.morePlace = h("span.m2.small");
  }

  // -- what is shown ----------------------------------------------------------------------------------------

  get project() {
    return this.row.project;
  }

  get alive() {
    return isLive(this.row.state);
  }

  get grouping() {
    return this.chosenGrouping ?? this.choices.group ?? "last";
  }

  /** Take over the run as GET /api/runs/<key> tells it. */
  setRun(row) {
    const first = !this.row;
    const attempts = row.attempts?.at(-1)?.n || 1;
    if (this.attempts && attempts !== this.attempts) {
      this.feed.forget();
    }
    this.attempts = attempts;
    this.row = row;
    const metrics = [...row.metrics, ...this.extra];
    this.feed.count(row.key, metrics);
    if (first) {
      this.feed.set(this.how);
      this.lookFurther();
    }
    const names = [...new Set(metrics.map(({name}) => name))];
    this.concealed = new Set(metrics.filter(({hidden}) => hidden).map(({name}) => name));
    this.drawnBy = new Map(metrics.filter(({step_metric: by}) => by && names.includes(by))
      .map(({name, step_metric: by}) => [name, by]));
    if (first || names.join("\n") !== this.metrics.join("\n")) {
      this.metrics = names;
      if (first) {
        this.drawTools();
      }
      this.arrange();
    }
    this.drawMore();
    if (first) {
      // asked for before the page is laid out and tells which are in view
      this.want(this.groups.slice(0, AT_FIRST));
    }
  }

  every() {
    return groupMetrics(this.metrics.filter((name) => !this.concealed.has(name)), this.grouping);
  }

  /** A chart has an x of its own where all of its metrics are drawn by the same. */
  readAxes() {
    this.axes = new Map(this.groups.flatMap(({metrics}) => {
      const [axis, ...others] = new Set(metrics.map((metric) => this.drawnBy.get(metric)));
      return axis && !others.length ? metrics.map((metric) => [metric, axis]) : [];
    }));
  }

  arrange() {
    const accepts = matcher(this.filter);
    const groups = accepts ? groupMetrics(this.metrics.filter(accepts), this.grouping) : this.every();
    this.groups = groups;
    this.readAxes();
    this.groups = super.arrange(groups);
    fill(this.node, this.groups.length ? this.grid.box : this.nothing());
  }

  nothing() {
    if (this.metrics.length) {
      return empty(
        t("charts.noneMatch"),
        h("p", {},
          h("button.btn", {type: "button", onclick: () => this.setFilter("")}, t("charts.clearFilter"))),
      );
    }
    if (this.row.newer) {
      return empty(t("charts.unread"), h("p", {}, errorText(this.row)));
    }
    if (hasEnded(this.row.state)) {
      return empty(t("charts.noneLogged"), h("p", {}, t("charts.noneLoggedHow")));
    }
    return empty(t("charts.noMetrics"), h("p", {}, t("charts.noMetricsHow")),
      h("pre", {}, 'run.log({"loss": loss}, step=step)'));
  }

  marks() {
    const attempts = this.row.attempts || [];
    if (attempts.length < 2) {
      return [];
    }
    const first = [...this.feed.held.values()]
      .reduce((least, {superseded}) => Math.min(least, superseded?.x[0] ?? Infinity), Infinity);
    const begun = (n, from) => from ?? (
      n === 2 && attempts.length === 2 && Number.isFinite(first) ? first : null);
    return attempts
      .filter(({n}) => n > 1)
      .map(({n, from_step: from}) => ({x: begun(n, from), label: t("charts.attempt", {n})}))
      .filter(({x}) => x !== null);
  }

  options(group) {
    const options = super.options(group);
    const axis = this.axisOf(group.metrics[0]);
    return {
      ...options,
      ...(this.grouping === "one" ? {} : {title: group.title, sub: axis ? options.sub : ""}),
      ...(group.metrics.length > MOST_CURVES
        ? {sub: t("charts.some", {n: fmt.int(MOST_CURVES), all: fmt.int(group.metrics.length)})} : {}),
      marks: axis ? [] : this.marks(),
    };
  }

  /**
   * The curves of a group as they are drawn: the first in the run's colour, its companion in ink, further
   * ones in other colours.
   */
  dressed(group) {
    const own = stroke(colourOf(this.key)).colour;
    const others = [0, ...[1, 2, 3, 4, 5, 6, 7, 8].filter((one) => one !== own)];
    return shown(group).map((metric, at) => {
      const series = this.feed.get(this.key, metric);
      return (
        series && {
          ...series,
          label: shortLabel(metric, group.title, this.grouping),
          colour: at ? others[(at - 1) % others.length] : own,
          dash: at > 8 ? [6, 4] : [],
        }
      );
    }).filter((series) => series && (series.x.length || series.nan?.length));
  }

  // -- fetching ---------------------------------------------------------------------------------------------

  pairs(groups) {
    return groups.flatMap((group) => shown(group).map((metric) => [this.key, metric]));
  }

  show(groups, whole) {
    super.show(groups, whole);
    const marks = JSON.stringify(this.marks());
    if (marks !== this.marked) {
      this.marked = marks;
      this.grid.refresh();
    }
  }

  // -- the reader chooses -----------------------------------------------------------------------------------

  drawTools() {
    const field = this.field = h("input.inp", {
      placeholder: t("charts.filter"),
      value: this.filter,
      spellcheck: "false",
      "aria-label": t("charts.filter"),
      oninput: () => this.setFilter(field.value),
    });
    fill(this.tools, this.morePlace, this.hiddenPlace, this.zoomPlace,
      h("span.find.w-f", {}, icon("find"), field), smoothing(this.smooth, (smooth) => this.setSmooth(smooth)),
      axisChoice(this.x, () => this.metrics, (x) => this.setAxis(x)),
      groupChoice(this.grouping, (group) => this.setGrouping(group)), this.rankChoice());
    this.drawHidden();
    this.drawZoom();
  }

  rankChoice() {
    if (!(this.row.ranks?.length > 1)) {
      return null;
    }
    const select = h("select.inp.w-k", {"aria-label": t("run.rank"), onchange: () => {
      this.rank = Number(select.value);
      change({rank: this.rank || null});
      this.refetch();
    }}, this.row.ranks.map((rank) => h("option", {value: rank}, t("run.rankN", {n: rank}))));
    select.value = this.rank;
    return select;
  }

  setFilter(filter) {
    this.filter = filter;
    this.field.value = filter;
    change({metrics: filter || null});
    this.arrange();
    clearTimeout(this.asking);
    this.asking = setTimeout(() => this.lookFurther(), PAUSE);
  }

  /** Look among the metrics that the run's answer had no room for. */
  lookFurther() {
    return this.findMore().catch(api.quiet);
  }

  async findMore() {
    const {filter} = this;
    if (!filter || !this.row.more?.metrics) {
      return;
    }
    const {items} = await api.get("/api/part", {run: this.row.key, of: "metrics", find: filter});
    const known = new Set(this.metrics);
    const found = items.filter(({name}) => !known.has(name));
    if (found.length && filter === this.filter) {
      this.extra.push(...found);
      this.setRun(this.row);
    }
  }

  /**
   * The reader came to the end of what is here: bring more of the metrics that the run's answer had no room
   * for.
   */
  ended() {
    if (!this.filter && this.row.more?.metrics && this.metrics.length < this.count) {
      this.bringing ??= this.bring().catch(api.quiet).finally(() => { this.bringing = null; });
    }
  }

  async bring() {
    const known = new Set(this.metrics);
    for (;;) {                   // a page that only repeats what is known is no more
      const {items} = await api.get("/api/part",
        {run: this.row.key, of: "metrics", offset: this.brought, limit: PAGE});
      const found = items.filter(({name}) => !known.has(name));
      this.brought += items.length;
      if (found.length) {
        this.extra.push(...found);
        this.setRun(this.row);
      }
      if (found.length || !items.length) {
        return;
      }
    }
  }

  /** How many metrics the run has. */
  get count() {
    return this.row.metrics.length + (this.row.more?.metrics || 0);
  }

  /** How many of the run's metrics are here. */
  drawMore() {
    const more = this.metrics.length < this.count;
    this.morePlace.textContent = more
      ? t("charts.some", {n: fmt.int(this.metrics.length), all: fmt.int(this.count)}) : "";
    this.morePlace.title = more ? t("charts.someHow") : "";
  }

  setGrouping(group) {
    this.chosenGrouping = group;
    change({group: group === "last" ? null : group});
    chooseCharts(this.row.project, {group});
    this.drawTools();
    this.arrange();
  }

  async csv(group) {
    const answer = await api.get("/api/series", {
      run: this.key,
      metric: shown(group),
      x: this.feed.x(group.metrics[0]),
      from: this.linkOf(this.axisOf(group.metrics[0])).shown?.lo,
      to: this.linkOf(this.axisOf(group.metrics[0])).shown?.hi,
      buckets: 100000,
    });
    saveCsv(group.title, answer.series);
  }

  /** The key "l": the other y axis for the chart under the pointer. */
  toggleLog() {
    const cell = this.grid.pointed();
    if (cell) {
      this.items(cell.group, cell.chart)[0].run();
    }
  }

  destroy() {
    clearTimeout(this.asking);
    super.destroy();
  }
}
