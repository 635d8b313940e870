// The charts of one run: its metrics in groups, what the reader chose for them, their curves kept up to date.

import * as api from "../shared/api.js";
import {change} from "../shared/address.js";
import {
  axisChoice,
  chartChoices,
  chooseCharts,
  groupChoice,
  hiddenChoice,
  placeItems,
  saveCsv,
  savePng,
  smoothing,
  toggled,
  zoomChip,
} from "../charts/toolbar.js";
import {Feed} from "../charts/curve_cache.js";
import {fill, h, icon} from "../shared/dom.js";
import {Grid} from "../charts/grid.js";
import {Link} from "../charts/crosshair.js";
import {reorderable} from "../charts/reorder.js";
import {arrange, groupMetrics, matcher, placed, shortLabel, splitName} from "../charts/curves.js";
import {colourOf, stroke} from "../shared/store.js";
import {empty, errorText} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

const ALIVE = ["running", "stalled", "checking"];
const SMOOTH = 0.6;
const AT_FIRST = 6;              // charts that are in view on a usual screen
const PAUSE = 200;               // ms after the last key before the viewer is asked for metrics that are not here
const REFETCH_MS = 120;          // a slider or a drag that goes on is waited for

export class RunCharts {
  /** key: of the run; query: what the address says; picked(x): a chart was clicked. */
  constructor(key, query, picked) {
    this.key = key;
    this.picked = picked;
    this.link = new Link();
    this.feed = new Feed((values, signal) => api.get("/api/series", values, signal));
    this.grid = new Grid(
      {options: (group) => this.options(group), wanted: (groups) => this.want(groups), items: (group, chart) => this.items(group, chart)},
      t("run.charts"),
    );
    reorderable(this.grid.scroll, (id, before) => this.choose(placed(this.ids(), id, before, this.choices)));
    this.node = h("div.chartpart", {}, this.grid.box);
    this.tools = h("div.rowf.charttools");
    this.chosen = {
      x: query.x || "step",
      filter: query.metrics || "",
      smooth: Number(query.smooth) || null,
      group: query.group || null,
      rank: Number(query.rank) || 0,
    };
    this.unlink = this.link.on((what) => what === "zoom" && this.zoomed());
    this.metrics = [];
    this.extra = [];             // metrics that the run's answer left out and the filter found
    this.morePlace = h("span.m2.small");
  }

  // -- what is shown ---------------------------------------------------------------------------------------------

  get choices() {
    return chartChoices(this.row.project);
  }

  get smooth() {
    return this.chosen.smooth ?? this.choices.smooth ?? SMOOTH;
  }

  get grouping() {
    return this.chosen.group ?? this.choices.group ?? "last";
  }

  /** Take over the run as GET /api/runs/<key> tells it. */
  setRun(row) {
    const first = !this.row;
    const attempts = row.attempts?.length || 1;
    if (this.attempts && attempts !== this.attempts) {
      this.feed.forget();
    }
    this.attempts = attempts;
    this.row = row;
    const metrics = [...row.metrics, ...this.extra];
    this.feed.count(row.key, metrics);
    if (first) {
      this.feed.set(this.how);
      this.findMore();
    }
    const names = [...new Set(metrics.map(({name}) => name))];
    if (first || names.join("\n") !== this.metrics.join("\n")) {
      this.metrics = names;
      if (first) {
        this.drawTools();
      }
      this.arrange();
    }
    this.drawMore();
    if (first) {
      this.want(this.groups.slice(0, AT_FIRST));       // asked for before the page is laid out and tells which are in view
    }
  }

  arrange() {
    const accepts = matcher(this.chosen.filter);
    const shown = accepts ? this.metrics.filter(accepts) : this.metrics;
    this.groups = arrange(groupMetrics(shown, this.grouping), this.choices);
    this.grid.setGroups(this.groups);
    fill(this.node, this.groups.length ? this.grid.box : this.nothing());
  }

  nothing() {
    if (this.metrics.length) {
      return empty(
        t("charts.noneMatch"),
        h("p", {}, h("button.btn", {type: "button", onclick: () => this.setFilter("")}, t("charts.clearFilter"))),
      );
    }
    if (this.row.newer) {
      return empty(t("charts.noMetrics"), h("p", {}, errorText(this.row)));
    }
    return empty(t("charts.noMetrics"), h("p", {}, t("charts.noMetricsHow")), h("pre", {}, 'run.log({"loss": loss}, step=step)'));
  }

