// The windowed table: of thousands of rows only those in sight are in the document. Knows columns and lines,
// not runs' meaning.

import {fill, h, icon, text} from "../shared/dom.js";
import {arrange} from "./slices.js";
import {stroke} from "../shared/store.js";
import {fmt, t} from "../shared/words.js";

const TICK = 28;                 // px of the column of tick boxes
const ROW = 26;                  // px, --row in style.css
const OVERSCAN = 10;             // rows drawn beyond both edges, so that a fast wheel shows no gap
const HEAD = 36;                 // px, the sticky head covers this much of the scroller
const NARROWEST = 36;            // px a column can be dragged to
// ms after the last scroll event until the rows are put into their order in the document
const AT_REST = 100;
// ms after the rows in sight were first painted until those beyond the edges are
const SOON = 50;

/**
 * hooks: {row(index), group(head) -> text, ticked(key), colour(key), sort(id, other way), tick(index, on),
 * range(index), open(index), point(index),
 *         fold(group), allTicked(on), resize(id, px), seen(first, last), tip(cell, row)}.
 */
export class Table {
  constructor(hooks) {
    this.hooks = hooks;
    this.columns = [];
    this.lines = arrange(0, null);
    this.cursor = -1;            // a line
    this.drawn = new Map();      // line -> tr
    this.spare = [];
    // rows that were taken for another line and stand at their old place in the document
    this.moved = new Set();
    this.scrolling = 0;          // a timer while the list moves
    this.from = 0;               // px the list is scrolled; kept, because asking makes the browser lay out
    this.view = 0;               // px of the list in sight
    this.asked = false;
    this.build();
  }

  build() {
    this.head = h("thead", {role: "rowgroup"});
    this.body = h("tbody", {role: "rowgroup"});
    this.table = h("table.grid", {role: "grid", "aria-label": t("runs.list"), "aria-multiselectable": "true"},
      this.head, this.body);
    this.node = h("div.scroll.rows",
      {tabIndex: 0, role: "group", "aria-label": t("runs.list"), onscroll: () => this.scrolled()},
      this.table);
    this.body.addEventListener("click", (event) => this.clicked(event));
    this.body.addEventListener("change",
      ({target}) => this.hooks.tick(target.closest("tr").index, target.checked));
    this.watch = new ResizeObserver(([{contentRect}]) => this.resized(contentRect.height));
    this.watch.observe(this.node);
  }

  /** columns as columns.js makes them; sort: "-started" and the like; room: px there are for them. */
  setColumns(columns, sort, room) {
    this.columns = columns;
    const wide = columns.reduce((sum, column) => sum + column.width, TICK);
    const tracks = columns.map((column) =>
      (column.id === "name" ? `minmax(${column.width}px, 1fr)` : `${column.width}px`));
    this.table.style.minWidth = `${wide}px`;
    this.table.style.setProperty("--cols", [`${TICK}px`, ...tracks].join(" "));
    this.table.classList.toggle("wide", wide > room);
    fill(this.head, h("tr", {role: "row"}, this.headTick(),
      columns.map((column, i) => this.headCell(column, columns[i - 1], sort))));
    this.spare = [];
    this.drawn.clear();
    this.moved.clear();
    this.anew = true;
    this.model = null;
    fill(this.body);
    this.paint();
  }

  /** Whether a column holds figures. */
  numeric(id) {
    return Boolean(this.columns.find((column) => column.id === id)?.numeric);
  }

  headTick() {
    this.all = h("input.tick", {type: "checkbox", "aria-label": t("runs.tickAll"), title: t("runs.tickAll"),
      onchange: () => this.hooks.allTicked(this.all.checked)});
    return h("th.tk", {scope: "col", role: "columnheader"}, this.all);
  }

  headCell(column, before, sort) {
    const on = column.sort && sort.replace(/^-/, "") === column.sort;
    const down = on && sort.startsWith("-");
    const edge = edged(column, before);
    const name = h("span.hn.cut", {}, on ? icon(down ? "down" : "up") : null, column.title);
    const label = column.id === "spark" ? h("span.vh", {}, column.title)
      : [column.small ? h("small.cut", {}, column.small) : null, name];
    return h("th", {scope: "col", role: "columnheader",
      class: [column.numeric ? "num" : "", edge ? "b" : "", `c-${kind(column.id)}`].join(" "),
      title: [column.small, column.title].filter(Boolean).join("/") || null,
      "aria-sort": on ? (down ? "descending" : "ascending") : null},
      column.sort ? h("button.hb", {type: "button", onclick: () => this.hooks.sort(column.sort)}, label)
        : label, this.handle(column));
  }

  handle(column) {
    const start = (event) => {
      event.preventDefault();
      const [from, width] = [event.clientX, event.target.parentNode.offsetWidth];
      const move = (moved) => this.hooks.resize(column.id,
        Math.max(NARROWEST, Math.round(width + moved.clientX - from)));
      const end = () => { removeEventListener("pointermove", move); removeEventListener("pointerup", end); };
      addEventListener("pointermove", move);
      addEventListener("pointerup", end);
    };
    return h("span.handle",
      {"aria-hidden": "true", onpointerdown: start, ondblclick: () => this.hooks.resize(column.id, null)});
  }

