// The log of a run: one scrolled view of a file of any size, read by byte range; follows its end; tied to the charts by step.

import * as api from "../shared/api.js";
import {fill, h, icon} from "../shared/dom.js";
import {KEPT, LogLines, ROW} from "./log_lines.js";
import {LogSearch} from "./log_search.js";
import {recall, remember} from "../shared/store.js";
import {bytes} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

const PAGE = 65536;              // bytes of one answer
const FOLLOWED = 16384;          // bytes of the end that are shown where more than a page came since the last look
const NEAR = 600;                // px from the edge at which the next lines are fetched

export class LogPanel {
  /** options: {key, link: Link shared with the charts, fold: shown as a drawer that folds, toggled(): folded or unfolded,
   * whyEmpty(): a sentence on a log without lines} */
  constructor(options) {
    this.options = options;
    this.file = {};              // what is read: {} the whole log, {rank}, {attempt} or {file}
    this.search = new LogSearch({
      where: () => ({run: options.key, ...this.file}),
      jump: (hit) => this.jump(hit.at),
      marks: () => this.view.redraw(),
      from: () => this.view.firstInView()?.at ?? 0,
    });
    this.view = new LogLines({clicked: (event) => this.clicked(event), scrolled: () => this.scrolled(),
      pattern: () => this.search.pattern, whyEmpty: options.whyEmpty});
    this.fresh = 0;              // lines that came while the reader was elsewhere
    this.following = true;
    this.placed = null;          // px; where we scrolled to ourselves, until the reader does
    this.resized = new ResizeObserver(() => this.shown());
    this.resized.observe(this.view.scroll);
    this.build();
    this.unlink = options.link?.on((what, x, source) => this.linked(what, x, source));
  }

  clear() {
    this.view.clear();
    this.fresh = 0;
  }

