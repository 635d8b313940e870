// A long list held in slices: which rows are here, which to ask for, and where rows and group heads stand.
// Pure.

export const BLOCK = 50;         // rows a request brings: one screen and a bit
const MOST = 60;                 // blocks that are kept; of more, those furthest from the sight are let go

/**
 * Rows of a list of `total`, fetched by blocks. fetchBlock(offset, limit) resolves to an answer with `runs`
 * and `matched`.
 */
export class Slices {
  constructor(fetchBlock) {
    this.fetchBlock = fetchBlock;
    this.rows = new Map();       // index -> row
    this.fresh = new Map();      // block -> generation it was fetched in
    this.flying = new Map();     // block -> promise
    this.generation = 0;
    this.total = null;
    this.skew = 0;               // rows that came in above the ones shown and wait to be let in
    this.last = null;            // the newest answer
  }

  row(index) {
    return this.rows.get(index);
  }

  indexOf(key) {
    for (const [index, row] of this.rows) {
      if (row.key === key) {
        return index;
      }
    }
    return -1;
  }

  /** `count` rows came in above: those that are shown keep their numbers, and the new ones wait. */
  holdBack(count) {
    this.skew += count;
  }

  /** Rows that waited are let in. */
  letIn() {
    this.skew = 0;
  }

  /** Take over a row that was changed here, if it is here. */
  replace(row) {
    const index = this.indexOf(row.key);
    if (index >= 0) {
      this.rows.set(index, {...this.rows.get(index), ...row});
    }
  }

  /** Put new values into the places that runs had before (Map of index -> row). */
  keepOrder(before) {
    const byKey = new Map([...this.rows.values()].map((row) => [row.key, row]));
    before.forEach((row, index) => this.rows.set(index, byKey.get(row.key) || row));
  }

  /** What is here is old from now on; it stays shown until its block was fetched again. */
  outdate() {
    this.generation += 1;
  }

  /**
   * Fetch the blocks of rows first … last that are missing or old. Resolves to true when something new came.
   */
  async want(first, last) {
    const end = Math.max(first, this.total === null ? last : Math.min(last, this.total - 1));
    const asked = new Set();
    const missing = [];
    for (let block = Math.floor(first / BLOCK); block <= Math.floor(end / BLOCK); block += 1) {
      if (this.fresh.get(block) !== this.generation) {
        (this.flying.has(block) ? asked.add(this.flying.get(block)) : missing.push(block));
      }
    }
    stretches(missing).forEach(([from, count]) => asked.add(this.load(from, count)));
    await Promise.all(asked);
    this.letGo(Math.floor(first / BLOCK), Math.floor(end / BLOCK));
    return asked.size > 0;
  }

  /** Of many blocks keep those that are nearest to the blocks first … last. */
  letGo(first, last) {
    const here = [...this.fresh.keys()];
    const most = Math.max(MOST, 2 * (last - first));
    if (here.length <= 1.5 * most) {       // not for each block that comes
      return;
    }
    const distance = (block) => Math.max(first - block, block - last, 0);
    for (const block of here.sort((a, b) => distance(a) - distance(b)).slice(most)) {
      this.fresh.delete(block);
      for (let index = block * BLOCK; index < (block + 1) * BLOCK; index += 1) {
        this.rows.delete(index);
      }
    }
  }

  /** Fetch `count` blocks from `block` on in one request. */
  load(block, count) {
    const generation = this.generation;
    const blocks = Array.from({length: count}, (_, i) => block + i);
    const promise = this.fetchBlock(block * BLOCK + this.skew, count * BLOCK).then((answer) => {
      this.keep(block * BLOCK, (block + count) * BLOCK, answer);
      blocks.forEach((one) => this.fresh.set(one, generation));
    }).finally(() => blocks.forEach((one) => this.flying.delete(one)));
    blocks.forEach((one) => this.flying.set(one, promise));
    return promise;
  }

  keep(from, end, answer) {
    this.last = answer;
    this.total = Math.max(0, answer.matched - this.skew);
    answer.runs.forEach((row, i) => this.rows.set(from + i, row));
    for (let index = from + answer.runs.length; index < end; index += 1) {
      this.rows.delete(index);
    }
  }
}

/** Numbers in rising order as [first, how many] of each unbroken stretch. */
function stretches(numbers) {
  const found = [];
  for (const one of numbers) {
    const last = found.at(-1);
    if (last && last[0] + last[1] === one) {
      last[1] += 1;
    } else {
      found.push([one, 1]);
    }
  }
  return found;
}

/**
 * The groups of an answer; the runs of those that it had no room for stand under one head, which says how
 * many groups they are in.
 * @param {{groups?: {value: any, count: number}[], more_groups?: number, matched: number}} answer
 * @returns {{value: any, count: number, more?: number}[] | null}
 */
export function groupsOf({groups, more_groups: more, matched}) {
  const named = (groups || []).reduce((sum, {count}) => sum + count, 0);
  return groups && more ? [...groups, {value: undefined, count: matched - named, more}] : groups || null;
}

/**
 * Where rows and group heads stand. groups: null or [{value, count}] in row order; collapsed: Set of values.
 * Returns {count, at(line) -> {row} | {group}, lineOf(row) -> line, -1 if folded away}.
 * @param {number} total @param {{value: any, count: number}[] | null} groups @param {Set<any>} collapsed
 * @returns {{count: number, at: (line: number) => {row?: number, group?: any}, lineOf: (row: number) => number}}
 */
export function arrange(total, groups, collapsed = new Set()) {
  if (!groups) {
    return {count: total, at: (line) => ({row: line}), lineOf: (row) => row};
  }
  const heads = [];
  let [line, row] = [0, 0];
  for (const group of groups) {
    const folded = collapsed.has(group.value);
    heads.push({...group, line, row, folded});
    line += 1 + (folded ? 0 : group.count);
    row += group.count;
  }
  const last = (fits) => {       // the last head that fits, by halving
    let [low, high] = [0, heads.length - 1];
    while (low < high) {
      const half = Math.ceil((low + high) / 2);
      if (fits(heads[half])) {
        low = half;
      } else {
        high = half - 1;
      }
    }
    return heads[low];
  };
  return {
    count: line,
    at(wanted) {
      const head = last((one) => one.line <= wanted);
      return head.line === wanted ? {group: head} : {row: head.row + wanted - head.line - 1};
    },
    lineOf(wanted) {
      const head = last((one) => one.row <= wanted);
      return head.folded ? -1 : head.line + 1 + wanted - head.row;
    },
  };
}
