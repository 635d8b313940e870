// The charts of the compare page: one for each metric, the curves of its runs over each other.

import * as api from "../shared/api.js";
import {Board} from "../charts/board.js";
import {groupMetrics} from "../charts/curves.js";
import {saveCsv} from "../charts/toolbar.js";
import {isLive} from "../shared/states.js";
import {colourOf, stroke} from "../shared/store.js";
import {t} from "../shared/words.js";

const PROJECT = "*compare";      // under this name the choices of this page are remembered

export class CompareCharts extends Board {
  /** asked: what the address says. */
  constructor(asked) {
    super(t("compare.charts"), asked);
    this.runs = [];
    this.names = new Map();      // run key -> what it is called here
    this.hidden = new Set();     // keys of runs whose curves are not drawn
    this.base = null;            // key of the run that the others are compared to
  }

  get project() {
    return PROJECT;
  }

  get alive() {
    return this.runs.some(({state}) => isLive(state));
  }

  /**
   * Draw these runs (answers of GET /api/runs/<key>) from now on, each under its name; curves that are here
   * or on their way stay.
   */
  setRuns(runs, names) {
    const {x, smooth, rank} = this.feed.how;
    this.runs = runs;
    this.names = names;
    if (x !== this.x || smooth !== this.smooth || rank !== this.rank) {
      this.feed.set(this.how, this.stretch());
    }
    this.arrange();
  }

  /** So many runs will be drawn, now or as they come. */
  expect(count) {
    this.feed.crowd(count);
  }

  /** Draw all curves of the first chart; resolves when they are. */
  async drawFirst() {
    const [first] = this.grid.near();
    if (first) {
      await this.feed.want(this.pairs([first])).catch(api.quiet);
      this.grid.settle(first.id);
    }
  }

  /** The same runs as they are now: a metric that was not there yet gets its chart. */
  renewRuns(runs) {
    const known = this.metrics().length;
    this.runs = runs;
    const moved = this.readAxes();
    if (this.metrics().length !== known || moved) {
      this.arrange();
    }
  }

  /** hidden: keys of runs without curves; base: key of the baseline. */
  setChoice({hidden, base}) {
    const moved = base !== this.base;
    this.hidden = hidden;
    this.base = base;
    this.show();
    if (moved) {
      this.grid.refresh();
    }
  }

  /** A run's answer is here: how many points its metrics have decides how they are smoothed. */
  count({key, metrics}) {
    this.feed.count(key, metrics);
  }

  metrics() {
    return [...new Set(this.runs.flatMap(({metrics}) => metrics.map(({name}) => name)))];
  }

  /** Metrics that several runs have come first. */
  every() {
    const count = new Map();
    this.runs.forEach(({metrics}) =>
      metrics.forEach(({name}) => count.set(name, (count.get(name) || 0) + 1)));
    const names = [...count.keys()].sort((a, b) => Number(count.get(b) > 1) - Number(count.get(a) > 1));
    const order = groupMetrics(names, "last").flatMap(({metrics}) => [...metrics].reverse());
    return order.map((name) => ({id: `one:${name}`, title: name, metrics: [name]}));
  }

  /**
   * A metric is drawn by another where all runs that have it say so and have that one; returns whether any is
   * drawn otherwise than before.
   */
  readAxes() {
    const said = new Map();      // metric -> what it is drawn by in each run that has it
    for (const {metrics} of this.runs) {
      const names = new Set(metrics.map(({name}) => name));
      metrics.forEach(({name, step_metric: by}) =>
        said.set(name, (said.get(name) ?? new Set()).add(names.has(by) ? by : null)));
    }
    const before = this.axes;
    this.axes = new Map([...said]
      .flatMap(([metric, [axis, ...others]]) => (axis && !others.length ? [[metric, axis]] : [])));
    const moved = [...said.keys()].filter((metric) => this.axes.get(metric) !== before.get(metric));
    this.feed.drop(moved);
    if (moved.length) {
      this.grid.refresh();
    }
    return moved.length > 0;
  }

  arrange() {
    this.readAxes();
    const groups = super.arrange();
    this.want(this.grid.near());
    return groups;
  }

  options(group) {
    return {...super.options(group), baseline: this.base, legend: false};
  }

  /** only: keys of runs, null for all. */
  pairs(groups, only = null) {
    return groups.flatMap(({metrics}) => this.runs.filter(({key}) => !only || only.has(key))
      .flatMap((run) => metrics.filter((metric) => run.metrics.some(({name}) => name === metric))
        .map((metric) => [run.key, metric])));
  }

  dressed(group) {
    return this.runs.filter(({key}) => !this.hidden.has(key)).flatMap((run) => group.metrics.map((metric) => {
      const series = this.feed.get(run.key, metric);
      return series && {...series, ...stroke(colourOf(run.key)), label: this.names.get(run.key)};
    })).filter((series) => series?.x.length || series?.nan?.length);
  }

  /** These runs have news. */
  grow(keys) {
    return this.renew(this.pairs(this.grid.near(), keys));
  }

  csv(group) {
    saveCsv(group.title, this.dressed(group), (key) => this.names.get(key) || key);
  }
}
