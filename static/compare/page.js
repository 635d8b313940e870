// The compare page: runs side by side in a table, their curves over each other.

import * as api from "../shared/api.js";
import {change, compareHref, query, splitList} from "../shared/address.js";
import {chartChoices, chooseCharts, placeItems, savePng, saveCsv, toggled, zoomChip} from "../charts/toolbar.js";
import {COLUMNS, CompareTable} from "./table.js";
import {saveTable, toolbar} from "./toolbar.js";
import {fill, h} from "../shared/dom.js";
import {Feed} from "../charts/curve_cache.js";
import {Grid} from "../charts/grid.js";
import {Link} from "../charts/crosshair.js";
import {arrange, groupMetrics, placed, splitName} from "../charts/curves.js";
import {reorderable} from "../charts/reorder.js";
import {Rhythm} from "../shared/throttle.js";
import {fullNames} from "../shared/run_names.js";
import {chooseRun} from "./add_run.js";
import {colourOf, setTicked, spreadColours, state, stroke} from "../shared/store.js";
import {banner, bones, empty} from "../shared/widgets.js";
import {t} from "../shared/words.js";

const MOST = 50;
const AT_ONCE = 4;               // runs asked for at the same time: a browser holds six connections, one waits for news
const HEAD_MS = 2000;
const DRAW_MS = 250;
const SMOOTH = 0.6;
const PROJECT = "*compare";      // under this name the choices of this page are remembered
const EXPECTED = 6;              // places for charts shown while the runs are on their way
const ENDED = ["finished", "failed", "interrupted"];

class ComparePage {
  constructor(root) {
    this.root = root;
    this.alive = true;
    this.rows = new Map();
    this.missing = new Map();
    this.rhythm = new Rhythm(quiet);
    this.grown = new Set();      // runs with news whose curves are not drawn yet
    this.stale = new Set();      // … that are not in the table yet
    this.link = new Link();
    this.feed = new Feed((values, signal) => api.get("/api/series", values, signal));
    root.className = "cmp";
    this.read();
    this.build();
    this.load(this.keys);
  }

  /** What the address says. */
  read() {
    const asked = query();
    const keys = [...new Set(splitList(asked.runs))];
    this.tooMany = keys.length > MOST;
    this.keys = keys.slice(0, MOST);
    this.base = asked.base || this.keys[0];
    this.hidden = new Set(splitList(asked.hide));
    this.all = asked.all === "1";
    this.x = asked.x || "step";
    this.smooth = Number(asked.smooth) || chartChoices(PROJECT).smooth || SMOOTH;
    spreadColours(this.keys);
  }

  write() {
    change({runs: this.keys, base: this.base === this.keys[0] ? null : this.base, hide: [...this.hidden], all: this.all});
  }

  build() {
    this.tools = h("div.tools");
    this.zoomPlace = h("span.rowf");
    this.notices = h("div");
    this.table = new CompareTable({
      hide: (key) => this.hide(key),
      base: (key) => this.setBase(key),
      remove: (key) => this.remove(key),
      fold: (part) => this.fold(part),
    });
    this.grid = new Grid(
      {options: (group) => this.options(group), wanted: (groups) => this.want(groups), items: (group, chart) => this.items(group, chart)},
      t("compare.charts"),
    );
    reorderable(this.grid.scroll, (id, before) => this.choose(placed(this.ids(), id, before, chartChoices(PROJECT))));
    this.body = h("div.body", {}, this.table.node, this.grid.box);
    this.unlink = this.link.on((what) => what === "zoom" && this.zoomed());
    this.pressed = (event) => event.key === "Escape" && !event.defaultPrevented && (this.grid.leaveFull() || this.link.reset());
    document.addEventListener("keydown", this.pressed);
    fill(this.root, this.tools, this.notices, this.body);
    this.drawTools();
    if (this.keys.length) {
      fill(this.table.node, h("div.factspart", {}, h("div.rowf", {}, bones(8))));
      this.grid.expect(Math.min(EXPECTED, this.keys.length));
    }
  }

  // -- runs ------------------------------------------------------------------------------------------------------

  async load(keys) {
    this.loading = true;
    await this.loadAll(keys);
    this.loading = false;
    this.draw();
  }

  /** Runs that were not here may have come: their connection may have been on its way to them. */
  async renewMissing() {
    const before = this.missing.size;
    await this.loadAll([...this.missing.keys()]);
    if (this.alive && this.missing.size < before) {
      this.draw();
    }
  }

  /** Ask for some at the same time, for all in the end. */
  async loadAll(keys) {
    const waiting = [...keys];
    const worker = async () => {
      while (waiting.length && this.alive) {
        await this.loadOne(waiting.shift());
      }
    };
    await Promise.all(Array.from({length: AT_ONCE}, worker));
  }

  async loadOne(key) {
    try {
      const row = await api.get(api.runPath(key));
      this.rename(key, row.key);
      this.rows.set(row.key, row);
      this.feed.count(row.key, row.metrics);
      this.missing.delete(key);
    } catch (error) {
      this.missing.set(key, error.message);
    }
  }

