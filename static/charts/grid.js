// A scrolled grid of charts: each is made when it comes near the view and dropped when it is far; its name
// stays.

import {Chart} from "./chart.js";
import {sameCurves} from "./curves.js";
import {GridWindow} from "./grid_window.js";
import {fill, h, icon, own} from "../shared/dom.js";
import {menu} from "../shared/widgets.js";
import {t} from "../shared/words.js";

const NEAR = "400px 0px";        // of the visible part: charts within are alive
const FRAME = 6;                 // ms of a frame that are spent on charts while they are scrolled
const RESTING = 30;              // … and while they rest: the first is seen before the last is drawn
// ms for which charts that came near while scrolling are gathered into one question
const GATHER = 120;

/**
 * What a grid knows of one chart. figure: while it is in the document; place: what keeps its place while it
 * is full; chart: while it is near the view.
 * @typedef {{group: import("./curves.js").Group, figure: any, place: any, chart: Chart | null, near: boolean, series: any[], whole: boolean,
 *   drawn: boolean}} Cell
 */
export class Grid {
  /**
   * hooks: {options(group) -> options of a Chart, wanted(groups): these came near and need their curves,
   *         items(group, chart) -> entries of its menu, ended?(): the last chart came near}
   */
  constructor(hooks, label) {
    this.hooks = hooks;
    /** @type {Map<string, Cell>} */
    this.cells = new Map();
    /** @type {Set<Cell>} */
    this.alive = new Set();      // cells near the view
    this.due = new Set();        // of them those whose chart is to be made or drawn
    this.came = new Set();       // of them those whose curves are to be asked for
    this.node = h("div.charts");
    this.scroll = h("div.scroll.chartscroll", {tabindex: "-1", "aria-label": label, role: "region"});
    this.window = new GridWindow(this.scroll, this.node,
      {make: (cell) => this.put(cell), gone: (cell) => this.takeOut(cell),
        ended: () => this.hooks.ended?.()});
    this.box = h("div.chartbox", {}, this.scroll);      // what a page puts in its place
    this.watch = new IntersectionObserver((entries) => this.seen(entries),
      {root: this.scroll, rootMargin: NEAR});
  }

  /** Keep the places of `count` charts that are not known yet. */
  expect(count) {
    fill(this.node, Array.from({length: count},
      () => h("figure.chart.waiting", {data: {wait: t("charts.loading")}}, h("div.plot"))));
  }

  /** Show these groups in this order; charts that stay are kept as they are. */
  setGroups(groups) {
    const gone = new Set(this.cells.keys());
    const changed = [];
    const cells = groups.map((group) => {
      gone.delete(group.id);
      const cell = this.cells.get(group.id) || this.add(group);
      if (cell.near && cell.group.metrics.join("\n") !== group.metrics.join("\n")) {
        changed.push(group);
      }
      cell.group = group;
      return cell;
    });
    gone.forEach((id) => this.drop(id));
    this.window.set(cells);
    if (changed.length) {
      this.hooks.wanted(changed);
    }
  }

  add(group) {
    const cell = {group, figure: null, place: null, chart: null, near: false, series: [], whole: false,
      drawn: false};
    this.cells.set(group.id, cell);
    return cell;
  }

  drop(id) {
    const cell = this.cells.get(id);
    this.full(cell, false);
    this.cells.delete(id);
  }

  /** The element of a cell in the document. */
  put(cell) {
    if (!cell.figure) {
      cell.figure = h("figure.chart",
        {data: {chart: cell.group.title, id: cell.group.id}, onkeydown: (event) => this.keyed(event, cell)});
      this.caption(cell);
      this.watch.observe(cell.figure);
    }
    return cell.place || cell.figure;
  }

  /** Its name alone, while it is not near. */
  caption(cell) {
    const {title, sub} = this.hooks.options(cell.group);
    cell.figure.classList.remove("waiting");
    fill(cell.figure,
      h("header", {}, h("h2.cut", {title}, own(title), sub ? h("span.m3", {}, " ", own(sub)) : null)));
  }

  takeOut(cell) {
    if (cell.place) {
      return;                    // it is over the whole page, and its place is taken when that ends
    }
    this.watch.unobserve(cell.figure);
    this.sleep(cell);
    Object.assign(cell, {figure: null, series: [], whole: false});
  }

  seen(entries) {
    for (const {target, isIntersecting} of entries) {
      const cell = this.cells.get(target.dataset.id);
      if (!cell || cell.figure !== target || cell.near === isIntersecting) {
        continue;
      }
      if (isIntersecting) {
        cell.near = true;
        [this.alive, this.due, this.came].forEach((set) => set.add(cell));
      } else if (!cell.place) {
        this.sleep(cell);
        this.caption(cell);
      }
    }
    this.work();
  }

  sleep(cell) {
    cell.near = false;
    [this.alive, this.due, this.came].forEach((set) => set.delete(cell));
    cell.chart?.destroy();
    cell.chart = null;
  }

  /** Work once all that is shown now was handed over; while the charts are scrolled, in the next frame. */
  wake(moving = this.window.moving) {
    if (!this.woken) {
      this.woken = true;
      const work = () => { this.woken = false; this.work(); };
      moving ? requestAnimationFrame(work) : queueMicrotask(work);
    }
  }