  /** some: whether there are ticked runs; the box of all of them then clears. */
  showTicked(some) {
    if (this.all) {
      this.all.indeterminate = some;
      this.all.checked = false;
    }
  }

  /** Write a column's cells anew: words(index of a row) -> text, undefined to leave one. */
  rewrite(id, words) {
    const at = this.columns.findIndex((column) => column.id === id);
    for (const tr of at < 0 ? [] : this.drawn.values()) {
      const value = tr.key && words(tr.index);
      if (value) {
        text(tr.parts[at], value);
      }
    }
  }

  /** lines as arrange() makes them. */
  setLines(lines) {
    this.lines = lines;
    this.paint();
  }

  /** Draw in the next frame what is in sight now. */
  paint() {
    if (!this.asked) {
      this.asked = true;
      requestAnimationFrame(() => { this.asked = false; this.paintNow(); });
    }
  }

  /** Look how much room there is before the first layout tells; returns its width, px. */
  measure() {
    this.view = this.node.clientHeight;
    return this.node.clientWidth;
  }

  sight() {
    const more = this.anew ? 0 : OVERSCAN;
    const first = Math.max(0, Math.floor(this.from / ROW) - more);
    const last = Math.min(this.lines.count, Math.ceil((this.from + this.view - HEAD) / ROW) + more) - 1;
    return [Math.min(first, Math.max(0, this.lines.count - 1)), last];
  }

  resized(height) {
    if (Math.abs(height - this.view) >= 1) {
      this.view = height;
      this.paint();
    }
  }

  scrolled() {
    this.from = this.node.scrollTop;
    clearTimeout(this.scrolling);
    this.scrolling = setTimeout(() => { this.scrolling = 0; this.park(); }, AT_REST);
    this.paint();
  }

  paintNow() {
    if (!this.node.isConnected) {
      return;
    }
    const [first, last] = this.sight();
    for (const [line, tr] of this.drawn) {
      if (line < first || line > last || !this.known(line)) {
        this.drawn.delete(line);
        this.spare.push(tr);
      }
    }
    for (let line = first; line <= last; line += 1) {
      if (this.known(line)) {
        this.paintLine(this.drawn.get(line) || this.take(line), line);
      }
    }
    this.park();
    this.pointOut();
    this.stretch();
    this.hooks.seen(first, last);
    if (this.anew && this.drawn.size) {
      this.anew = false;         // what is in sight was painted first; now what is near
      setTimeout(() => this.paint(), SOON);
    }
  }

  /**
   * Whether a line can be drawn: a group's head, or a row that is here. The bars behind the rows keep the
   * place of others.
   */
  known(line) {
    const at = this.lines.at(line);
    return at.group !== undefined || this.hooks.row(at.row) !== undefined;
  }

  /**
   * Take rows without a line out of sight. While the list moves they stay in the document: they are wanted
   * again at once.
   */
  park() {
    for (const tr of this.spare) {
      if (!this.scrolling) {
        tr.remove();
      } else if (tr.key !== null) {
        tr.key = null;
        tr.removeAttribute("id");
        delete tr.dataset.key;
        tr.style.top = "-9999px";
      }
    }
    if (!this.scrolling) {
      this.putInOrder();
    }
  }

  stretch() {
    const {count} = this.lines;
    if (count !== this.tall) {
      this.tall = count;
      this.body.style.height = `${count * ROW}px`;
      this.table.setAttribute("aria-rowcount", count + 1);
    }
  }

  /**
   * A row element for a line: one that is no longer in sight, else a new one. Rows are laid out each for
   * itself, so none moves another.
   */
  take(line) {
    const tr = this.spare.pop() || this.makeRow();
    this.drawn.set(line, tr);
    tr.style.top = `${line * ROW}px`;
    tr.id = `line-${line}`;
    tr.setAttribute("aria-rowindex", line + 2);
    if (!tr.isConnected) {
      this.body.append(tr);
    }
    if (tr.previousSibling !== (this.drawn.get(line - 1) ?? null)) {
      this.moved.add(tr);
    }
    return tr;
  }

  /**
   * Let the rows follow each other in the document as they do on the screen. Too dear for every frame of a
   * scroll.
   */
  putInOrder() {
    if (!this.moved.size) {
      return;
    }
    this.moved.forEach((tr) => tr.remove());
    this.moved.clear();
    let at = this.body.firstChild;
    for (const line of [...this.drawn.keys()].sort((a, b) => a - b)) {
      const tr = this.drawn.get(line);
      if (tr === at) {
        at = at.nextSibling;
      } else {
        this.body.insertBefore(tr, at);
      }
    }
  }

