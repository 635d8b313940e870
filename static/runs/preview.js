// Whose curves stand beside the list: those of the ticked runs; with nothing ticked, that of the run under
// the cursor.

import {recall, state} from "../shared/store.js";

const PREVIEW = 150;             // ms the cursor must rest before its run's curves are fetched

export class Preview {
  /** panel: curve_panel.Curves; list: loader.RunList; selection: selection.Selection. */
  constructor(panel, list, selection) {
    this.panel = panel;
    this.list = list;
    this.selection = selection;
    this.known = new Map();      // rows of the ticked runs, by key: one may be listed no more
  }

  async draw() {
    if (!recall("curves", true) || !this.list.answer || !this.panel.node.offsetWidth) {
      return;
    }
    const wanted = new Set(state.ticked);
    this.known = new Map([...[...this.known].filter(([key]) => wanted.has(key)), ...this.list.named(wanted)]);
    const ticked = state.ticked.map((key) => this.known.get(key) || strange(key));
    const under = this.selection.row;
    const rows = ticked.length ? ticked : under ? [under] : [];
    await this.panel.show(rows, this.list.answer.columns?.metrics || [],
      !ticked.length).catch((error) => console.info(`runicorn: curves: ${error.message}`));
  }

  /** The cursor moved: with nothing ticked, show its run's curves when it rests. */
  later() {
    clearTimeout(this.timer);
    if (!state.ticked.length) {
      this.timer = setTimeout(() => this.draw(), PREVIEW);
    }
  }

  destroy() {
    clearTimeout(this.timer);
    this.panel.destroy();
  }
}

/** A ticked run that is not among the listed ones: its key says its name. */
function strange(key) {
  const parts = key.split("/");
  return {key, name: parts.at(-2) || key, id: parts.at(-1)};
}
