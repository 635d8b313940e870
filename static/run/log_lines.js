// Lines of a log in the document: one stretch of a file of any size, in a box that scrolls as if the whole
// were there. Asks for nothing.

import {marked, pieces, plain} from "./ansi.js";
import {copy, fill, h} from "../shared/dom.js";
import {empty} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

const ROW = 16;                  // px of a line that is not wrapped
export const KEPT = 1500;        // lines in the document; the far end is dropped beyond
const TALLEST = 6e6;             // px of the scrolled content: browsers lay out no taller ones exactly
const SHOWN = 4000;              // characters of a line in the document
const NEAR_END = 8;              // px from the end at which one still reads the end

export class LogLines {
  /** options: {clicked(event), scrolled(), pattern() -> RegExp whose matches are marked, or null} */
  constructor(options) {
    this.options = options;
    this.above = h("div.pad");
    this.list = h("ol", {onclick: options.clicked});
    this.below = h("div.pad");
    this.scroll = h("div.logscroll",
      {tabindex: "0", role: "region", "aria-label": t("run.logs"), onscroll: options.scrolled},
      this.above, this.list, this.below);
    this.seen = 0;               // px; where it was scrolled to when we last knew
    this.clear();
  }

  clear() {
    this.start = this.end = 0;   // bytes: of the log, the stretch that is held
    this.size = this.here = 0;   // … how long the log is, how much of it is on this computer
    this.id = null;
    this.lines = [];
    this.chosen = null;
    this.rate = 1;               // px a byte takes where it is not held
    this.holdsEnd = false;
  }

  // -- what is held -----------------------------------------------------------------------------------------

  /** Take an answer of GET /api/logs for everything that is shown. */
  replace(answer) {
    this.rate = Math.min(
      answer.lines.length ? (ROW * answer.lines.length) / Math.max(1, answer.end - answer.start) : 1,
      TALLEST / Math.max(1, answer.size),
    );
    Object.assign(this, {start: answer.start, lines: answer.lines});
    fill(this.list, answer.lines.map((line) => this.row(line)));
    this.ended(answer);
    if (!answer.size) {
      fill(this.list, h("li.none", {},
        empty(t("logs.empty"), h("p", {}, this.options.whyEmpty?.() || t("logs.emptyHow")))));
    }
  }

  /** Take what comes after the end. spare: whether the first lines may go where there are too many. */
  append(answer, spare = true) {
    const again = this.lines.findIndex(({at}) => at >= answer.start);
    if (again >= 0) {            // a line that was still moving comes again
      this.lines.splice(again);
      [...this.list.children].slice(again).forEach((row) => row.remove());
    }
    if (answer.lines.length) {
      this.list.querySelector(".none")?.remove();
    }
    this.lines.push(...answer.lines);
    this.list.append(...answer.lines.map((line) => this.row(line)));
    if (spare && this.lines.length > KEPT) {
      this.hold(() => {
        const count = this.lines.length - KEPT;
        this.lines.splice(0, count);
        [...this.list.children].slice(0, count).forEach((row) => row.remove());
        this.start = this.lines[0].at;
        this.pads();
      });
    }
    this.ended(answer);
  }

  /** Take what comes before the beginning. */
  prepend(answer) {
    this.hold(() => {
      this.lines.unshift(...answer.lines);
      this.list.prepend(...answer.lines.map((line) => this.row(line)));
      this.start = answer.start;
      if (this.lines.length > KEPT) {
        this.end = this.lines[KEPT].at;
        this.lines.length = KEPT;
        [...this.list.children].slice(KEPT).forEach((row) => row.remove());
        this.holdsEnd = false;
      }
      this.pads();
    });
  }

  /** What is held ends as an answer does. */
  ended(answer) {
    Object.assign(this, {end: answer.end, size: answer.size, here: answer.here, id: answer.id ?? null});
    this.holdsEnd = answer.more_after === false || answer.end >= answer.size
      || (answer.lines.at(-1)?.at ?? -1) >= answer.end;
    this.pads();
  }

  /** The log grew to where an answer says, and what is held did not. */
  grew({size, here}) {
    Object.assign(this, {size, here, holdsEnd: this.holdsEnd && this.end >= size});
    this.pads();
  }

