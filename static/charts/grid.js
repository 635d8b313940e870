// A scrolled grid of charts: each is made when it comes near the view and dropped when it is far, its place stays.

import {Chart} from "./chart.js";
import {fill, h, icon} from "../shared/dom.js";
import {menu} from "../shared/widgets.js";
import {t} from "../shared/words.js";

const NEAR = "400px 0px";        // of the visible part: charts within are alive

export class Grid {
  /**
   * hooks: {options(group) -> options of a Chart, wanted(groups): these came near and need their curves,
   *         items(group, chart) -> entries of its menu}
   */
  constructor(hooks, label) {
    this.hooks = hooks;
    this.cells = new Map();      // group id -> {group, figure, chart, near, series}
    this.node = h("div.charts");
    this.scroll = h("div.scroll.chartscroll", {tabindex: "-1", "aria-label": label, role: "region"}, this.node);
    this.box = h("div.chartbox", {}, this.scroll);      // what a page puts in its place
    this.watch = new IntersectionObserver((entries) => this.seen(entries), {root: this.scroll, rootMargin: NEAR});
  }

  /** Keep the places of `count` charts that are not known yet. */
  expect(count) {
    fill(this.node, Array.from({length: count}, () => h("figure.chart.waiting", {data: {wait: t("charts.loading")}}, h("div.plot"))));
  }

  /** Show these groups in this order; charts that stay are kept as they are. */
  setGroups(groups) {
    const gone = new Set(this.cells.keys());
    const figures = groups.map((group) => {
      gone.delete(group.id);
      const cell = this.cells.get(group.id) || this.add(group);
      const changed = cell.group.metrics.join("\n") !== group.metrics.join("\n");
      cell.group = group;
      if (changed && cell.near) {
        this.hooks.wanted([group]);
      }
      return cell.place || cell.figure;
    });
    gone.forEach((id) => this.drop(id));
    if (figures.length !== this.node.children.length || figures.some((figure, at) => this.node.children[at] !== figure)) {
      fill(this.node, figures);
    }
  }

  add(group) {
    const figure = h("figure.chart", {data: {chart: group.title, id: group.id}});
    const cell = {group, figure, place: null, chart: null, near: false, series: [], whole: false};
    cell.figure.addEventListener("keydown", (event) => this.keyed(event, cell));
    this.cells.set(group.id, cell);
    this.watch.observe(cell.figure);
    return cell;
  }

  drop(id) {
    const cell = this.cells.get(id);
    this.full(cell, false);
    this.watch.unobserve(cell.figure);
    cell.chart?.destroy();
    this.cells.delete(id);
  }

  seen(entries) {
    const came = [];
    for (const {target, isIntersecting} of entries) {
      const cell = this.cells.get(target.dataset.id);
      if (!cell || cell.near === isIntersecting) {
        continue;
      }
      cell.near = isIntersecting;
      if (isIntersecting) {
        this.wake(cell);
        came.push(cell.group);
      } else if (!cell.figure.classList.contains("full")) {
        cell.chart.destroy();
        cell.chart = null;
      }
    }
    if (came.length) {
      this.hooks.wanted(came);
    }
  }

  wake(cell) {
    cell.chart = new Chart(cell.figure, {...this.hooks.options(cell.group), actions: this.actions(cell)});
    if (cell.series.length || cell.whole) {
      cell.chart.setData(cell.series, cell.whole);
    }
  }

  actions(cell) {
    const more = h("button.btn.bare", {type: "button", title: t("charts.menu"), "aria-label": t("charts.menu"), "aria-haspopup": "menu",
      onclick: () => menu(more, this.hooks.items(cell.group, cell.chart), {right: true, label: t("charts.menu")})}, icon("more"));
    return [
      h(
        "button.btn.bare.enter",
        {type: "button", title: t("charts.full"), "aria-label": t("charts.full"), onclick: () => this.full(cell)},
        icon("full"),
      ),
      more,
      h(
        "button.btn.bare.leave",
        {type: "button", title: t("charts.leaveFull"), "aria-label": t("charts.leaveFull"), onclick: () => this.full(cell, false)},
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

  /** One chart over the whole page, or back. It leaves the scrolled box: within, some browsers take that for the page. */
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
      cell.place.replaceWith(cell.figure);
      cell.place = null;
      this.watch.observe(cell.figure);
    }
    cell.figure.classList.toggle("full", on);
    document.querySelectorAll("#page .scroll, #page .logscroll, #page .rail").forEach(
      (part) => part.classList.toggle("behind", on));   // their scroll bars would stand over the chart
    cell.figure.querySelector(".plot")?.focus({preventScroll: true});
  }

  cellOf(selector) {
    return [...this.cells.values()].find(({figure}) => figure.matches(selector));
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
    return [...this.cells.values()].filter((cell) => cell.near).map((cell) => cell.group);
  }

  /** Show these curves in a chart; whole: there are no others on their way. */
  set(id, series, whole = false) {
    const cell = this.cells.get(id);
    if (cell) {
      cell.series = series;
      cell.whole ||= whole;
      cell.chart?.setData(series, cell.whole);
    }
  }

  /** Hand the present options to every living chart. */
  refresh() {
    for (const cell of this.cells.values()) {
      cell.chart?.set(this.hooks.options(cell.group));
    }
  }

  destroy() {
    this.watch.disconnect();
    for (const id of [...this.cells.keys()]) {
      this.cells.get(id).chart?.destroy();
    }
    this.cells.clear();
  }
}
