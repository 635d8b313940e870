// The runs that are compared: their keys as the address has them, and what the viewer says of each. Draws nothing.

import * as api from "../shared/api.js";
import {change, query, splitList} from "../shared/address.js";
import {setTicked, spreadColours, state} from "../shared/store.js";

export const MOST = 50;
const AT_ONCE = 4;               // runs asked for at the same time: a browser holds six connections, one waits for news

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
    change({runs: this.keys, base: this.base === this.keys[0] ? null : this.base, hide: [...this.hidden], all: this.all});
  }

  /** base: key of the run that the others are compared to; hidden: keys of runs without curves; all: equal rows of the table, too. */
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

  /** Ask for these, some at the same time. came(row): one is here. */
  async load(keys, came) {
    const waiting = [...keys];
    const worker = async () => {
      while (waiting.length && !this.stopped) {
        await this.loadOne(waiting.shift(), came);
      }
    };
    await Promise.all(Array.from({length: AT_ONCE}, worker));
  }

  async loadOne(key, came) {
    try {
      const row = await api.get(api.runPath(key));
      this.rename(key, row.key);
      this.rows.set(row.key, row);
      came(row);
      this.missing.delete(key);
    } catch (error) {
      this.missing.set(key, error.message);
    }
  }

  /** An id or an end of a key, as people type it into an address, gives way to the key under which curves come. */
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
