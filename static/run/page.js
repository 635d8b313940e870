// The page of one run: head, tabs, charts with the log below them, the rail. Each part draws itself; this
// file tells them what is new.

import * as api from "../shared/api.js";
import {change, go, query, runHref} from "../shared/address.js";
import {fill, h, renew, typing} from "../shared/dom.js";
import {LogPanel} from "./log.js";
import {Rail} from "./rail.js";
import {RunCharts} from "./charts.js";
import {ConfigPart, noRun} from "./config.js";
import {FilesPart} from "./files.js";
import {RunHead} from "./header.js";
import {gaugeLine} from "./gauges.js";
import {Rhythm} from "../shared/throttle.js";
import {recall, remember} from "../shared/store.js";
import {SystemPart} from "./system.js";
import {waiting} from "../charts/toolbar.js";
import {hasEnded} from "../shared/states.js";
import {bones, errorText} from "../shared/widgets.js";
import {t} from "../shared/words.js";

const TABS = ["charts", "logs", "system", "config", "files"];
const HEAD_MS = 1000;            // the head is asked for once a second at most, however fast the points come
const SYSTEM_MS = 5000;
const DRAW_MS = 250;             // curves: four times a second at most
const LINES_MS = 100;            // the log: as often as its file is looked at
const SLOW = new Set(["system", "config", "files"]);      // tabs without curves and lines
const DRAWER = {least: 80, usual: 182};

class RunPage {
  constructor(root, key) {
    this.root = root;
    this.key = key;              // as the address has it, maybe in short
    this.alive = true;
    this.rhythm = new Rhythm(api.quiet);
    this.tab = TABS.includes(query().tab) ? query().tab : "charts";
    this.root.className = "run";
    this.loading();
    this.keyed = (event) => this.pressed(event);
    document.addEventListener("keydown", this.keyed);
    this.load();
  }

  loading() {
    fill(
      this.root,
      h("div.rh.wait", {}, h("div.l1", {}, bones(1, ["220px"])),
        h("div.facts", {}, bones(5, ["90px", "140px", "80px"]))),
      h("div.tools", {}, this.tabs()),
      h("div.work", {}, h("div.left.no-log", {}, h("div.chartpart", {}, h("div.chartscroll", {}, waiting()))),
        h("aside.rail")),
    );
  }

  /** Read the run and show it; asked again while it could not be read. */
  load() {
    this.reading ??= this.read().finally(() => { this.reading = null; });
    return this.reading;
  }

  async read() {
    if (this.row) {
      return;
    }
    try {
      const row = await api.get(api.runPath(this.key));
      if (this.alive) {
        this.start(row);
      }
    } catch (error) {
      if (this.alive) {
        fill(this.root, noRun(error));
      }
    }
  }

  start(row) {
    if (this.key !== row.key) {
      this.key = row.key;
      api.pollAnew();            // the viewer rings for this name
    }
    this.head = new RunHead((answer) => this.saved(answer));
    this.charts = new RunCharts(row.key, query());
    this.logs = new LogPanel({key: row.key, whyEmpty: () => whyEmpty(this.row), link: this.charts.link,
      fold: true, toggled: () => this.fold()});
    this.rail = new Rail((tab) => this.open(tab));
    this.system = new SystemPart(row.key);
    this.config = new ConfigPart();
    this.files = new FilesPart(row.key);
    this.tools = h("div.tools");
    this.line = h("div.gaugeline");
    this.work = h("div.work");
    this.left = h("div.left");
    this.grip = h("div.grip", {
      role: "separator",
      tabindex: "0",
      "aria-orientation": "horizontal",
      "aria-label": t("logs.grip"),
      "aria-valuemin": DRAWER.least,
      onpointerdown: (event) => this.drag(event),
      onkeydown: (event) => this.nudge(event),
    });
    fill(this.root, this.head.node, this.line, this.tools, this.work);
    this.show(row);
    this.drawTab();
    // the first news come at once and bring nothing new
    ["head", "system", "curves"].forEach((part) => this.rhythm.begin(part));
    this.renewSystem().catch(api.quiet);
  }

