// The charts of one page: a grid of them, their curves fetched and kept new, the zoom they share, what the
// reader chose for them.

import * as api from "../shared/api.js";
import {change} from "../shared/address.js";
import {fill, h} from "../shared/dom.js";
import {t} from "../shared/words.js";
import {Link} from "./crosshair.js";
import {Feed} from "./curve_cache.js";
import {arrange, logarithmic, placed, SMOOTH, splitName} from "./curves.js";
import {Grid} from "./grid.js";
import {reorderable} from "./reorder.js";
import {chartChoices, chooseCharts, hiddenChoice, placeItems, savePng, toggled, zoomChip} from "./toolbar.js";

const REFETCH_MS = 120;          // a slider or a drag that goes on is waited for

/**
 * @typedef {import("./curves.js").Group} Group
 * @typedef {import("./curves.js").Pair} Pair
 * @typedef {import("./curves.js").Series} Series
 */

/** @returns {never} */
function missing(what) {
  throw new TypeError(`a page's board has to say its ${what}`);
}

/** What the pages with charts have in common; a page's own board says what is asked for first. */
export class Board {
  /** Under which name choices are remembered. @returns {string} */
  get project() {
    return missing("project");
  }

  /** Whether points are still to come. @returns {boolean} */
  get alive() {
    return missing("alive");
  }

  /** All groups of the page's metrics, hidden ones too. @returns {Group[]} */
  every() {
    return missing("every");
  }

  /** The curves of groups. @param {Group[]} _groups @returns {Pair[]} */
  pairs(_groups) {
    return missing("pairs");
  }

  /** Those that are here, each with {label, colour, dash}. @param {Group} _group @returns {Series[]} */
  dressed(_group) {
    return missing("dressed");
  }

  /** Save them. @param {Group} _group */
  csv(_group) {
    missing("csv");
  }

  /** The last of the charts came near the view: a page that knows of more may bring them. */
  ended() {}

  /** label: of the charts' region; asked: {x, smooth, rank} as the address has them. */
  constructor(label, asked) {
    this.read(asked);
    this.link = new Link();
    this.axes = new Map();       // metric -> the metric it is drawn by, in place of the page's x
    this.links = new Map();      // of charts that are drawn by a metric of their own: by that metric's name
    this.feed = new Feed((values, signal) => api.get("/api/series", values, signal),
      (metric) => this.axisOf(metric), (axis) => this.links.get(axis)?.shown);
    this.grid = new Grid(
      {options: (group) => this.options(group), wanted: (groups) => this.want(groups),
        items: (group, chart) => this.items(group, chart), ended: () => this.ended()},
      label,
    );
    reorderable(this.grid.scroll, (id, before) => this.choose(placed(this.ids(), id, before, this.choices)));
    this.zoomPlace = h("span.rowf");                   // both stand in the page's bar
    this.hiddenPlace = h("span.rowf");
    this.unlink = this.link.on((what) => what === "zoom" && this.zoomed());
    this.behind = false;         // a zoom left points out that have come since
    this.edge = false;           // a zoom shows the newest points
  }

  /** Take over what the address asks for. @param {{x?: string, smooth?: string, rank?: string}} asked */
  read({x, smooth, rank}) {
    this.x = x || "step";
    this.chosenX = Boolean(x);
    this.chosenSmooth = Number(smooth) || null;
    this.rank = Number(rank) || 0;
  }

  // -- what is shown ----------------------------------------------------------------------------------------

  get choices() {
    return chartChoices(this.project);
  }

  get smooth() {
    return this.chosenSmooth ?? this.choices.smooth ?? SMOOTH;
  }

  get how() {
    return {x: this.x, smooth: this.smooth, rank: this.rank};
  }

  /** Show charts in the reader's order; returns their groups. */
  arrange(offered = this.every()) {
    const groups = arrange(offered, this.choices);
    this.grid.setGroups(groups);
    return groups;
  }

  /** All charts in the reader's order: those their menu hides keep their place among them. */
  ids() {
    return arrange(this.every(), {...this.choices, hidden: []}).map(({id}) => id);
  }

  logged(group) {
    const {logY, linearY} = this.choices;
    return logY.includes(group.id) || (!linearY.includes(group.id) && logarithmic(group.title));
  }

  /** The metric by which a metric is drawn where the reader chose no x, or null. */
  axisOf(metric) {
    return this.chosenX ? null : this.axes.get(metric) ?? null;
  }

  /** What the charts share that are drawn by the metric `axis`; null: by the page's x. */
  linkOf(axis) {
    if (!axis) {
      return this.link;
    }
    if (!this.links.has(axis)) {
      const link = new Link();
      link.on((what) => what === "zoom" && this.refetch());
      this.links.set(axis, link);
    }
    return this.links.get(axis);
  }