  marks() {
    const attempts = this.row.attempts || [];
    const first = Math.min(...[...this.feed.held.values()].map(({superseded}) => superseded?.x[0] ?? Infinity));
    const begun = (n, from) => from ?? (n === 2 && attempts.length === 2 && Number.isFinite(first) ? first : null);
    return attempts
      .filter(({n}) => n > 1)
      .map(({n, from_step: from}) => ({x: begun(n, from), label: t("charts.attempt", {n})}))
      .filter(({x}) => x !== null);
  }

  get how() {
    return {x: this.chosen.x, smooth: this.smooth, rank: this.chosen.rank};
  }

  logged(group) {
    const {logY, linearY} = this.choices;
    return logY.includes(group.id) || (!linearY.includes(group.id) && /(^|[/_])(grad_?norm|perplexity|ppl)$/i.test(group.title));
  }

  options(group) {
    const kind = this.chosen.x.startsWith("metric:") ? "metric" : this.chosen.x;
    const {prefix, last} = splitName(group.title);
    const alone = this.grouping === "one";
    return {
      title: alone ? last : group.title,
      sub: alone ? prefix : "",
      link: this.link,
      x: kind,
      xName: this.chosen.x.slice(7),
      logY: this.logged(group),
      logX: Boolean(this.choices.logX),
      marks: this.marks(),
      pinned: this.choices.pinned.includes(group.id),
      onPick: this.picked,
    };
  }

  /** The curves of a group as they are drawn: the first in the run's colour, its companion in ink, further ones in other colours. */
  dressed(group) {
    const own = stroke(colourOf(this.key)).colour;
    const others = [0, ...[1, 2, 3, 4, 5, 6, 7, 8].filter((one) => one !== own)];
    return group.metrics.map((metric, at) => {
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

  // -- fetching --------------------------------------------------------------------------------------------------

  pairs(groups) {
    return groups.flatMap(({metrics}) => metrics.map((metric) => [this.key, metric]));
  }

  /** whole: all there is of them is here. */
  show(groups, whole = false) {
    const marks = JSON.stringify(this.marks());
    groups.forEach((group) => this.grid.set(group.id, this.dressed(group), whole));
    if (marks !== this.marked) {
      this.marked = marks;
      this.grid.refresh();
    }
  }

  async want(groups) {
    await this.feed.want(this.pairs(groups), () => this.show(groups)).catch(quiet);
    this.slide();
    this.show(groups, true);
  }

  /** The run has news: fetch what is new of the charts in view. A zoom that left the newest points out only learns that there are some. */
  async renew() {
    if (this.link.shown && !this.edge) {
      this.behind = ALIVE.includes(this.row.state);
      this.drawZoom();
      return;
    }
    const groups = this.grid.near();
    await this.feed.renew(this.pairs(groups)).catch(quiet);
    this.slide();
    this.show(groups);
  }

  /** A stretch whose right edge was in view goes along with the newest points, whichever answer brought them. */
  slide() {
    const {shown} = this.link;
    if (this.edge && shown && this.link.follow(shown.hi, this.newest())) {
      this.feed.shown = this.stretch();
      this.drawZoom();
    }
  }

  newest() {
    return Math.max(-Infinity, ...this.pairs(this.grid.near()).map(([run, metric]) => this.feed.get(run, metric)?.x_max ?? -Infinity));
  }

  refetch() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.feed.set(this.how, this.stretch());
      this.want(this.grid.near());
    }, REFETCH_MS);
  }

  /** What to fetch of a zoom: open to the right where the newest points are in view. */
  stretch() {
    return this.link.shown && {lo: this.link.shown.lo, hi: this.edge ? null : this.link.shown.hi};
  }

  zoomed() {
    this.behind = false;
    this.edge = Boolean(this.link.shown) && this.link.shown.hi >= this.newest();
    this.drawZoom();
    this.refetch();
  }

  // -- the reader chooses ----------------------------------------------------------------------------------------

  drawTools() {
    const filter = h("input.inp", {
      placeholder: t("charts.filter"),
      value: this.chosen.filter,
      spellcheck: "false",
      "aria-label": t("charts.filter"),
      oninput: () => this.setFilter(filter.value),
    });
    this.filter = filter;
    this.zoomPlace = h("span.rowf");
    this.hiddenPlace = h("span.rowf");
    fill(this.tools, this.morePlace, this.hiddenPlace, this.zoomPlace, h("span.find.w-f", {}, icon("find"), filter),
      smoothing(this.smooth, (smooth) => this.setSmooth(smooth)), axisChoice(this.chosen.x, () => this.metrics, (x) => this.setAxis(x)),
      groupChoice(this.grouping, (group) => this.setGrouping(group)), this.rankChoice());
    this.drawHidden();
    this.drawZoom();
  }

