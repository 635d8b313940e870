// The log of a run: one scrolled view of a file of any size, read by byte range; follows its end; tied to the charts by step.

import * as api from "./api.js";
import {marked, pieces, plain} from "./ansi.js";
import {copy, fill, h, icon} from "./dom.js";
import {LogSearch} from "./logsearch.js";
import {recall, remember} from "./store.js";
import {bytes, empty} from "./widgets.js";
import {fmt, t} from "./words.js";

const PAGE = 65536;              // bytes of one answer
const KEPT = 1500;               // lines in the document; the far end is dropped beyond
const ROW = 16;                  // px of a line that is not wrapped
const TALLEST = 6e6;             // px of the scrolled content: browsers lay out no taller ones exactly
const NEAR = 600;                // px from the edge at which the next lines are fetched
const SHOWN = 4000;              // characters of a line in the document

export class LogPanel {
  /** options: {key, link: Link shared with the charts, fold: shown as a drawer that folds, toggled(): folded or unfolded} */
  constructor(options) {
    this.options = options;
    this.file = {};              // what is read: {} the whole log, {rank}, {attempt} or {file}
    this.clear();
    this.search = new LogSearch({
      where: () => ({run: options.key, ...this.file}),
      jump: (hit) => this.jump(hit.at),
      marks: () => this.redraw(),
      from: () => this.firstInView()?.at ?? 0,
    });
    this.following = true;
    this.placed = null;              // px; where we scrolled to ourselves, until the reader does
    this.seen = 0;                   // px; where it was scrolled to when we last knew
    this.build();
    this.unlink = options.link?.on((what, x, source) => this.linked(what, x, source));
  }

  clear() {
    Object.assign(this, {start: 0, end: 0, size: 0, lines: [], chosen: null, fresh: 0});
  }

  build() {
    this.above = h("div.pad");
    this.list = h("ol", {onclick: (event) => this.clicked(event)});
    this.below = h("div.pad");
    this.scroll = h(
      "div.logscroll",
      {tabindex: "0", role: "region", "aria-label": t("run.logs"), onscroll: () => this.scrolled()},
      this.above,
      this.list,
      this.below,
    );
    this.where = h("span.m2.num");
    this.wrap = h(
      "button.btn",
      {type: "button", "aria-pressed": "false", onclick: () => this.setWrap(!recall("wrap", false))},
      t("logs.wrap"),
    );
    this.follow = h("button.btn", {type: "button", onclick: () => this.toEnd()});
    this.fileChoice = h("span");
    const fold = this.options.fold
      ? h(
          "button.btn.bare.sq",
          {type: "button", title: t("logs.fold"), "aria-label": t("logs.fold"), onclick: () => this.options.toggled()},
          icon("dn"),
        )
      : null;
    this.node = h(
      "section.log",
      {data: {log: ""}},
      h(
        "div.hd",
        {},
        fold,
        h("b", {}, t("run.logs")),
        this.fileChoice,
        this.where,
        h("span.grow"),
        this.search.node,
        this.wrap,
        this.follow,
      ),
      this.scroll,
    );
    this.setWrap(recall("wrap", false));
    this.drawHead();
  }

  // -- reading ---------------------------------------------------------------------------------------------------

  ask(values) {
    return api.get("/api/logs", {run: this.options.key, ...this.file, limit: PAGE, ...values});
  }

  /** One request at a time: a scroll and the news must not both move the lines. */
  async turn(work) {
    while (this.busy) {
      await this.busy;
    }
    this.scroll.setAttribute("aria-busy", "true");
    this.busy = work().catch(quiet).finally(() => {
      this.busy = null;
      this.scroll.removeAttribute("aria-busy");
    });
    return this.busy;
  }

  /** Show the end of the log. */
  open() {
    return this.turn(async () => {
      this.replace(await this.ask({}));
      this.opened = true;
      this.bottom();
    });
  }

  /** The run has news. */
  renew() {
    if (!this.opened) {
      return this.open();
    }
    return this.turn(async () => {
      if (!this.holdsEnd && this.lines.length) {
        const {size} = await this.ask({from: this.size, limit: 1});
        this.size = size;
      } else {
        const answer = await this.ask({from: this.end});
        this.following &&= !this.left();
        const before = this.lines.length;
        this.append(answer);
        this.fresh += this.following ? 0 : Math.max(0, this.lines.length - before);
        this.holdsEnd = answer.end >= answer.size || !answer.lines.length || answer.more_after === false;
      }
      this.drawHead();
      if (this.following) {
        this.bottom();
      }
    });
  }

  /** Take an answer for everything that is shown. */
  replace(answer) {
    Object.assign(this, {start: answer.start, end: answer.end, size: answer.size, here: answer.here, lines: answer.lines, fresh: 0});
    this.rate = Math.min(
      answer.lines.length ? (ROW * answer.lines.length) / Math.max(1, answer.end - answer.start) : 1,
      TALLEST / Math.max(1, answer.size),
    );
    this.holdsEnd = this.reaches(answer);
    this.files = answer.files || this.files;
    fill(this.list, answer.lines.map((line) => this.row(line)));
    this.pads();
    this.drawHead();
    if (!answer.size) {
      fill(this.list, h("li.none", {}, empty(t("logs.empty"), h("p", {}, t("logs.emptyHow")))));
    }
  }

