// Cursor and ticks of the run list, by key and by pointer.

import * as api from "../shared/api.js";
import {compareHref, go, runHref} from "../shared/address.js";
import {announce, typing} from "../shared/dom.js";
import {setTicked, state, tick} from "../shared/store.js";
import {t} from "../shared/words.js";

const MOST_TICKED = 50;          // runs that can be compared

const WHOLE = /^[^:]+:[^/]+\/[^/]+\/[^/]+$/;        // connection:project/name/id

/**
 * Tick the runs that an address names; ids and ends of keys, as people type them, give way to the keys under
 * which curves come.
 */
export function tickNamed(names) {
  setTicked(names.slice(0, MOST_TICKED));
  for (const name of state.ticked.filter((one) => !WHOLE.test(one))) {
    api.get(api.runPath(name)).then(
      ({key}) => setTicked([...new Set(state.ticked.map((one) => (one === name ? key : one)))]),
      (error) => console.info(`runicorn: ${name}: ${error.message}`));
  }
}

export class Selection {
  /** page: {root, table, list, preview, editor, fold(value), focusFilter(), say(words)}. */
  constructor(page) {
    this.page = page;
    this.key = null;             // the run under the cursor, kept when rows move
    this.last = -1;              // the row ticked last, where a range begins
  }

  get line() {
    return this.page.table.cursor;
  }

  get index() {
    return this.line < 0 ? -1 : this.page.table.lines.at(this.line).row ?? -1;
  }

  get row() {
    return this.page.list.row(this.index);
  }

  moveTo(line, options) {
    this.page.table.moveTo(line, options);
    this.key = this.row?.key ?? null;
    this.page.preview.later();
  }

  /** Rows moved: the cursor stays on its run. */
  follow() {
    const {table, list} = this.page;
    const index = this.key ? list.slices.indexOf(this.key) : -1;
    const line = index < 0 ? table.cursor : table.lines.lineOf(index);
    if (line !== table.cursor || line >= table.lines.count) {
      table.moveTo(line, {reveal: false});
    }
  }

  reset() {
    this.key = null;
    this.last = -1;
    this.page.table.moveTo(-1, {reveal: false});
  }

  tick(index, on) {
    const row = this.page.list.row(index);
    if (row && (state.ticked.length < MOST_TICKED || on === false || state.ticked.includes(row.key))) {
      tick(row.key, on);
      this.last = index;
    } else if (row) {
      this.full();
    }
  }

  full() {
    announce(t("runs.mostTicked", {n: MOST_TICKED}));
    this.page.say(t("runs.mostTicked", {n: MOST_TICKED}));
  }

  /** Tick everything between the last tick and here. */
  async range(index) {
    const from = this.last < 0 ? index : this.last;
    // one too many, so that it is said
    const end = Math.max(from - MOST_TICKED, Math.min(index, from + MOST_TICKED));
    const rows = await this.page.list.rows(Math.min(from, end), Math.max(from, end));
    this.add(rows);
    this.last = index;
  }

  add(rows) {
    const keys = [...new Set([...state.ticked, ...rows.map((row) => row.key)])];
    if (keys.length > MOST_TICKED) {
      this.full();
    }
    setTicked(keys.slice(0, MOST_TICKED));
  }

  async all(on) {
    if (!on || state.ticked.length) {
      setTicked([]);
      return;
    }
    this.add(await this.page.list.rows(0, Math.min(this.page.list.total, MOST_TICKED + 1) - 1));
  }

  pressed(event) {
    const inside = event.target === document.body || this.page.root.contains(event.target);
    if (typing(event) || event.defaultPrevented || !inside) {
      return;
    }
    const page = this.page.table.rowsInSight() - 1;
    const does = {
      j: () => this.moveTo(this.line + 1), ArrowDown: () => this.moveTo(this.line + 1),
      k: () => this.moveTo(Math.max(0, this.line - 1)),
      ArrowUp: () => this.moveTo(Math.max(0, this.line - 1)),
      PageDown: () => this.moveTo(this.line + page), PageUp: () => this.moveTo(Math.max(0, this.line - page)),
      Home: () => this.moveTo(0), End: () => this.moveTo(this.page.table.lines.count - 1),
      x: () => this.tick(this.index), X: () => this.index >= 0 && this.range(this.index),
      c: () => state.ticked.length && go(compareHref(state.ticked)),
      e: () => this.row && this.page.editor.edit(this.line),
      "/": () => this.page.focusFilter(),
      Enter: () => this.enter(event), Escape: () => this.escape(),
    }[event.key];
    if (does && does() !== false) {
      event.preventDefault();
    }
  }

  enter(event) {
    if (event.target.closest("a, button, summary") || this.line < 0) {
      return false;              // the focused control has its own Enter
    }
    const at = this.page.table.lines.at(this.line);
    if (at.group) {
      this.page.fold(at.group.value);
    } else if (this.row) {
      go(runHref(this.row.key));
    }
    return true;
  }

  escape() {
    if (this.line >= 0) {
      this.reset();
      this.page.preview.later();
    } else {
      setTicked([]);
    }
  }
}
