// The compare page: runs side by side in a table, their curves over each other.

import * as api from "../shared/api.js";
import {compareHref, query} from "../shared/address.js";
import {CompareCharts} from "./charts.js";
import {COLUMNS, CompareTable} from "./table.js";
import {saveTable, toolbar} from "./toolbar.js";
import {fill, h} from "../shared/dom.js";
import {Rhythm} from "../shared/throttle.js";
import {fullNames} from "../shared/run_names.js";
import {chooseRun} from "./add_run.js";
import {ComparedRuns, MOST} from "./runs.js";
import {hasEnded} from "../shared/states.js";
import {banner, bones, empty} from "../shared/widgets.js";
import {t} from "../shared/words.js";

const HEAD_MS = 2000;
const DRAW_MS = 250;
const TABLE = 1;                 // s after which the table is drawn, whether or not the first chart is
const EXPECTED = 6;              // places for charts shown while the runs are on their way

/** Resolves after the next frame is on the screen; a hidden page has none. */
const painted = () => new Promise((resolve) => { requestAnimationFrame(() => setTimeout(resolve)); });

class ComparePage {
  constructor(root) {
    this.root = root;
    this.alive = true;
    this.rhythm = new Rhythm(api.quiet);
    this.grown = new Set();      // runs with news whose curves are not drawn yet
    this.stale = new Set();      // … that are not in the table yet
    root.className = "cmp";
    this.runs = new ComparedRuns();
    this.charts = new CompareCharts(query());
    this.build();
    this.load(this.runs.keys);
  }

  build() {
    this.tools = h("div.tools");
    this.notices = h("div");
    this.table = new CompareTable({
      hide: (key) => this.choose(() => this.runs.hide(key)),
      base: (key) => this.choose(() => this.runs.setBase(key)),
      remove: (key) => this.remove(key),
      fold: (part) => this.fold(part),
    });
    this.body = h("div.body", {}, this.table.node, this.charts.grid.box);
    this.pressed = (event) => event.key === "Escape" && !event.defaultPrevented && this.charts.back();
    document.addEventListener("keydown", this.pressed);
    fill(this.root, this.tools, this.notices, this.body);
    this.drawTools();
    if (this.runs.keys.length) {
      fill(this.table.node, h("div.factspart", {}, h("div.rowf", {}, bones(8))));
      this.charts.grid.expect(Math.min(EXPECTED, this.runs.keys.length));
      this.makeRoom();
    }
  }

  // -- runs -------------------------------------------------------------------------------------------------

  async load(keys) {
    this.loading = true;
    this.charts.expect(this.runs.keys.length);
    await this.ask(keys);
    this.loading = false;
    this.drawCurves();
    // A table of many runs takes a while to lay out: the first chart is seen before
    await Promise.race([this.charts.drawFirst().then(painted), api.sleep(TABLE)]);
    this.draw();
  }

  ask(keys) {
    return this.runs.load(keys, (row) => {
      this.charts.count(row);
      // so that drawing costs no square of the runs
      if (this.loading && this.runs.list.length >= 2 * this.charts.runs.length) {
        this.drawCurves();
      }
    });
  }

  /**
   * Draw the curves of the runs that are here, whether or not others are on their way; the table waits until
   * all of its columns are.
   */
  drawCurves() {
    const {list} = this.runs;
    if (this.alive && list.length) {
      this.charts.setRuns(list, fullNames(list));
      this.charts.setChoice(this.runs.choice);
    }
  }

  /** The table's room is kept from the beginning, so that no chart is drawn twice for it. */
  makeRoom() {
    this.body.style.setProperty("--table", `${COLUMNS[0] + COLUMNS[1] * this.runs.count}px`);
  }

  /** Runs that were not here may have come: their connection may have been on its way to them. */
  async renewMissing() {
    const {missing} = this.runs;
    const before = missing.size;
    await this.ask([...missing.keys()]);
    if (this.alive && missing.size < before) {
      this.draw();
    }
  }

  draw() {
    if (!this.alive) {
      return;
    }
    const {missing, wide, tooMany, list, choice} = this.runs;
    fill(
      this.notices,
      missing.size
        ? banner("warn", t("compare.missing", {n: missing.size, names: [...missing.keys()].join(", ")}))
      : null,
      wide.length ? banner("warn", t("compare.more", {names: wide.join(", ")})) : null,
      tooMany ? banner("warn", t("compare.most", {n: MOST})) : null,
    );
    this.drawTools();
    if (!list.length) {
      this.charts.setRuns([], new Map());
      fill(this.body, this.nothing());
      return;
    }
    fill(this.body, this.table.node, this.charts.grid.box);
    this.makeRoom();
    this.table.show(list, choice);
    this.drawCurves();
  }

  nothing() {
    return empty(t("compare.none"), h("p", {}, t("compare.noneHow")),
      h("p", {}, h("a.btn.pri", {href: "/"}, t("compare.toRuns"))));
  }

  remove(key) {
    this.runs.remove(key);
    this.draw();
  }

  async add(key) {
    if (!this.runs.keys.includes(key)) {
      this.runs.add(key);
      await this.load([key]);
    }
  }

  fold(part) {
    this.table.toggle(part);
    this.choose(() => this.runs.showAll(false));
  }

  /** Another base, hidden curves, equal rows: the table and the charts follow. */
  choose(change) {
    change();
    this.table.show(this.runs.list, this.runs.choice);
    this.charts.setChoice(this.runs.choice);
  }

  // -- tools ------------------------------------------------------------------------------------------------

  drawTools() {
    const {charts, runs} = this;
    const shown = {count: runs.count, all: runs.all, hidden: charts.hiddenPlace, zoom: charts.zoomPlace,
      smooth: charts.smooth, x: charts.x, metrics: () => charts.metrics()};
    fill(this.tools, toolbar(shown, {
      add: (button) => chooseRun(button, runs.keys, (key) => this.add(key)),
      all: (all) => this.choose(() => runs.showAll(all)),
      smooth: (smooth) => charts.setSmooth(smooth),
      x: (x) => charts.setAxis(x),
      save: () => saveTable(this.table.rows()),
    }));
    charts.drawHidden();
    charts.drawZoom();
  }

  // -- news -------------------------------------------------------------------------------------------------

  topics() {
    return ["runs", ...this.runs.list.filter((run) => !hasEnded(run.state)).map(({key}) => `run:${key}`)];
  }

  async update(changed) {
    if (this.loading) {
      return;
    }
    if (this.runs.missing.size && (changed === null || changed.has("runs"))) {
      await this.rhythm.ask("missing", HEAD_MS, () => this.renewMissing());
    }
    const grew = ({key, state: how}) => changed === null || changed.has(`run:${key}`) || (
      changed.has("runs") && !hasEnded(how));
    const grown = this.runs.list.filter(grew).map(({key}) => key);
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
    await this.ask(keys);
    if (this.alive) {
      this.table.show(this.runs.list, this.runs.choice, true);
      this.charts.renewRuns(this.runs.list);
    }
  }

  addressed() {
    const {runs} = this;
    const before = compareHref(runs.keys);
    runs.read();
    this.charts.read(query());
    if (compareHref(runs.keys) !== before) {
      this.load(runs.keys.filter((key) => !runs.rows.has(key)));
    }
  }

  unmount() {
    this.alive = false;
    this.runs.stop();
    this.rhythm.stop();
    document.removeEventListener("keydown", this.pressed);
    this.charts.destroy();
  }
}

export function mount(root) {
  return new ComparePage(root);
}