  rankChoice() {
    if (!(this.row.ranks?.length > 1)) {
      return null;
    }
    const select = h("select.inp.w-k", {"aria-label": t("run.rank"), onchange: () => {
      this.chosen.rank = Number(select.value);
      change({rank: this.chosen.rank || null});
      this.refetch();
    }}, this.row.ranks.map((rank) => h("option", {value: rank}, t("run.rankN", {n: rank}))));
    select.value = this.chosen.rank;
    return select;
  }

  drawZoom() {
    fill(this.zoomPlace, zoomChip(this.link, this.chosen.x, this.behind));
  }

  drawHidden() {
    fill(this.hiddenPlace, hiddenChoice(this.choices.hidden, (id) => this.choose({hidden: toggled(this.choices.hidden, id)})));
  }

  setFilter(filter) {
    this.chosen.filter = filter;
    this.filter.value = filter;
    change({metrics: filter || null});
    this.arrange();
    clearTimeout(this.asking);
    this.asking = setTimeout(() => this.findMore(), PAUSE);
  }

  /** Look among the metrics that the run's answer had no room for. */
  async findMore() {
    const {filter} = this.chosen;
    if (!filter || !this.row.more?.metrics) {
      return;
    }
    const {items} = await api.get("/api/part", {run: this.row.key, of: "metrics", find: filter});
    const known = new Set(this.metrics);
    const found = items.filter(({name}) => !known.has(name));
    if (found.length && filter === this.chosen.filter) {
      this.extra.push(...found);
      this.setRun(this.row);
    }
  }

  /** How many of the run's metrics are here. */
  drawMore() {
    const more = this.row.more?.metrics;
    const all = this.row.metrics.length + (more || 0);
    this.morePlace.textContent = more ? t("charts.some", {n: fmt.int(this.metrics.length), all: fmt.int(all)}) : "";
    this.morePlace.title = more ? t("charts.someHow") : "";
  }

  setSmooth(smooth) {
    this.chosen.smooth = smooth;
    change({smooth});
    chooseCharts(this.row.project, {smooth});
    this.refetch();
  }

  setAxis(x) {
    this.chosen.x = x;
    change({x: x === "step" ? null : x});
    this.link.forget();
    this.feed.held.clear();
    this.show(this.grid.near());
    this.grid.refresh();
    this.drawTools();
    this.refetch();
  }

  setGrouping(group) {
    this.chosen.group = group;
    change({group: group === "last" ? null : group});
    chooseCharts(this.row.project, {group});
    this.drawTools();
    this.arrange();
  }

  choose(values) {
    chooseCharts(this.row.project, values);
    this.drawHidden();
    this.arrange();
    this.grid.refresh();
  }

  /** All charts of this grouping in the reader's order: those a filter or their menu hides keep their place among them. */
  ids() {
    return arrange(groupMetrics(this.metrics, this.grouping), {...this.choices, hidden: []}).map(({id}) => id);
  }

  /** The menu of one chart. */
  items(group, chart) {
    return [
      ...placeItems(group.id, this.ids(), this.choices, (values) => this.choose(values), this.logged(group)),
      null,
      {label: t("charts.png"), icon: "save", disabled: !chart.plot, run: () => savePng(chart)},
      {label: t("charts.csv"), icon: "save", run: () => this.csv(group)},
    ];
  }

  async csv(group) {
    const answer = await api.get("/api/series", {
      run: this.key,
      metric: group.metrics,
      x: this.chosen.x,
      from: this.link.shown?.lo,
      to: this.link.shown?.hi,
      buckets: 100000,
    });
    saveCsv(group.title, answer.series);
  }

  /** The keys "l" and "s": log axis of the chart under the pointer, smoothing slider. */
  toggleLog() {
    const cell = [...this.grid.cells.values()].find(({figure}) => figure.matches(":hover, :focus-within"));
    if (cell) {
      this.items(cell.group, cell.chart)[0].run();
    }
  }

  destroy() {
    clearTimeout(this.timer);
    this.unlink();
    this.feed.stop();
    this.grid.destroy();
  }
}

/** A fetch that was overtaken by another is no failure. */
function quiet(error) {
  if (error.name !== "AbortError" && error.code !== "unreachable") {
    throw error;
  }
}
