// What the address asks of the run list: filter, facets, order, grouping; and which groups are folded.

import {query} from "../shared/address.js";

const NEWEST = "-started";       // the order in which runs are listed where the address names none

export class ListQuery {
  constructor() {
    this.folded = new Set();     // values of the groups whose runs are not shown
    this.read();
  }

  /** The address changed. */
  read() {
    this.values = query();
  }

  get sort() {
    return this.values.sort || NEWEST;
  }

  get group() {
    return this.values.group;
  }

  /** Newest first and ungrouped: what begins comes in above. */
  get byTime() {
    return this.sort === NEWEST && !this.group;
  }

  /** Parameters of GET /api/runs. columns: whose values are asked for. */
  parameters(columns) {
    const {filter, project, name, connection, tag, group, hidden} = this.values;
    return {filter, sort: this.sort, project, name, connection, tag, group, hidden: hidden ? 1 : null,
      typed: filter ? 1 : null, spark: 1, partial: 1, column: columns};
  }

  /**
   * What `sort` becomes when the head of a column is pressed. numeric: the largest come first; else A before
   * Z.
   */
  sortedBy(id, numeric) {
    const falls = this.sort.startsWith("-");
    if (this.sort.replace(/^-/, "") !== id) {
      return numeric ? `-${id}` : id;
    }
    return falls ? id : `-${id}`;
  }

  fold(value) {
    if (!this.folded.delete(value)) {
      this.folded.add(value);
    }
  }
}