  /** Options of a group's Chart. */
  options(group) {
    const {prefix, last} = splitName(group.title);
    const axis = this.axisOf(group.metrics[0]);
    return {
      title: last,
      sub: axis ? t("charts.by", {x: axis}) : prefix,
      link: this.linkOf(axis),
      x: axis || this.x.startsWith("metric:") ? "metric" : this.x,
      xName: axis || this.x.slice(7),
      logY: this.logged(group),
      logX: Boolean(this.choices.logX),
      marks: [],
    };
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

  // -- fetching ---------------------------------------------------------------------------------------------

  /**
   * Draw what is here of the groups' curves. asked: all were asked for, and what is not on its way by now
   * does not come.
   */
  show(groups = this.grid.near(), asked = false) {
    groups.forEach((group) => this.grid.set(group.id, this.dressed(group),
      asked && !this.pairs([group]).some((pair) => this.feed.isComing(...pair))));
  }

  async want(groups) {
    const came = (metrics) => this.show(
      groups.filter((group) => group.metrics.some((metric) => metrics.includes(metric))));
    const whole = await this.feed.want(this.pairs(groups), came)
      .catch((error) => { api.quiet(error); return true; });
    if (!whole) {
      return;                    // given up for what is wanted now, which shows them
    }
    this.slide();
    this.show(groups, true);
    this.feed.letGo(this.pairs(this.grid.near()));
  }

  /**
   * There is news of curves in view: fetch what is new. A zoom that left the newest points out only learns
   * that there are some.
   */
  async renew(pairs = this.pairs(this.grid.near())) {
    if (this.link.shown && !this.edge) {
      this.behind = this.alive;
      this.drawZoom();
      return;
    }
    await this.feed.renew(pairs).catch(api.quiet);
    this.slide();
    this.show();
  }

  refetch() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.feed.set(this.how, this.stretch());
      this.want(this.grid.near());
    }, REFETCH_MS);
  }

  // -- zoom -------------------------------------------------------------------------------------------------

  /**
   * A stretch whose right edge was in view goes along with the newest points, whichever answer brought them.
   */
  slide() {
    const {shown} = this.link;
    if (this.edge && shown && this.link.follow(shown.hi, this.newest())) {
      this.feed.move(this.stretch());
      this.drawZoom();
    }
  }

  newest() {
    const drawn = this.pairs(this.grid.near()).filter(([, metric]) => !this.axisOf(metric));
    return Math.max(-Infinity,
      ...drawn.map(([run, metric]) => this.feed.get(run, metric)?.x_max ?? -Infinity));
  }

  /**
   * What to fetch of a zoom: open to the right where the newest points are in view, so that it slides with
   * the news.
   */
  stretch() {
    return this.link.shown && {lo: this.link.shown.lo, hi: this.edge ? null : this.link.shown.hi};
  }

  zoomed() {
    this.behind = false;
    this.edge = Boolean(this.link.shown) && this.link.shown.hi >= this.newest();
    this.drawZoom();
    this.refetch();
  }

  /** The key Escape: out of the full screen, else out of the zoom; false where there was neither. */
  back() {
    if (this.grid.leaveFull()) {
      return true;
    }
    const links = [this.link, ...this.links.values()].filter(({shown}) => shown);
    links.forEach((link) => link.reset());
    return links.length > 0;
  }

  drawZoom() {
    fill(this.zoomPlace, zoomChip(this.link, this.x, this.behind));
  }

  drawHidden() {
    fill(this.hiddenPlace,
      hiddenChoice(this.choices.hidden, (id) => this.choose({hidden: toggled(this.choices.hidden, id)})));
  }

  // -- the reader chooses -----------------------------------------------------------------------------------

  /** Remember {pinned, hidden, order, logY, linearY, logX} for the charts of this project. */
  choose(values) {
    chooseCharts(this.project, values);
    this.drawHidden();
    this.arrange();
    this.grid.refresh();
  }

  setSmooth(smooth) {
    this.chosenSmooth = smooth;
    change({smooth});
    chooseCharts(this.project, {smooth});
    this.refetch();
  }

  setAxis(x) {
    const own = this.axes.size > 0;              // then "step" is a choice, too
    this.x = x;
    this.chosenX = x !== "step" || own;
    change({x: x === "step" && !own ? null : x});
    this.link.forget();
    this.feed.clear();
    this.show();
    this.grid.refresh();
    this.zoomed();
  }

  destroy() {
    clearTimeout(this.timer);
    this.unlink();
    this.feed.stop();
    this.grid.destroy();
  }
}
