// Tags and note of a listed run, edited where they stand.

export class RowEditor {
  /** table: table.Table; list: loader.RunList */
  constructor(table, list, signal) {
    this.table = table;
    this.list = list;
    table.body.addEventListener("dblclick", (event) => this.doubleClicked(event), {signal});
  }

  /** field: "tags" or "note", where the reader begins. */
  async edit(line, field = "tags") {
    const {editRun} = await import("../shared/tag_editor.js");
    const cell = this.table.cellOf(line, field) || this.table.cellOf(line, "name");
    const row = this.list.row(this.table.lines.at(line).row);
    if (cell && row) {
      editRun(cell, row, (answer) => { this.list.replace(answer); this.table.paint(); }, field);
    }
  }

  doubleClicked(event) {
    const cell = event.target.closest(".c-tags, .c-note");
    const tr = cell?.closest("tr");
    if (tr && !tr.group) {
      this.edit(this.table.lines.lineOf(tr.index), cell.classList.contains("c-note") ? "note" : "tags");
    }
  }
}