  /** Make and draw what is due, in each frame what it has time for. */
  work() {
    const {moving} = this.window;
    this.ask();                  // the viewer reads while the charts are made
    const until = performance.now() + (moving ? FRAME : RESTING);
    for (const cell of this.due) {
      this.due.delete(cell);
      this.advance(cell);
      if (performance.now() >= until || (moving && !cell.drawn)) {
        break;                   // a chart that was made is laid out and drawn in this frame, too
      }
    }
    if (this.due.size) {
      this.wake(true);
    }
  }

  advance(cell) {
    cell.chart ??= new Chart(cell.figure, {...this.hooks.options(cell.group), actions: this.actions(cell)});
    cell.drawn = Boolean(cell.series.length || cell.whole);
    if (cell.drawn) {
      cell.chart.setData(cell.series, cell.whole);
    }
  }

  /**
   * Ask for the curves of what came near; while the charts are scrolled of all that came in some time and
   * stayed.
   */
  ask() {
    if (!this.came.size || this.asking) {
      return;
    }
    if (this.window.moving) {
      this.asking = setTimeout(() => { this.asking = 0; this.askNow(); }, GATHER);
    } else {
      this.askNow();
    }
  }

  askNow() {
    const groups = [...this.came].map(({group}) => group);
    this.came.clear();
    if (groups.length) {
      this.hooks.wanted(groups);
    }
  }

  actions(cell) {
    const more = h("button.btn.bare",
      {type: "button", title: t("charts.menu"), "aria-label": t("charts.menu"), "aria-haspopup": "menu",
        onclick: () => menu(more, this.hooks.items(cell.group, cell.chart),
          {right: true, label: t("charts.menu")})}, icon("more"));
    return [
      h(
        "button.btn.bare.enter",
        {type: "button", title: t("charts.full"), "aria-label": t("charts.full"),
          onclick: () => this.full(cell)},
        icon("full"),
      ),
      more,
      h(
        "button.btn.bare.leave",
        {type: "button", title: t("charts.leaveFull"), "aria-label": t("charts.leaveFull"),
          onclick: () => this.full(cell, false)},
        icon("x"),
      ),
    ];
  }

  keyed(event, cell) {
    if (event.key === "Escape" && cell.figure.classList.contains("full")) {
      this.full(cell, false);
      event.stopPropagation();
    }
  }

  /**
   * One chart over the whole page, or back. It leaves the scrolled box: within, some browsers take that for
   * the page.
   */
  full(cell, on = !cell.place) {
    if (on === Boolean(cell.place)) {
      return;
    }
    this.watch.unobserve(cell.figure);
    if (on) {
      cell.place = h("div.chartplace");
      cell.figure.replaceWith(cell.place);
      this.box.append(cell.figure);
    } else {
      const here = cell.place.isConnected;
      cell.place.replaceWith(cell.figure);
      cell.place = null;
      this.watch.observe(cell.figure);
      if (!here) {               // other charts were put into the document meanwhile
        cell.figure.remove();
        this.takeOut(cell);
      }
    }
    cell.figure.classList.toggle("full", on);
    document.querySelectorAll("#page .scroll, #page .logscroll, #page .rail").forEach(
      (part) => part.classList.toggle("behind", on));   // their scroll bars would stand over the chart
    cell.figure.querySelector(".plot")?.focus({preventScroll: true});
  }

  cellOf(selector) {
    return [...this.alive].find(({figure}) => figure.matches(selector));
  }

  /** {group, chart} of the chart under the pointer or with the focus, undefined where there is none. */
  pointed() {
    return this.cellOf(":hover, :focus-within");
  }

  /** The key "f": the chart that is full, else the one under the pointer or with the focus. */
  toggleFull() {
    const cell = this.cellOf(".full") || this.pointed();
    if (cell) {
      this.full(cell);
    }
  }

  leaveFull() {
    const cell = this.cellOf(".full");
    if (cell) {
      this.full(cell, false);
    }
    return Boolean(cell);
  }

  near() {
    return [...this.alive].map((cell) => cell.group);
  }

  /** Show these curves in a chart; whole: there are no others on their way. */
  set(id, series, whole = false) {
    const cell = this.cells.get(id);
    if (!cell?.near) {
      return;                    // it is asked for again when it comes near
    }
    const settles = whole && !cell.whole;
    cell.whole ||= whole;
    if (!sameCurves(cell.series, series) || (settles && !series.length)) {
      cell.series = series;
      this.due.add(cell);
      this.wake();
    }
  }

  /** Repaint a chart at once if it waits for its time. */
  settle(id) {
    this.cells.get(id)?.chart?.settle();
  }

  /** Hand the present options to every living chart. */
  refresh() {
    this.alive.forEach((cell) => cell.chart?.set(this.hooks.options(cell.group)));
  }

  destroy() {
    this.watch.disconnect();
    this.window.destroy();
    [this.due, this.came].forEach((set) => set.clear());
    clearTimeout(this.asking);
    this.alive.forEach((cell) => cell.chart?.destroy());
    this.cells.clear();
  }
}