  /** A new row: after the first one a copy of it, which is far quicker to make and mostly right already. */
  makeRow() {
    if (this.model) {
      return copyOf(this.model);
    }
    const cells = this.columns.map((column, i) => h("td",
      {role: "gridcell", class: [column.numeric ? "num" : "", edged(column, this.columns[i - 1]) ? "b" : "",
      `c-${kind(column.id)}`].join(" ")}));
    return dressed(h("tr", {role: "row"},
      h("td.tk", {role: "gridcell"}, h("input.tick", {type: "checkbox", tabIndex: -1})), cells));
  }

  paintLine(tr, line) {
    const at = this.lines.at(line);
    tr.classList.toggle("cur", line === this.cursor);
    if (at.group) {
      this.paintGroup(tr, at.group);
      return;
    }
    if (tr.group) {
      this.ungroup(tr);
    }
    tr.index = at.row;
    this.paintRow(tr, this.hooks.row(at.row));
  }

  paintRow(tr, row) {
    const ticked = this.hooks.ticked(row.key);
    const slot = ticked ? this.hooks.colour(row.key) : -1;
    if (tr.row === row && tr.stroke === slot && tr.key === row.key) {
      return;
    }
    Object.assign(tr, {row, stroke: slot});
    if (tr.key !== row.key) {
      tr.key = row.key;
      tr.dataset.key = row.key;
      tr.box.setAttribute("aria-label", t("runs.tickOne", {name: row.name}));
    }
    tr.classList.toggle("on", ticked);
    tr.setAttribute("aria-selected", String(ticked));
    tr.box.checked = ticked;
    tr.box.className = ticked ? `tick k${stroke(slot).colour}` : "tick";
    this.columns.forEach((column, i) => column.paint(tr.parts[i], row));
    this.model ??= copyOf(tr);
  }

  paintGroup(tr, group) {
    const sign = `${group.value}|${group.count}|${group.folded}`;
    if (tr.group !== sign) {
      tr.group = sign;
      tr.key = undefined;
      tr.row = null;
      delete tr.dataset.key;
      tr.className = "grp";
      fill(tr, h("td", {role: "gridcell"},
        h("button.gb",
          {type: "button", "aria-expanded": String(!group.folded),
            onclick: () => this.hooks.fold(group.value)},
          icon(group.folded ? "rt" : "dn"), h("b.cut", {}, this.hooks.group(group)),
          h("span.m3", {}, fmt.int(group.count)))));
    }
  }

  ungroup(tr) {
    tr.group = null;
    tr.className = "";
    fill(tr, h("td.tk", {role: "gridcell"}, tr.box), tr.parts);
  }

  clicked(event) {
    const tr = event.target.closest("tr");
    if (!tr || tr.group || event.target.closest("a, button, .pop")) {
      return;
    }
    if (event.target.closest(".tk")) {
      if (event.target !== tr.box) {
        this.hooks.tick(tr.index, !tr.box.checked);
      } else if (event.shiftKey) {
        this.hooks.range(tr.index);
      }
    }
    this.hooks.point(tr.index, event);
  }

  /** Tell a screen reader which row the cursor is on, while that row is drawn. */
  pointOut() {
    if (this.drawn.has(this.cursor)) {
      this.node.setAttribute("aria-activedescendant", `line-${this.cursor}`);
    } else {
      this.node.removeAttribute("aria-activedescendant");
    }
  }

  /** Put the cursor on a line and bring it into sight. */
  moveTo(line, {reveal = true} = {}) {
    this.cursor = Math.max(-1, Math.min(line, this.lines.count - 1));
    if (reveal && this.cursor >= 0) {
      const [top, view] = [this.cursor * ROW, this.view - HEAD];
      if (top < this.from) {
        this.scrollTo(top);
      } else if (top + ROW > this.from + view) {
        this.scrollTo(top + ROW - view + 12);
      }
    }
    this.paint();
  }

  scrollTo(top) {
    if (top !== this.from) {
      this.node.scrollTop = top;
      this.scrolled();
    }
  }

  rowsInSight() {
    return Math.max(1, Math.floor((this.view - HEAD) / ROW));
  }

  /** The cell of a column in the cursor's row, if it is drawn. */
  cellOf(line, id) {
    return this.drawn.get(line)?.parts?.[this.columns.findIndex((column) => column.id === id)];
  }

  destroy() {
    clearTimeout(this.scrolling);
    this.watch.disconnect();
  }
}

function kind(id) {
  return id.includes(".") ? id.split(".")[0] : id;
}

/** A row that knows its box and its cells. */
function dressed(tr) {
  const [first, ...parts] = tr.children;
  return Object.assign(tr, {box: first.firstChild, parts, index: -1});
}

/** A copy of a painted row; its cells remember what they show. */
function copyOf(row) {
  const tr = dressed(row.cloneNode(true));
  tr.parts.forEach((cell, i) => { cell.sign = row.parts[i].sign; });
  return tr;
}

/** A hairline stands only between identity, metrics and config. */
function edged(column, before) {
  const part = (id) => (id === "spark" || id === "main" || id.startsWith("summary.") ? "metrics"
    : id.startsWith("config.") ? "config"
    : "identity");
  return before !== undefined && part(column.id) !== part(before.id);
}
