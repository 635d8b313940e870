// Which rows of the list are in sight: they are fetched, some beyond them, too, and news of those that run
// are asked for.

import {isLive} from "../shared/states.js";
import {state} from "../shared/store.js";

const AHEAD = 150;               // rows fetched beyond the sight of a list that moves
const MOST_WATCHED = 30;         // running runs whose news are asked for

export class Sight {
  /** table: table.Table; list: loader.RunList */
  constructor(table, list) {
    this.table = table;
    this.list = list;
  }

  get scrolled() {
    return this.table.from > 0;
  }

  /** [first, last] row between two lines: those in sight. */
  range([from, to] = this.table.sight()) {
    const rows = [];
    for (let line = from; line <= to; line += 1) {
      const {row} = this.table.lines.at(line);
      if (row !== undefined) {
        rows.push(row);
      }
    }
    return rows.length ? [rows[0], rows.at(-1)] : [0, 0];
  }

  /**
   * Lines from … to are in sight: fetch their rows, and some beyond in the direction in which the list moves.
   */
  async moved(from, to) {
    if (!this.list.answer || !this.list.total) {
      return;
    }
    const [top, bottom] = this.range([from, to]);
    const by = top - (this.top ?? top);
    this.top = top;
    const range = by > 0 ? [top, bottom + AHEAD] : by < 0 ? [Math.max(0, top - AHEAD), bottom]
      : [top, bottom];
    if (await this.list.seen(...range)) {
      this.table.paint();
    }
  }

  /** Names of the news that the list waits for. */
  topics() {
    const [top, bottom] = this.range();
    const live = [];
    for (let index = top; index <= bottom && live.length < MOST_WATCHED; index += 1) {
      const row = this.list.row(index);
      if (row && isLive(row.state)) {
        live.push(`run:${row.key}`);
      }
    }
    return ["runs", ...new Set([...live, ...state.ticked.slice(0, MOST_WATCHED).map((key) => `run:${key}`)])];
  }
}
