// The runs that are compared: their keys as the address has them, and what the viewer says of each. Draws
// nothing.

import * as api from "../shared/api.js";
import {change, query, splitList} from "../shared/address.js";
import {setTicked, spreadColours, state} from "../shared/store.js";
import {t} from "../shared/words.js";

export const MOST = 50;
const PORTION = 8;               // runs in one answer
// answers on their way at the same time: a browser holds six connections, one waits for news
const AT_ONCE = 3;

export class ComparedRuns {
  constructor() {
    this.rows = new Map();       // answers of GET /api/runs/<key>, by key
    this.missing = new Map();    // why there is none, by key
    this.stopped = false;
    this.read();
  }

  /** What the address says. */
  read() {
    const address = query();
    const keys = [...new Set(splitList(address.runs))];
    this.tooMany = keys.length > MOST;
    this.keys = keys.slice(0, MOST);
    this.base = address.base || this.keys[0];
    this.hidden = new Set(splitList(address.hide));
    this.all = address.all === "1";
    spreadColours(this.keys);
  }

  write() {
    change({runs: this.keys, base: this.base === this.keys[0] ? null : this.base, hide: [...this.hidden],
      all: this.all});
  }

  /**
   * base: key of the run that the others are compared to; hidden: keys of runs without curves; all: equal
   * rows of the table, too.
   */
  get choice() {
    return {base: this.base, hidden: this.hidden, all: this.all};
  }

  /** Rows of those that are here, in the order of the address. */
  get list() {
    return this.keys.map((key) => this.rows.get(key)).filter(Boolean);
  }

  get count() {
    return this.keys.length - this.missing.size;
  }

  /** Names of the runs whose answers left something out. */
  get wide() {
    return this.list.filter(({more}) => more && Object.keys(more).length).map(({name}) => name);
  }

  /** Ask for these, the first alone: what preload.js asks for. came(row): one is here. */
  async load(keys, came) {
    const portions = Array.from({length: Math.ceil((keys.length - 1) / PORTION)},
      (_, at) => keys.slice(1 + at * PORTION, 1 + (at + 1) * PORTION));
    const waiting = [keys.slice(0, 1), ...portions].filter((some) => some.length);
    const worker = async () => {
      while (waiting.length && !this.stopped) {
        await this.loadSome(waiting.shift(), came);
      }
    };
    await Promise.all(Array.from({length: AT_ONCE}, worker));
  }

  async loadSome(keys, came) {
    const silent = new Set(keys);
    try {
      for await (const {asked, run, refused} of api.lines("/api/details", {run: keys})) {
        silent.delete(asked);
        this.take(asked, run, refused && api.refusal(refused), came);
      }
      silent.forEach((key) => this.missing.set(key, t("said.unreachable")));         // it ended in mid-answer
    } catch (error) {
      silent.forEach((key) => this.missing.set(key, error.message));
    }
  }

  take(asked, row, refusal, came) {
    if (refusal) {
      this.missing.set(asked, refusal.message);
      return;
    }
    api.heard(row.news);
    this.rename(asked, row.key);
    this.rows.set(row.key, row);
    this.missing.delete(asked);
    came(row);
  }

  /**
   * An id or an end of a key, as people type it into an address, gives way to the key under which curves
   * come.
   */
  rename(key, full) {
    if (key !== full) {
      const renamed = (name) => (name === key ? full : name);
      this.keys = [...new Set(this.keys.map(renamed))];
      this.hidden = new Set([...this.hidden].map(renamed));
      this.base = renamed(this.base);
      spreadColours(this.keys);
      this.write();
    }
  }

  add(key) {
    this.keys.push(key);
    this.base ??= key;
    spreadColours(this.keys);
    setTicked([...new Set([...state.ticked, key])]);
    this.write();
  }

  remove(key) {
    this.keys = this.keys.filter((other) => other !== key);
    this.rows.delete(key);
    this.missing.delete(key);
    this.hidden.delete(key);
    this.base = this.keys.includes(this.base) ? this.base : this.keys[0];
    setTicked(state.ticked.filter((other) => other !== key));
    this.write();
  }

  hide(key) {
    if (!this.hidden.delete(key)) {
      this.hidden.add(key);
    }
    this.write();
  }

  setBase(key) {
    this.base = key;
    this.write();
  }

  showAll(all) {
    this.all = all;
    this.write();
  }

  stop() {
    this.stopped = true;
  }
}
