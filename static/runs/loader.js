// The runs that are listed: asks the viewer for them in slices and keeps them current without moving what
// somebody reads.

import * as api from "../shared/api.js";
import * as clock from "../shared/clock.js";
import {STILL} from "./resting_pointer.js";
import {Slices} from "./slices.js";
import {keepText} from "../shared/store.js";

const CALM = 1;                  // seconds between two refreshes, however often it rings

const now = () => performance.now() / 1000;

export class RunList {
  /**
   * page: {parameters() of GET /api/runs, range() -> [first, last] row in sight, held() -> is the pointer
   * holding the order,
   *        scrolled() -> is the list scrolled down, byTime() -> newest first, ungrouped, first(answer),
   *        arrived(answer, anew),
   * failed(error)}.
   */
  constructor(page) {
    this.page = page;
    this.abort = new AbortController();
    this.slices = this.make();
    this.refreshed = 0;
    this.heard = 0;              // when the shown answer was read, by the viewer's clock, s
    this.beside = null;          // the newest answer that told the columns and the tree
  }

  make() {
    return new Slices(async (offset, limit) => {
      const values = {...this.page.parameters(), offset, limit};
      if (!location.search && offset === 0) {
        // preload.js asks for the same the next time
        keepText("listAsked", `/api/runs${api.parameters(values)}`);
      }
      const held = this.beside;
      const answer = await api.get("/api/runs", {...values, known: held?.beside}, this.abort.signal);
      if (answer.columns) {
        this.beside = answer;
      } else {                   // they are as they were, and so are their parts: what draws them sees that
        Object.assign(answer, {columns: held.columns, tree: {...held.tree, states: answer.tree.states}});
      }
      const readAt = clock.now();
      answer.runs.forEach((row) => { row.readAt = readAt; });
      this.heard = readAt;
      return answer;
    });
  }

  row(index) {
    return this.slices.row(index);
  }

  get answer() {
    return this.slices.last;
  }

  get total() {
    return this.slices.total;
  }

  /** Runs that came in above and wait to be let in. */
  get waiting() {
    return this.slices.skew;
  }

  /** Start anew: another filter, order or grouping. What is shown stays until the answer is here. */
  async restart() {
    const slices = this.make();
    this.next = slices;
    await this.guarded(async () => {
      await slices.want(0, 0);
      if (slices === this.next) {
        this.slices = slices;
        this.refreshed = now();
        this.page.first(slices.last);
        this.page.arrived(slices.last, true);
      }
    });
  }

  async guarded(work) {
    try {
      await work();
    } catch (error) {
      if (error.name !== "AbortError") {
        this.page.failed(error);
      }
    }
  }

  /**
   * Something changed: refresh, at most once in CALM seconds; at once where only the newest runs are here so
   * far.
   */
  rung() {
    if (!this.timer) {
      const wait = this.answer?.loading ? 0 : Math.max(0, this.refreshed + CALM - now());
      this.timer = setTimeout(() => { this.timer = null; this.refresh(); }, wait * 1000);
    }
  }

  async refresh() {
    this.refreshed = now();
    if (!this.answer) {
      await this.restart();
      return;
    }
    const {loading, matched} = this.answer;
    // what a first look adds is older
    const before = this.page.scrolled() && this.page.byTime() && !loading ? matched : null;
    await this.guarded(async () => {
      await this.again();
      if (before !== null && this.answer.matched > before) {
        this.slices.holdBack(this.answer.matched - before);
        await this.again();
      }
    });
  }

  /** Read the rows in sight again; an order that changed under the pointer waits until it rests. */
  async again() {
    const {slices} = this;
    slices.outdate();
    const before = new Map(slices.rows);
    await slices.want(...this.page.range());
    if (slices !== this.slices) {
      return;
    }
    if (this.page.held() && reordered(before, slices.rows)) {
      slices.keepOrder(before);
      clearTimeout(this.settling);
      this.settling = setTimeout(() => this.refresh(), STILL * 1000);
    }
    this.page.arrived(slices.last, false);
  }

  /** Values of other columns are wanted: what is here is old. */
  reload() {
    return this.guarded(() => this.again());
  }

  /** Rows came into sight. Resolves to true when some of them had to be fetched. */
  async seen(first, last) {
    let came = false;
    await this.guarded(async () => { came = await this.slices.want(first, last); });
    return came;
  }

  letIn() {
    this.slices.letIn();
    return this.reload();
  }

  /** The rows first … last, fetched if need be. */
  async rows(first, last) {
    const {slices} = this;
    await this.guarded(() => slices.want(first, last));
    return Array.from({length: last - first + 1}, (_, i) => slices.row(first + i)).filter(Boolean);
  }

  replace(row) {
    this.slices.replace(row);
  }

  /** The rows of these runs that are here (Map of key -> row). @param {Set<string>} keys */
  named(keys) {
    return new Map([...this.slices.rows.values()].filter(({key}) => keys.has(key))
      .map((row) => [row.key, row]));
  }

  /** Rows that are here, the first `most` of them. */
  some(most = Infinity) {
    return [...this.slices.rows.values()].slice(0, most);
  }

  destroy() {
    this.abort.abort();
    clearTimeout(this.timer);
    clearTimeout(this.settling);
  }
}

/** Whether other runs now stand where runs stood. */
export function reordered(before, after) {
  return [...after].some(([index, row]) => before.has(index) && before.get(index).key !== row.key);
}
