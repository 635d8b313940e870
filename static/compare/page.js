// The compare page: runs side by side in a table, their curves over each other.

import * as api from "../shared/api.js";
import {change, compareHref, query, splitList} from "../shared/address.js";
import {CompareCharts} from "./charts.js";
import {COLUMNS, CompareTable} from "./table.js";
import {saveTable, toolbar} from "./toolbar.js";
import {fill, h} from "../shared/dom.js";
import {Rhythm} from "../shared/throttle.js";
import {fullNames} from "../shared/run_names.js";
import {chooseRun} from "./add_run.js";
import {hasEnded} from "../shared/states.js";
import {setTicked, spreadColours, state} from "../shared/store.js";
import {banner, bones, empty} from "../shared/widgets.js";
import {t} from "../shared/words.js";

const MOST = 50;
const AT_ONCE = 4;               // runs asked for at the same time: a browser holds six connections, one waits for news
const HEAD_MS = 2000;
const DRAW_MS = 250;
const EXPECTED = 6;              // places for charts shown while the runs are on their way

class ComparePage {
  constructor(root) {
    this.root = root;
    this.alive = true;
    this.rows = new Map();
    this.missing = new Map();
    this.rhythm = new Rhythm(api.quiet);
    this.grown = new Set();      // runs with news whose curves are not drawn yet
    this.stale = new Set();      // … that are not in the table yet
    root.className = "cmp";
    this.read();
    this.charts = new CompareCharts(query());
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
    spreadColours(this.keys);
  }

  write() {
    change({runs: this.keys, base: this.base === this.keys[0] ? null : this.base, hide: [...this.hidden], all: this.all});
  }

  build() {
    this.tools = h("div.tools");
    this.notices = h("div");
    this.table = new CompareTable({
      hide: (key) => this.hide(key),
      base: (key) => this.setBase(key),
      remove: (key) => this.remove(key),
      fold: (part) => this.fold(part),
    });
    this.body = h("div.body", {}, this.table.node, this.charts.grid.box);
    this.pressed = (event) => event.key === "Escape" && !event.defaultPrevented && this.charts.back();
    document.addEventListener("keydown", this.pressed);
    fill(this.root, this.tools, this.notices, this.body);
    this.drawTools();
    if (this.keys.length) {
      fill(this.table.node, h("div.factspart", {}, h("div.rowf", {}, bones(8))));
      this.charts.grid.expect(Math.min(EXPECTED, this.keys.length));
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
      this.charts.count(row);
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

  get choice() {
    return {base: this.base, hidden: this.hidden, all: this.all};
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
    fill(
      this.notices,
      this.missing.size ? banner("warn", t("compare.missing", {n: this.missing.size, names: [...this.missing.keys()].join(", ")})) : null,
      this.wide.length ? banner("warn", t("compare.more", {names: this.wide.join(", ")})) : null,
      this.tooMany ? banner("warn", t("compare.most", {n: MOST})) : null,
    );
    this.drawTools();
    if (!runs.length) {
      this.charts.setRuns([], new Map());
      fill(this.body, this.nothing());
      return;
    }
    fill(this.body, this.table.node, this.charts.grid.box);
    this.body.style.setProperty("--table", `${COLUMNS[0] + COLUMNS[1] * runs.length}px`);
    this.table.show(runs, this.choice);
    this.charts.setChoice(this.choice);
    this.charts.setRuns(runs, fullNames(runs));
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
    this.table.show(this.runs, this.choice);
    this.charts.setChoice(this.choice);
  }

  // -- tools -----------------------------------------------------------------------------------------------------

  drawTools() {
    const {charts} = this;
    const shown = {count: this.keys.length - this.missing.size, all: this.all, hidden: charts.hiddenPlace, zoom: charts.zoomPlace, smooth: charts.smooth,
      x: charts.x, metrics: () => charts.metrics()};
    fill(this.tools, toolbar(shown, {
      add: (button) => chooseRun(button, this.keys, (key) => this.add(key)),
      all: (all) => { this.all = all; this.changed(); },
      smooth: (smooth) => charts.setSmooth(smooth),
      x: (x) => charts.setAxis(x),
      save: () => saveTable(this.table.rows()),
    }));
    charts.drawHidden();
    charts.drawZoom();
  }

  // -- news ------------------------------------------------------------------------------------------------------

  topics() {
    return ["runs", ...this.runs.filter((run) => !hasEnded(run.state)).map(({key}) => `run:${key}`)];
  }

  async update(changed) {
    if (this.loading) {
      return;
    }
    if (this.missing.size && (changed === null || changed.has("runs"))) {
      await this.rhythm.ask("missing", HEAD_MS, () => this.renewMissing());
    }
    const grew = ({key, state: how}) => changed === null || changed.has(`run:${key}`) || (changed.has("runs") && !hasEnded(how));
    const grown = this.runs.filter(grew).map(({key}) => key);
    if (grown.length) {
      grown.forEach((key) => [this.grown, this.stale].forEach((set) => set.add(key)));
      this.rhythm.ask("heads", HEAD_MS, () => this.renewHeads())?.catch(api.quiet);
      await this.rhythm.ask("curves", DRAW_MS, () => this.renewCurves());
    }
  }

  async renewCurves() {
    const live = new Set(this.grown);
    this.grown.clear();
    await this.charts.grow(live);
  }

  async renewHeads() {
    const keys = [...this.stale];
    this.stale.clear();
    await this.loadAll(keys);
    if (this.alive) {
      this.table.show(this.runs, this.choice, true);
      this.charts.renewRuns(this.runs);
    }
  }

  addressed() {
    const before = compareHref(this.keys);
    this.read();
    this.charts.read(query());
    if (compareHref(this.keys) !== before) {
      this.load(this.keys.filter((key) => !this.rows.has(key)));
    }
  }

  unmount() {
    this.alive = false;
    this.rhythm.stop();
    document.removeEventListener("keydown", this.pressed);
    this.charts.destroy();
  }
}

export function mount(root) {
  return new ComparePage(root);
}
