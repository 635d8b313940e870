// Which of many charts stand in the document: those around the view. The place of the others is kept by its
// size alone.

import {fill, h, place} from "../shared/dom.js";

const MOST = 300;                // charts in the document, and what fills the first line of them
const EDGE = MOST / 5;           // charts left beyond the view when others are put in
const STILL = 150;               // ms after a move of the scroller from which it rests

export class GridWindow {
  /**
   * scroll: what is scrolled; node: the grid in it; hooks: {make(item) -> its element, gone(item): its
   * element was taken out,
   * ended(): the last item came near}.
   */
  constructor(scroll, node, hooks) {
    this.scroll = scroll;
    this.node = node;
    this.hooks = hooks;
    this.items = [];
    this.shown = new Set();      // items in the document
    this.from = 0;               // index of the first of them
    // {columns, pitch: px from one line to the next, along: the side it is scrolled along}
    this.lines = null;
    this.movedAt = -STILL;
    this.room = h("div.chartroom", {"aria-hidden": "true"});
    fill(scroll, node, this.room);
    scroll.addEventListener("scroll", () => this.scrolled(), {passive: true});
    this.resized = new ResizeObserver(() => this.measure());
    this.resized.observe(scroll);
  }

  /** Whether the charts are being scrolled. */
  get moving() {
    return performance.now() - this.movedAt < STILL;
  }

  /** Show these items in this order; those that stay are kept as they are. */
  set(items) {
    this.items = items;
    this.place();
    if (items.length > MOST) {
      requestAnimationFrame(() => this.measure());
    }
  }

  scrolled() {
    this.movedAt = performance.now();
    this.look();
  }

  /** Find out how the grid lays its charts out; a list that is in the document whole needs no such thing. */
  measure() {
    const first = this.node.firstElementChild;
    if (this.items.length > MOST && first?.clientHeight) {
      const style = getComputedStyle(this.node);
      const box = first.getBoundingClientRect();
      const across = style.gridAutoFlow.startsWith("column");
      const columns = across ? 1 : style.gridTemplateColumns.split(" ").length;
      this.lines = {columns, pitch: across ? box.width : box.height, along: across ? "left" : "top"};
      this.place();
    }
    this.look();
  }

  /** The first chart in view and how many there are, as far as is known. */
  view() {
    if (!this.lines) {
      return [0, EDGE];
    }
    const {columns, pitch, along} = this.lines;
    const [before, size] = along === "top" ? [this.scroll.scrollTop, this.scroll.clientHeight]
      : [this.scroll.scrollLeft, this.scroll.clientWidth];
    return [Math.floor(before / pitch) * columns, Math.ceil(size / pitch + 1) * columns];
  }

  /** Put other charts into the document where the view has come near the edge of those that are. */
  look() {
    const [first, count] = this.view();
    const end = this.from + this.shown.size;
    if ((this.from > 0 && first - this.from < EDGE)
        || (end < this.items.length && end - first - count < EDGE)) {
      this.place();
    }
    if (first + count + EDGE >= this.items.length && this.lines) {
      this.hooks.ended();
    }
  }

  place() {
    const {items} = this;
    const [first, count] = this.view();
    const {columns = 1, pitch = 0, along = "top"} = this.lines ?? {};
    const start = Math.max(0, Math.min(items.length - MOST, first - Math.floor((MOST - count) / 2)));
    this.from = start - (start % columns);
    const shown = items.slice(this.from, start + MOST);
    const before = this.shown;
    this.shown = new Set(shown);
    before.forEach((item) => !this.shown.has(item) && this.hooks.gone(item));
    place(this.node, shown.map((item) => this.hooks.make(item)));
    const whole = items.length <= MOST;
    this.node.style.top = this.node.style.left = "";
    this.node.style[along] = this.from ? `${(this.from / columns) * pitch}px` : "";
    this.room.style.height = this.room.style.width = "";
    this.room.style[along === "top" ? "height" : "width"] = whole ? ""
      : `${Math.ceil(items.length / columns) * pitch}px`;
  }

  destroy() {
    this.resized.disconnect();
  }
}
