// A chart is dragged by its title to another place. Nothing moves until it is let go: a bar shows where it
// would stand.

import {h} from "../shared/dom.js";

const FAR = 6;                   // px the pointer must move before a press on a title becomes a drag
const EDGE = 36;                 // px from the upper or lower edge within which the charts scroll along
const SCROLL = 12;               // px a frame

/** The slot under the pointer: [figure it would stand beside, whether before it], null outside all charts. */
function slotAt(grid, x, y) {
  const over = [...grid.children].find((figure) => {
    const box = figure.getBoundingClientRect();
    return x >= box.left && x < box.right && y >= box.top && y < box.bottom;
  });
  if (!over) {
    return null;
  }
  const box = over.getBoundingClientRect();
  return [over, x < box.left + box.width / 2];
}

class Drag {
  constructor(scroll, figure, event, dropped) {
    this.scroll = scroll;
    this.grid = figure.parentNode;
    this.figure = figure;
    this.dropped = dropped;
    this.slot = null;            // as slotAt() says it
    this.moved = false;
    this.start = this.at = {x: event.clientX, y: event.clientY};
    this.bar = h("div.dropbar", {hidden: true, "aria-hidden": "true"});
    this.end = new AbortController();
    const on = (name, listener) => document.addEventListener(name, listener,
      {capture: true, signal: this.end.signal});
    on("pointermove", (news) => this.move(news));
    on("pointerup", () => this.finish(true));
    on("pointercancel", () => this.finish(false));
    on("keydown", (news) => news.key === "Escape" && (news.stopPropagation(), this.finish(false)));
  }

  move(event) {
    this.at = {x: event.clientX, y: event.clientY};
    if (!this.moved && Math.hypot(this.at.x - this.start.x, this.at.y - this.start.y) >= FAR) {
      this.moved = true;
      this.figure.classList.add("dragged");
      document.body.classList.add("dragging");
      document.body.append(this.bar);       // within the scrolled box some browsers would place it from there
      this.frame();
    }
  }

  /** Once a frame while dragging: scroll at an edge, and show the bar where the chart would stand. */
  frame() {
    const box = this.scroll.getBoundingClientRect();
    const step = this.at.y < box.top + EDGE ? -SCROLL : this.at.y > box.bottom - EDGE ? SCROLL : 0;
    this.scroll.scrollTop += step;
    this.slot = slotAt(this.grid, this.at.x, this.at.y);
    this.bar.hidden = !this.slot;
    if (this.slot) {
      const [figure, before] = this.slot;
      const place = figure.getBoundingClientRect();
      this.bar.style.left = `${(before ? place.left : place.right) - 1}px`;
      this.bar.style.top = `${place.top}px`;
      this.bar.style.height = `${place.height}px`;
    }
    this.next = requestAnimationFrame(() => this.frame());
  }

  finish(kept) {
    this.end.abort();
    cancelAnimationFrame(this.next);
    this.bar.remove();
    this.figure.classList.remove("dragged");
    document.body.classList.remove("dragging");
    if (!kept || !this.moved || !this.slot) {
      return;
    }
    const [figure, before] = this.slot;
    const next = before ? figure : figure.nextElementSibling;
    if (figure !== this.figure && next !== this.figure) {
      this.dropped(this.figure.dataset.id, next?.dataset.id ?? null);
    }
  }
}

/**
 * Let the charts in `scroll` be dragged by their titles; dropped(id, before): id was let go before the chart
 * `before`, null: last.
 */
export function reorderable(scroll, dropped) {
  scroll.classList.add("movable");
  scroll.addEventListener("pointerdown", (event) => {
    const figure = event.target.closest("figure.chart > header h2")?.closest("figure");
    if (figure && event.button === 0 && event.pointerType !== "touch" && !figure.classList.contains("full")) {
      event.preventDefault();    // no selection of text begins
      new Drag(scroll, figure, event, dropped);
    }
  });
}