  /** Hand a new answer of the viewer to every part. */
  show(row) {
    this.row = row;
    document.title = `${row.name} · Runicorn`;
    this.head.show(row);
    this.charts.setRun(row);
    this.rail.show(row);
    this.config.show(row);
    this.files.show(row);
  }

  async saved(answer) {
    this.show(answer ? {...this.row, ...answer} : await api.get(api.runPath(this.key)));
  }

  // -- tabs -------------------------------------------------------------------------------------------------

  tabs() {
    const count = this.row
      ? {charts: this.charts.groups?.length, files: null}[this.tab === "charts" ? "charts" : ""] : null;
    return h(
      "nav.tabs",
      {"aria-label": t("run.tabs")},
      TABS.map((tab) =>
        h(
          "a",
          {
            href: runHref(this.key, {...query(), tab: tab === "charts" ? null : tab}),
            "aria-current": tab === this.tab ? "page" : null,
            onclick: (event) => this.tabClicked(event, tab),
          },
          t(`run.tab.${tab}`),
          tab === "charts" && count ? h("span.m3", {}, String(count)) : null,
        ),
      ),
    );
  }

  tabClicked(event, tab) {
    if (!event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      this.open(tab);
    }
  }

  open(tab) {
    this.tab = tab;
    change({tab: tab === "charts" ? null : tab}, {push: true});
    this.drawTab();
  }

  drawTab() {
    [this.charts.grid, this.system.grid].forEach((grid) => grid.leaveFull());
    const part = {charts: this.charts, system: this.system, config: this.config, files: this.files}[this.tab];
    fill(this.tools, this.tabs(), h("span.grow"), part?.tools || null);
    this.root.dataset.tab = this.tab;
    if (this.tab === "charts") {
      fill(this.left, this.charts.node, this.grip, this.logs.node);
      fill(this.work, this.left, this.rail.node);
      this.setDrawer();
    } else {
      fill(this.left, this.tab === "logs" ? this.logs.node : part.node);
      this.left.className = "left whole";
      this.left.style.gridTemplateRows = "";
      fill(this.work, this.left, this.tab === "logs" ? this.rail.node : null);
    }
    this.logs.shown();
    this.renewTab().catch(api.quiet);
  }

  async renewTab() {
    if (this.tab === "logs" || (this.tab === "charts" && !this.folded)) {
      await this.logs.renew();
    } else if (this.tab === "system") {
      await this.system.renew();
    } else if (this.tab === "files") {
      await this.files.renew();
    }
  }

  // -- the drawer of the log --------------------------------------------------------------------------------

  get folded() {
    return recall("drawer.folded", false);
  }

  fold() {
    remember("drawer.folded", !this.folded);
    this.setDrawer();
    this.renewTab().catch(api.quiet);
  }

  setDrawer(height = recall("drawer", DRAWER.usual)) {
    const most = Math.max(DRAWER.least, (this.left.clientHeight || 600) - 160);
    const tall = Math.max(DRAWER.least, Math.min(height, most));
    this.grip.setAttribute("aria-valuemax", most);
    this.grip.setAttribute("aria-valuenow", tall);
    this.left.className = this.folded ? "left folded" : "left";
    this.left.style.gridTemplateRows = this.folded ? "" : `minmax(0, 1fr) 5px ${tall}px`;
    this.logs.shown();
    return tall;
  }

  drag(event) {
    const bottom = this.left.getBoundingClientRect().bottom;
    const move = (moved) => remember("drawer", this.setDrawer(bottom - moved.clientY));
    this.grip.setPointerCapture(event.pointerId);
    this.grip.addEventListener("pointermove", move);
    this.grip.addEventListener("pointerup", () => this.grip.removeEventListener("pointermove", move),
      {once: true});
  }

  nudge(event) {
    const by = {ArrowUp: 32, ArrowDown: -32}[event.key];
    if (by) {
      event.preventDefault();
      remember("drawer", this.setDrawer(recall("drawer", DRAWER.usual) + by));
    }
  }

  // -- news -------------------------------------------------------------------------------------------------

  topics() {
    return ["runs", `run:${this.key}`];
  }

