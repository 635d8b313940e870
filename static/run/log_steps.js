// The tie between a run's log and its charts, by step: the line under the crosshair is marked, a line that is
// clicked pins the crosshair.

import * as api from "../shared/api.js";

export class LogSteps {
  /**
   * link: charts' Link, or undefined; view: the lines, a LogLines; hooks: {where() -> parameters of the log,
   * jump(byte)}
   */
  constructor(link, view, hooks) {
    this.link = link;
    this.view = view;
    this.hooks = hooks;
    this.unlink = link?.on((what, x, source) => this.moved(what, x, source));
  }

  /** A line was clicked. */
  clicked(event) {
    const {view} = this;
    const line = view.lineOf(event);
    if (!line || String(getSelection())) {       // a selection is to be copied
      return;
    }
    if (event.target.closest("[data-whole]")) {
      view.copyWhole(line, event.target);
      return;
    }
    const off = view.chosen === line;
    view.choose(off ? null : line);
    this.link?.pin(off ? null : line.step ?? null, this);
  }

  /** The crosshair moved or was pinned in a chart: the line of that step is marked, and shown when pinned. */
  moved(what, x, source) {
    if (source === this || what === "zoom") {
      return;
    }
    const line = x === null ? null : this.lastAt(x);
    if (what === "hover") {
      this.view.choose(line);
    } else if (x !== null) {
      this.show(x, line);
    }
  }

  /** The last line of a step among those that are held; null where a later one may stand below them. */
  lastAt(step) {
    const {lines, holdsEnd} = this.view;
    const begins = lines.find((line) => line.step != null);
    const last = begins && begins.step <= step
      ? lines.findLast((line) => line.step != null && line.step <= step) : null;
    return last === lines.at(-1) && !holdsEnd && last.step !== step ? null : last;
  }

  async show(step, line) {
    if (line) {
      await this.hooks.jump(line.at);
      return;
    }
    // A step before the first line has none: nothing to show then.
    const answer = await api.get("/api/logs/at", {...this.hooks.where(), step}).catch(() => null);
    if (answer?.at != null) {
      await this.hooks.jump(answer.at);
    }
  }

  destroy() {
    this.unlink?.();
  }
}