  reaches(answer) {
    return answer.more_after === false || answer.end >= answer.size || (answer.lines.at(-1)?.at ?? -1) >= answer.end;
  }

  append(answer) {
    const keep = this.lines.findIndex(({at}) => at >= answer.start);
    if (keep >= 0) {             // a line that was still moving comes again
      this.lines.splice(keep);
      [...this.list.children].slice(keep).forEach((row) => row.remove());
    }
    if (answer.lines.length) {
      this.list.querySelector(".none")?.remove();
    }
    this.lines.push(...answer.lines);
    this.list.append(...answer.lines.map((line) => this.row(line)));
    Object.assign(this, {end: answer.end, size: answer.size, here: answer.here});
    if (this.lines.length > KEPT) {
      this.hold(() => {
        const spare = this.lines.length - KEPT;
        this.lines.splice(0, spare);
        [...this.list.children].slice(0, spare).forEach((row) => row.remove());
        this.start = this.lines[0].at;
        this.pads();
      });
    }
    this.pads();
  }

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

  pads() {
    this.above.style.height = `${Math.round(this.start * this.rate)}px`;
    this.below.style.height = `${Math.round(Math.max(0, this.holdsEnd ? 0 : this.size - this.end) * this.rate)}px`;
  }

  // -- moving ----------------------------------------------------------------------------------------------------

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

  bottom() {
    this.place(this.scroll.scrollHeight);
    this.following = true;
    this.drawHead();
  }

  /** Scroll there ourselves: the event that follows is not the reader's. */
  place(top) {
    this.scroll.scrollTop = top;
    this.placed = this.seen = this.scroll.scrollTop;
  }

  /** Whether the reader has scrolled away from the end just now: the event is yet to come, and news must not undo it. */
  left() {
    const {scrollTop, scrollHeight, clientHeight} = this.scroll;
    return Math.abs(scrollTop - this.seen) > 1 && scrollTop + clientHeight < scrollHeight - 8;
  }

  toEnd() {
    return this.holdsEnd ? this.bottom() : this.open();
  }

  scrolled() {
    const {scrollTop, scrollHeight, clientHeight} = this.scroll;
    const atEnd = this.holdsEnd && scrollTop + clientHeight >= scrollHeight - 8;
    this.seen = scrollTop;
    if (this.placed === null || Math.abs(scrollTop - this.placed) > 1) {
      this.following = atEnd;
      this.placed = null;
    }
    this.fresh = atEnd ? 0 : this.fresh;
    this.drawHead();
    if (this.busy || !this.lines.length) {
      return;
    }
    const [first, last] = [this.list.offsetTop, this.list.offsetTop + this.list.offsetHeight];
    if (scrollTop + clientHeight < first - NEAR || scrollTop > last + NEAR) {
      this.seek(scrollTop);
    } else if (scrollTop < first + NEAR && this.start > 0) {
      this.turn(async () => this.prepend(await this.ask({before: this.start})));
    } else if (scrollTop + clientHeight > last - NEAR && !this.holdsEnd) {
      this.turn(async () => this.more());
    }
  }

  async more() {
    const answer = await this.ask({from: this.end});
    this.append(answer);
    this.holdsEnd = this.reaches(answer);
    this.pads();
  }

  /** The scroll bar was dragged to where nothing is loaded. */
  seek(top) {
    clearTimeout(this.seeking);
    this.seeking = setTimeout(() => this.turn(async () => {
      const at = Math.max(0, Math.min(this.size, top / this.rate));
      const answer = await this.ask(at + PAGE / 4 >= this.size ? {} : {from: Math.round(at)});
      const rate = this.rate;
      this.replace(answer);
      this.rate = rate;
      this.pads();
      this.scroll.scrollTop = this.list.offsetTop;
    }), 60);
  }

  /** Show the line that begins at byte `at`, marked, in the middle. */
  jump(at) {
    this.following = false;
    return this.turn(async () => {
      let index = this.lines.findIndex((line) => line.at >= at);
      if (index < 0 || at < this.start) {
        const [before, after] = await Promise.all([this.ask({before: at, limit: PAGE / 2}), this.ask({from: at, limit: PAGE / 2})]);
        this.replace({...after, start: before.start, lines: [...(at > 0 ? before.lines : []), ...after.lines]});
        index = this.lines.findIndex((line) => line.at >= at);
      }
      this.choose(this.lines[index]);
      const row = this.list.children[index];
      if (row) {
        this.place(row.offsetTop - (this.scroll.clientHeight - row.offsetHeight) / 2);
      }
    });
  }

  // -- lines -----------------------------------------------------------------------------------------------------