  /** An id or an end of a key, as people type it into an address, gives way to the key under which curves come. */
  rename(key, whole) {
    if (key !== whole) {
      const renamed = (one) => (one === key ? whole : one);
      [this.keys, this.hidden] = [[...new Set(this.keys.map(renamed))], new Set([...this.hidden].map(renamed))];
      this.base = renamed(this.base);
      spreadColours(this.keys);
      this.write();
    }
  }

  get runs() {
    return this.keys.map((key) => this.rows.get(key)).filter(Boolean);
  }

  /** Names of the runs whose answers left something out. */
  get wide() {
    return this.runs.filter(({more}) => more && Object.keys(more).length).map(({name}) => name);
  }

  draw() {
    if (!this.alive) {
      return;
    }
    const runs = this.runs;
    this.names = fullNames(runs);
    fill(
      this.notices,
      this.missing.size ? banner("warn", t("compare.missing", {n: this.missing.size, names: [...this.missing.keys()].join(", ")})) : null,
      this.wide.length ? banner("warn", t("compare.more", {names: this.wide.join(", ")})) : null,
      this.tooMany ? banner("warn", t("compare.most", {n: MOST})) : null,
    );
    this.drawTools();
    if (!runs.length) {
      this.grid.setGroups([]);
      fill(this.body, this.nothing());
      return;
    }
    fill(this.body, this.table.node, this.grid.box);
    this.body.style.setProperty("--table", `${COLUMNS[0] + COLUMNS[1] * runs.length}px`);
    this.table.show(runs, {base: this.base, hidden: this.hidden, all: this.all});
    this.feed.set(this.how, this.stretch());
    this.arrange();
  }

  nothing() {
    return empty(t("compare.none"), h("p", {}, t("compare.noneHow")), h("p", {}, h("a.btn.pri", {href: "/"}, t("compare.toRuns"))));
  }

  hide(key) {
    if (!this.hidden.delete(key)) {
      this.hidden.add(key);
    }
    this.changed();
  }

  setBase(key) {
    this.base = key;
    this.changed();
    this.grid.refresh();
  }

  remove(key) {
    this.keys = this.keys.filter((one) => one !== key);
    this.rows.delete(key);
    this.missing.delete(key);
    this.hidden.delete(key);
    this.base = this.keys.includes(this.base) ? this.base : this.keys[0];
    setTicked(state.ticked.filter((one) => one !== key));
    this.write();
    this.draw();
  }

  async add(key) {
    if (!this.keys.includes(key)) {
      this.keys.push(key);
      this.base ??= key;
      spreadColours(this.keys);
      setTicked([...new Set([...state.ticked, key])]);
      this.write();
      await this.load([key]);
    }
  }

  fold(part) {
    this.table.toggle(part);
    this.all = false;
    this.changed();
  }

  changed() {
    this.write();
    this.table.show(this.runs, {base: this.base, hidden: this.hidden, all: this.all});
    this.show(this.grid.near());
  }

  // -- curves ----------------------------------------------------------------------------------------------------

  get how() {
    return {x: this.x, smooth: this.smooth, rank: 0};
  }

  arrange() {
    const count = new Map();
    this.runs.forEach(({metrics}) => metrics.forEach(({name}) => count.set(name, (count.get(name) || 0) + 1)));
    const names = [...count.keys()].sort((a, b) => Number(count.get(b) > 1) - Number(count.get(a) > 1));
    const order = groupMetrics(names, "last").flatMap(({metrics}) => [...metrics].reverse());
    this.every = order.map((name) => ({id: `one:${name}`, title: name, metrics: [name]}));
    this.grid.setGroups(arrange(this.every, chartChoices(PROJECT)));
    this.want(this.grid.near());
  }

  options(group) {
    const {prefix, last} = splitName(group.title);
    const {logY, linearY, logX} = chartChoices(PROJECT);
    const log =
      logY.includes(group.id) ||
      (!linearY.includes(group.id) && /(grad_?norm|learning_?rate|(^|[/_])lr|perplexity|ppl)$/i.test(group.title));
    return {
      title: last,
      sub: prefix,
      link: this.link,
      x: this.x.startsWith("metric:") ? "metric" : this.x,
      xName: this.x.slice(7),
      logY: log,
      logX: Boolean(logX),
      baseline: this.base,
      legend: false,
      marks: [],
    };
  }

  choose(values) {
    chooseCharts(PROJECT, values);
    this.drawTools();
    this.arrange();
    this.grid.refresh();
  }

  /** All charts in the reader's order, hidden ones too. */
  ids() {
    return arrange(this.every, {...chartChoices(PROJECT), hidden: []}).map(({id}) => id);
  }

  items(group, chart) {
    return [
      ...placeItems(group.id, this.ids(), chartChoices(PROJECT), (values) => this.choose(values), this.options(group).logY),
      null,
      {label: t("charts.png"), icon: "save", disabled: !chart.plot, run: () => savePng(chart)},
      {
        label: t("charts.csv"),
        icon: "save",
        run: () => saveCsv(group.title, this.dressed(group), (key) => this.names.get(key) || key),
      },
    ];
  }