  build() {
    this.where = h("span.m2.num");
    this.wrap = h(
      "button.btn",
      {type: "button", "aria-pressed": "false", onclick: () => this.setWrap(!recall("wrap", false))},
      t("logs.wrap"),
    );
    this.follow = h("button.btn", {type: "button", onclick: () => (this.following ? this.pause() : this.toEnd())});
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
      this.view.scroll,
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
    this.view.scroll.setAttribute("aria-busy", "true");
    this.busy = work().catch(api.quiet).finally(() => {
      this.busy = null;
      this.view.scroll.removeAttribute("aria-busy");
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

  /** The run has news. While a look is under way, however many there are, one more look follows it. */
  renew() {
    if (!this.opened) {
      return this.open();
    }
    this.owed = true;
    this.renewing ??= this.lookAgain();
    return this.renewing;
  }

  async lookAgain() {
    while (this.owed) {
      this.owed = false;
      await this.turn(() => this.catchUp());
    }
    this.renewing = null;
  }

  async catchUp() {
    const {view} = this;
    const within = view.holdsEnd && view.lines.length < KEPT;
    const answer = await this.ask(this.following ? {from: view.end, follow: FOLLOWED}
      : within ? {from: view.end} : {from: view.size, limit: 1});
    this.following &&= !view.left();
    if (view.isOther(answer)) {
      await this.anew(answer);
    } else if (this.following) {
      this.take(answer);
    } else if (within && answer.start <= view.end && answer.size >= view.end) {
      const before = view.lines.length;
      view.append(answer, false);
      this.fresh += Math.max(0, view.lines.length - before);
    } else {
      view.grew(answer);
    }
    this.drawHead();
    if (this.following) {
      this.bottom();
    }
  }

  /** Show the end that an answer brings; one that ends before ours is of a line that is down, and ours stays. */
  take(answer) {
    if (answer.start > this.view.end || !this.view.holdsEnd) {
      this.replace(answer);
    } else if (answer.size >= this.view.end) {
      this.view.append(answer);
    }
  }

  /** The file is another one, or was cut: what is shown is no more. */
  async anew({size}) {
    const at = this.view.firstInView()?.at ?? 0;
    this.replace(await this.ask(this.following || at >= size ? {} : {from: at}));
    if (!this.following) {
      this.placed = this.view.place(this.view.list.offsetTop);
    }
  }

  replace(answer) {
    this.view.replace(answer);
    this.replaced(answer);
  }

  replaced(answer) {
    this.fresh = 0;
    this.files = answer.files || this.files;
    this.drawHead();
  }

  // -- moving ----------------------------------------------------------------------------------------------------

  bottom() {
    this.placed = this.view.place(this.view.scroll.scrollHeight);
    this.following = true;
    this.drawHead();
  }

  /** The panel was put into the page, or its size changed: a browser forgets how far that was scrolled. */
  shown() {
    if (this.opened && this.view.visible) {
      this.placed = this.view.place(this.following ? this.view.scroll.scrollHeight : this.view.seen);
    }
  }

  toEnd() {
    return this.view.holdsEnd ? this.bottom() : this.open();
  }

  /** Stay here, though new lines come below. */
  pause() {
    this.following = false;
    this.drawHead();
  }

  scrolled() {
    const {view} = this;
    if (!view.visible) {
      return;
    }
    const {scrollTop, clientHeight} = view.scroll;
    const atEnd = view.holdsEnd && view.atEnd();
    view.look();
    if (this.placed === null || Math.abs(scrollTop - this.placed) > 1) {
      this.following = atEnd;
      this.placed = null;
    }
    this.fresh = atEnd ? 0 : this.fresh;
    this.drawHead();
    if (this.busy || !view.lines.length) {
      return;
    }
    const [first, last] = [view.list.offsetTop, view.list.offsetTop + view.list.offsetHeight];
    if (scrollTop + clientHeight < first - NEAR || scrollTop > last + NEAR) {
      this.seek(scrollTop);
    } else if (scrollTop < first + NEAR && view.start > 0) {
      this.turn(async () => view.prepend(await this.ask({before: view.start})));
    } else if (scrollTop + clientHeight > last - NEAR && !view.holdsEnd) {
      this.turn(async () => view.append(await this.ask({from: view.end})));
    }
  }

  /** The scroll bar was dragged to where nothing is loaded. */
  seek(top) {
    clearTimeout(this.seeking);
    this.seeking = setTimeout(() => this.turn(async () => {
      const {view} = this;
      const at = Math.max(0, Math.min(view.size, top / view.rate));
      const answer = await this.ask(at + PAGE / 4 >= view.size ? {} : {from: Math.round(at)});
      view.moveTo(answer);
      this.replaced(answer);
    }), 60);
  }

  /** Show the line that begins at byte `at`, marked, in the middle. */
  jump(at) {
    const {view} = this;
    this.following = false;
    return this.turn(async () => {
      let index = view.lines.findIndex((line) => line.at >= at);
      if (index < 0 || at < view.start) {
        const [before, after] = await Promise.all([this.ask({before: at, limit: PAGE / 2}), this.ask({from: at, limit: PAGE / 2})]);
        this.replace({...after, start: before.start, lines: [...(at > 0 ? before.lines : []), ...after.lines]});
        index = view.lines.findIndex((line) => line.at >= at);
      }
      view.choose(view.lines[index]);
      const row = view.list.children[index];
      if (row) {
        this.placed = view.place(row.offsetTop - (view.scroll.clientHeight - row.offsetHeight) / 2);
      }
    });
  }

  // -- the tie to the charts -------------------------------------------------------------------------------------

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
    this.options.link?.pin(off ? null : line.step ?? null, this);
  }

  /** The crosshair moved or was pinned in a chart: the line of that step is marked, and shown when pinned. */
  linked(what, x, source) {
    if (source === this || what === "zoom") {
      return;
    }
    const line = x === null ? null : this.lastAt(x);
    if (what === "hover") {
      this.view.choose(line);
    } else if (x !== null) {
      this.showStep(x, line);
    }
  }

  lastAt(step) {
    const {lines, holdsEnd} = this.view;
    const first = lines.find((line) => line.step != null);
    const found = first && first.step <= step ? lines.findLast((line) => line.step != null && line.step <= step) : null;
    return found === lines.at(-1) && !holdsEnd && found.step !== step ? null : found;
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
    this.view.hold(() => this.node.classList.toggle("wrapped", on));
    this.shown();
  }

  lastInView() {
    if (this.following || !this.view.lines.length) {
      return this.view.lines.at(-1);
    }
    const rows = Math.max(0, Math.floor(this.view.scroll.clientHeight / ROW) - 1);
    return this.view.lines[Math.min(this.view.lines.length - 1, this.view.lines.indexOf(this.view.firstInView()) + rows)];
  }

  drawHead() {
    const line = this.lastInView();
    const last = this.view.lines.at(-1)?.n;
    fill(this.where, !line ? "" : this.view.holdsEnd && line.n && last ? t("logs.lineOf", {n: line.n, m: last})
      : [line.n ? t("logs.line", {n: line.n}) : fmt.percent(line.at / Math.max(1, this.view.size), 1), " · ", bytes(this.view.size)],
    this.view.here < this.view.size ? h("span.warn.cut", {title: this.partly()}, " · ", this.partly()) : null);
    const waiting = this.following
      ? null
      : this.fresh
        ? h("b.num", {}, fmt.int(this.fresh))
        : !this.view.holdsEnd && this.view.size > this.view.end
          ? h("span.m3", {}, bytes(this.view.size - this.view.end))
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
    return t("logs.partly", {here: fmt.bytes(this.view.here), size: fmt.bytes(this.view.size)});
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
    this.resized.disconnect();
    this.search.stop();
    clearTimeout(this.seeking);
  }
}