  /** Whether an answer is of another log under the same name: cut, or replaced. */
  isOther(answer) {
    return answer.id != null && (answer.size < this.end || (this.id !== null && answer.id !== this.id));
  }

  pads() {
    this.above.style.height = `${Math.round(this.start * this.rate)}px`;
    this.below.style.height =
      `${Math.round(Math.max(0, this.holdsEnd ? 0 : this.size - this.end) * this.rate)}px`;
  }

  // -- where one reads --------------------------------------------------------------------------------------

  /** Change the lines and keep what is in view where it is. */
  hold(work) {
    const line = this.firstInView();
    const row = line && this.list.children[this.lines.indexOf(line)];
    const before = row?.offsetTop;
    work();
    if (row?.isConnected) {
      this.scroll.scrollTop += row.offsetTop - before;
      this.seen = this.scroll.scrollTop;
    }
  }

  firstInView() {
    const top = this.scroll.scrollTop;
    let [lo, hi] = [0, this.lines.length];
    while (lo < hi) {
      const middle = (lo + hi) >> 1;
      const row = this.list.children[middle];
      if (row.offsetTop + row.offsetHeight <= top) {
        lo = middle + 1;
      } else {
        hi = middle;
      }
    }
    return this.lines[Math.min(lo, this.lines.length - 1)];
  }

  /** The line at the lower edge of the view. */
  lastInView() {
    const rows = Math.max(0, Math.floor(this.scroll.clientHeight / ROW) - 1);
    return this.lines[Math.min(this.lines.length - 1, this.lines.indexOf(this.firstInView()) + rows)];
  }

  get visible() {
    return this.scroll.clientHeight > 0;
  }

  atEnd() {
    const {scrollTop, scrollHeight, clientHeight} = this.scroll;
    return scrollTop + clientHeight >= scrollHeight - NEAR_END;
  }

  /**
   * Whether the reader has scrolled away from the end just now: the event is yet to come, and news must not
   * undo it.
   */
  left() {
    return this.visible && Math.abs(this.scroll.scrollTop - this.seen) > 1 && !this.atEnd();
  }

  /** Scroll there ourselves; returns where that is (px). */
  place(top) {
    this.scroll.scrollTop = top;
    this.seen = this.scroll.scrollTop;
    return this.seen;
  }

  /** The reader scrolled: remember where to. */
  look() {
    this.seen = this.scroll.scrollTop;
  }

  /**
   * Show an answer from elsewhere in the log; the height of what is not here stays, or the scroll bar would
   * slip from under the pointer.
   */
  moveTo(answer) {
    const {rate} = this;
    this.replace(answer);
    this.rate = rate;
    this.pads();
    this.scroll.scrollTop = this.list.offsetTop;
  }

  // -- lines ------------------------------------------------------------------------------------------------

  row(line) {
    const long = line.text.length > SHOWN || line.cut;
    const found = marked(pieces(line.text.slice(0, SHOWN)), this.options.pattern());
    const words = found.map(({text, class: look, hit}) =>
      hit ? h("mark", {class: look}, text) : look ? h("span", {class: look}, text) : text,
    );
    const rest = long
      ? h("button.link", {type: "button", data: {whole: ""}},
        t("logs.rest", {n: line.text.length - SHOWN + (line.cut || 0)}))
      : null;
    return h(
      "li.logline",
      {class: this.chosen?.at === line.at ? "on" : "", data: {at: line.at}},
      h("span.step", {}, line.step == null ? "" : fmt.int(line.step)),
      h("time", {title: line.ts == null ? null : fmt.full(line.ts)},
        line.ts == null ? "" : fmt.seconds(line.ts)),
      h("bdi.text", {dir: "auto", translate: "no"}, words, rest),
    );
  }

  /** Draw the lines anew: other words are marked. */
  redraw() {
    this.hold(() => fill(this.list, this.lines.map((line) => this.row(line))));
  }

  lineOf(event) {
    const row = event.target.closest("li");
    return row && this.lines[[...this.list.children].indexOf(row)];
  }

  choose(line) {
    this.list.querySelector(".on")?.classList.remove("on");
    this.chosen = line || null;
    if (line) {
      this.list.children[this.lines.indexOf(line)]?.classList.add("on");
    }
  }

  async copyWhole(line, button) {
    await copy(plain(line.text));
    button.textContent = t("common.copied");
  }
}
