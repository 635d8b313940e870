// Which columns the table of runs shows, and how wide: the reader's choice, else what the runs hold; as many
// as there is room for.

import {change, splitList} from "../shared/address.js";
import {recall, remember} from "../shared/store.js";
import {chooseColumns} from "./column_menu.js";
import {column, defaultColumns, fitting, roomy, sharedMetric} from "./columns.js";
import {cuts} from "./sidebar.js";

const LOOKED_AT = 50;            // rows whose values decide how wide a column is

export class ShownColumns {
  /**
   * cols: what the address says; page: {table, list, query: a ListQuery, storeChanged(): the table has its
   * columns,
   * columnsChosen(): the reader chose, the address says so}.
   */
  constructor(cols, page) {
    this.page = page;
    this.chosen = Boolean(cols);
    this.ids = cols ? splitList(cols) : recall("lastColumns", null) || defaultColumns(null, null);
  }

  /** The address changed. */
  read(cols) {
    this.chosen = Boolean(cols);
    if (cols) {
      this.ids = splitList(cols);
    }
  }

  /** Names of the columns whose values the viewer is asked for: those of config and summary. */
  get asked() {
    return this.ids.filter((id) => id.includes("."));
  }

  defaults(answer) {
    return defaultColumns(answer?.columns, this.mainMetric, answer?.tree?.connections?.length);
  }

  /** The first answer of another question: columns nobody chose depend on what the runs hold. */
  first(answer) {
    this.mainMetric = sharedMetric(answer.runs);
    if (!this.chosen) {
      const ids = this.defaults(answer);
      const more = ids.some((id) => id.includes(".") && !this.ids.includes(id));
      this.ids = ids;
      remember("lastColumns", ids);
      if (more) {
        this.page.list.reload();
      }
    }
    this.draw();
  }

  /** room: px there are for the table. */
  draw(room = this.room) {
    const {table, list} = this.page;
    this.room = room ?? (table.measure() || 1000);
    const widths = recall("widths", {}), {sort} = this.page.query;
    const ids = this.chosen ? this.ids : fitting(this.ids, this.room, widths);
    const tree = () => list.answer?.tree;
    const values = {mainMetric: this.mainMetric, widths: roomy(ids, this.room, widths),
      rows: list.some(LOOKED_AT), tags: () => tree()?.tags || [], cuts: () => cuts(tree())};
    const columns = ids.map((id) => column(id, values));
    const sign = JSON.stringify([columns, sort]);
    if (sign !== this.sign) {
      this.sign = sign;
      table.setColumns(columns, sort, this.room);
    }
    this.page.storeChanged();
  }

  /** Let the reader choose in a box at `anchor`. */
  pick(anchor) {
    const {list} = this.page;
    const pick = (ids) => {
      change({cols: ids});
      this.chosen = Boolean(ids);
      this.ids = ids || this.defaults(list.answer);
      this.draw();
      this.page.columnsChosen();
    };
    chooseColumns(anchor, {chosen: this.ids, columns: () => list.answer?.columns, pick});
  }

  /** A column was dragged to `px`; null: it goes back to its own width. */
  resize(id, px) {
    const widths = {...recall("widths", {})};
    if (px) {
      widths[id] = px;
    } else {
      delete widths[id];
    }
    remember("widths", widths);
    this.draw();
  }
}