  async update(changed) {
    if (!this.row) {             // its connection may be on its way to it
      await (changed === null ? this.load() : changed.has("runs") ? this.rhythm.ask("head", HEAD_MS,
        () => this.load()) : null);
      return;
    }
    const grown = changed === null || changed.has(`run:${this.key}`);
    if (grown || changed.has("runs")) {
      this.rhythm.ask("head", HEAD_MS, () => this.renewHead())?.catch(api.quiet);
    }
    if (grown) {
      this.rhythm.ask("system", SYSTEM_MS, () => this.renewSystem())?.catch(api.quiet);
      if (this.tab === "files") {
        this.rhythm.ask("files", this.files.pause, () => this.files.renew())?.catch(api.quiet);
      }
      await Promise.all([
        this.rhythm.ask("curves", DRAW_MS, () => this.renewGrown()),
        this.rhythm.ask("lines", LINES_MS, () => this.renewLines()),
      ]);
    }
    if (SLOW.has(this.tab)) {
      // nothing here is newer than the head, so that news may wait as long
      await api.sleep(HEAD_MS / 1000);
    }
  }

  async renewGrown() {
    await (this.tab === "charts" ? this.charts.renew() : null);
  }

  async renewLines() {
    await (["charts", "logs"].includes(this.tab) ? this.renewTab() : null);
  }

  async renewHead() {
    const row = await api.get(api.runPath(this.key));
    if (!this.alive) {
      return;
    }
    if (row.key === this.key) {
      this.show(row);
    } else {
      go(runHref(row.key, query()), {replace: true});      // its folder was renamed
    }
  }

  async renewSystem() {
    const answer = await api.get("/api/system", {run: this.key, buckets: 120});
    if (!this.alive) {
      return;
    }
    this.rail.showSystem(answer);
    renew(this.line, gaugeLine(answer.now));
    if (this.tab === "system") {
      await this.system.renew();
    }
  }

  /** Back, forward, or a link of our own changed the address. */
  addressed() {
    const wanted = TABS.includes(query().tab) ? query().tab : "charts";
    if (this.row && wanted !== this.tab) {
      this.tab = wanted;
      this.drawTab();
    }
  }

  // -- keys -------------------------------------------------------------------------------------------------

  pressed(event) {
    if (!this.row || typing(event) || event.defaultPrevented) {
      return;
    }
    const grid = this.tab === "system" ? this.system.grid : this.charts.grid;
    const does = {
      f: () => grid.toggleFull(),
      l: () => this.tab === "charts" && this.charts.toggleLog(),
      s: () => document.getElementById("smoothing")?.focus(),
      e: () => this.head.edit("tags"),
      "/": () => (this.tab === "charts" ? this.charts.field : this.tab === "config" ? this.config.filter
        : this.logs.search.field).focus(),
      "[": () => this.neighbour(-1),
      "]": () => this.neighbour(1),
      Escape: () => this.back(grid),
    }[event.key];
    if (does) {
      event.preventDefault();
      does();
    }
  }

  back(grid) {
    const {link} = this.charts;
    if (grid.leaveFull()) {
      return;
    }
    if (link.pinned !== null) {
      link.pin(null);
    } else if (link.shown) {
      link.reset();
    } else {
      go("/");
    }
  }

  /** The run before or after this one, as the list would show the runs of this project. */
  async neighbour(by) {
    const {runs} = await api.get("/api/runs", {project: this.row.project, sort: "-started", limit: 500});
    const at = runs.findIndex(({key}) => key === this.key);
    const next = runs[at + by];
    if (at >= 0 && next) {
      go(runHref(next.key, {tab: this.tab === "charts" ? null : this.tab}));
    }
  }

  unmount() {
    this.alive = false;
    document.removeEventListener("keydown", this.keyed);
    this.rhythm.stop();
    for (const part of [this.head, this.charts, this.logs, this.system]) {
      part?.destroy();
    }
    document.title = "Runicorn";
  }
}

/** Why a run's log has no lines; "" where they may still come. */
function whyEmpty(row) {
  if (row.newer) {
    return errorText(row);
  }
  return row.kinds?.length ? t("logs.emptyForeign") : hasEnded(row.state) ? t("logs.emptyEnd") : "";
}

export function mount(root, {key}) {
  return new RunPage(root, key);
}