  pairs(groups, only = null) {
    return groups.flatMap(({metrics}) => this.runs.filter(({key}) => !only || only.has(key))
      .flatMap((run) => metrics.filter((metric) => run.metrics.some(({name}) => name === metric)).map((metric) => [run.key, metric])));
  }

  dressed(group) {
    return this.runs.filter(({key}) => !this.hidden.has(key)).flatMap((run) => group.metrics.map((metric) => {
      const series = this.feed.get(run.key, metric);
      return series && {...series, ...stroke(colourOf(run.key)), label: this.names.get(run.key)};
    })).filter((series) => series?.x.length || series?.nan?.length);
  }

  /** whole: all there is of them is here. */
  show(groups, whole = false) {
    groups.forEach((group) => this.grid.set(group.id, this.dressed(group), whole));
  }

  async want(groups) {
    await this.feed.want(this.pairs(groups), () => this.show(groups)).catch(quiet);
    this.slide();
    this.show(groups, true);
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

  /** What to fetch of a zoom: open to the right where the newest points are in view, so that it slides with the news. */
  stretch() {
    return this.link.shown && {lo: this.link.shown.lo, hi: this.edge ? null : this.link.shown.hi};
  }

  zoomed() {
    this.behind = false;
    this.edge = Boolean(this.link.shown) && this.link.shown.hi >= this.newest();
    this.drawZoom();
    this.refetch();
  }

  refetch() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.feed.set(this.how, this.stretch());
      this.want(this.grid.near());
    }, 120);
  }

  drawZoom() {
    fill(this.zoomPlace, zoomChip(this.link, this.x, this.behind));
  }

  // -- tools -----------------------------------------------------------------------------------------------------

  drawTools() {
    const metrics = () => [...new Set(this.runs.flatMap((run) => run.metrics.map(({name}) => name)))];
    const {hidden} = chartChoices(PROJECT);
    const shown = {count: this.keys.length, all: this.all, hidden, zoom: this.zoomPlace, smooth: this.smooth, x: this.x, metrics};
    fill(this.tools, toolbar(shown, {
      add: (button) => chooseRun(button, this.keys, (key) => this.add(key)),
      all: (all) => { this.all = all; this.changed(); },
      unhide: (id) => this.choose({hidden: toggled(hidden, id)}),
      smooth: (smooth) => this.setSmooth(smooth),
      x: (x) => this.setAxis(x),
      save: () => saveTable(this.table.rows()),
    }));
    this.drawZoom();
  }

  setSmooth(smooth) {
    this.smooth = smooth;
    change({smooth});
    chooseCharts(PROJECT, {smooth});
    this.refetch();
  }

  setAxis(x) {
    this.x = x;
    change({x: x === "step" ? null : x});
    this.link.forget();
    this.feed.held.clear();
    this.show(this.grid.near());
    this.grid.refresh();
    this.zoomed();
  }

  // -- news ------------------------------------------------------------------------------------------------------

  topics() {
    return ["runs", ...this.runs.filter((run) => !ENDED.includes(run.state)).map(({key}) => `run:${key}`)];
  }

  async update(changed) {
    if (this.loading) {
      return;
    }
    if (this.missing.size && (changed === null || changed.has("runs"))) {
      await this.rhythm.ask("missing", HEAD_MS, () => this.renewMissing());
    }
    const grew = ({key, state: how}) => changed === null || changed.has(`run:${key}`) || (changed.has("runs") && !ENDED.includes(how));
    const grown = this.runs.filter(grew).map(({key}) => key);
    if (grown.length) {
      grown.forEach((key) => [this.grown, this.stale].forEach((set) => set.add(key)));
      this.rhythm.ask("heads", HEAD_MS, () => this.renewHeads());
      await this.rhythm.ask("curves", DRAW_MS, () => this.renewCurves());
    }
  }

  async renewCurves() {
    const live = new Set(this.grown);
    this.grown.clear();
    if (this.link.shown && !this.edge) {
      this.behind = true;
      this.drawZoom();
      return;
    }
    const groups = this.grid.near();
    await this.feed.renew(this.pairs(groups, live)).catch(quiet);
    if (!this.alive) {
      return;
    }
    this.slide();
    this.show(groups);
  }

  async renewHeads() {
    const keys = [...this.stale];
    this.stale.clear();
    await this.loadAll(keys);
    if (this.alive) {
      this.table.show(this.runs, {base: this.base, hidden: this.hidden, all: this.all}, true);
    }
  }

  addressed() {
    const before = compareHref(this.keys);
    this.read();
    if (compareHref(this.keys) !== before) {
      this.load(this.keys.filter((key) => !this.rows.has(key)));
    }
  }

  unmount() {
    this.alive = false;
    clearTimeout(this.timer);
    this.rhythm.stop();
    document.removeEventListener("keydown", this.pressed);
    this.unlink();
    this.feed.stop();
    this.grid.destroy();
  }
}

function quiet(error) {
  if (error.name !== "AbortError" && error.code !== "unreachable") {
    throw error;
  }
}

export function mount(root) {
  return new ComparePage(root);
}