  row(line) {
    const long = line.text.length > SHOWN || line.cut;
    const found = marked(pieces(line.text.slice(0, SHOWN)), this.search?.pattern);
    const words = found.map(({text, class: look, hit}) =>
      hit ? h("mark", {class: look}, text) : look ? h("span", {class: look}, text) : text,
    );
    const rest = long
      ? h("button.link", {type: "button", data: {whole: ""}}, t("logs.rest", {n: line.text.length - SHOWN + (line.cut || 0)}))
      : null;
    return h(
      "li.logline",
      {class: this.chosen?.at === line.at ? "on" : "", data: {at: line.at}},
      h("span.step", {}, line.step == null ? "" : fmt.int(line.step)),
      h("time", {title: line.ts == null ? null : fmt.full(line.ts)}, line.ts == null ? "" : fmt.seconds(line.ts)),
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

  clicked(event) {
    const line = this.lineOf(event);
    if (!line || String(getSelection())) {       // a selection is to be copied
      return;
    }
    if (event.target.closest("[data-whole]")) {
      this.whole(line, event.target);
      return;
    }
    const off = this.chosen === line;
    this.choose(off ? null : line);
    this.options.link?.pin(off ? null : line.step ?? null, this);
  }

  async whole(line, button) {
    await copy(plain(line.text));
    button.textContent = t("common.copied");
  }

  choose(line) {
    this.list.querySelector(".on")?.classList.remove("on");
    this.chosen = line || null;
    if (line) {
      this.list.children[this.lines.indexOf(line)]?.classList.add("on");
    }
  }

  /** The crosshair moved or was pinned in a chart: the line of that step is marked, and shown when pinned. */
  linked(what, x, source) {
    if (source === this || what === "zoom") {
      return;
    }
    const line = x === null ? null : this.lastAt(x);
    if (what === "hover") {
      this.choose(line);
    } else if (x !== null) {
      this.showStep(x, line);
    }
  }

  lastAt(step) {
    const first = this.lines.find((line) => line.step != null);
    const found = first && first.step <= step ? this.lines.findLast((line) => line.step != null && line.step <= step) : null;
    return found === this.lines.at(-1) && !this.holdsEnd && found.step !== step ? null : found;
  }

  async showStep(step, line) {
    if (line) {
      await this.jump(line.at);
      return;
    }
    // A step before the first line has none: nothing to show then.
    const found = await api.get("/api/logs/at", {run: this.options.key, ...this.file, step}).catch(() => null);
    if (found?.at != null) {
      await this.jump(found.at);
    }
  }

  // -- head ------------------------------------------------------------------------------------------------------

  setWrap(on) {
    remember("wrap", on);
    this.wrap.setAttribute("aria-pressed", String(on));
    this.hold(() => this.node.classList.toggle("wrapped", on));
  }

  lastInView() {
    if (this.following || !this.lines.length) {
      return this.lines.at(-1);
    }
    const rows = Math.max(0, Math.floor(this.scroll.clientHeight / ROW) - 1);
    return this.lines[Math.min(this.lines.length - 1, this.lines.indexOf(this.firstInView()) + rows)];
  }

  drawHead() {
    const line = this.lastInView();
    const last = this.lines.at(-1)?.n;
    fill(this.where, !line ? "" : this.holdsEnd && line.n && last ? t("logs.lineOf", {n: line.n, m: last})
      : [line.n ? t("logs.line", {n: line.n}) : fmt.percent(line.at / Math.max(1, this.size), 1), " · ", bytes(this.size)],
    this.here < this.size ? h("span.warn.cut", {title: this.partly()}, " · ", this.partly()) : null);
    const waiting = this.following
      ? null
      : this.fresh
        ? h("b.num", {}, fmt.int(this.fresh))
        : !this.holdsEnd && this.size > this.end
          ? h("span.m3", {}, bytes(this.size - this.end))
          : null;
    const shown = `${this.following}${waiting?.textContent}`;
    if (shown !== this.drawn) {
      this.drawn = shown;
      this.follow.setAttribute("aria-pressed", String(this.following));
      fill(this.follow, icon("down"), t("logs.follow"), waiting);
    }
    this.drawFiles();
  }

  partly() {
    return t("logs.partly", {here: fmt.bytes(this.here), size: fmt.bytes(this.size)});
  }

  /** Several attempts or ranks have logs of their own. */
  drawFiles() {
    const names = (this.files || []).map(({name}) => name);
    if (names.length < 2 || names.join() === this.offered) {
      return;
    }
    this.offered = names.join();
    const select = h("select.inp", {"aria-label": t("logs.file"), onchange: () => {
      this.file = select.value ? {file: select.value} : {};
      this.clear();
      this.open();
    }}, h("option", {value: ""}, t("logs.allAttempts")), names.map((name) => h("option", {value: name}, name)));
    fill(this.fileChoice, select);
  }

  destroy() {
    this.unlink?.();
    this.search.stop();
    clearTimeout(this.seeking);
  }
}

/** The viewer is away or the page is left: what is shown stays. */
function quiet(error) {
  if (error.name !== "AbortError" && error.code !== "unreachable") {
    console.info(`runicorn: log: ${error.message}`);
  }
}
