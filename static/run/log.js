// The log of a run: one scrolled view of a file of any size, read by byte range; follows its end; tied to the
// charts by step.

import * as api from "../shared/api.js";
import {h} from "../shared/dom.js";
import {recall} from "../shared/store.js";
import {LogHead} from "./log_head.js";
import {KEPT, LogLines} from "./log_lines.js";
import {LogSearch} from "./log_search.js";
import {LogSteps} from "./log_steps.js";

const PAGE = 65536;              // bytes of one answer
// bytes of the end that are shown where more than a page came since the last look
const FOLLOWED = 16384;
const NEAR = 600;                // px from the edge at which the next lines are fetched

export class LogPanel {
  /** options: {key, link: Link shared with the charts, fold: shown as a drawer that folds, toggled(): folded or unfolded,
   * whyEmpty(): a sentence on a log without lines} */
  constructor(options) {
    this.options = options;
    this.file = {};              // what is read: {} the whole log, {rank}, {attempt} or {file}
    this.fresh = 0;              // lines that came while the reader was elsewhere
    this.following = true;
    this.placed = null;          // px; where we scrolled to ourselves, until the reader does
    this.search = new LogSearch({
      where: () => this.where(),
      jump: (hit) => this.jump(hit.at),
      marks: () => this.view.redraw(),
      from: () => this.view.firstInView()?.at ?? 0,
    });
    this.view = new LogLines({clicked: (event) => this.steps.clicked(event), scrolled: () => this.scrolled(),
      pattern: () => this.search.pattern, whyEmpty: options.whyEmpty});
    this.steps = new LogSteps(options.link, this.view,
      {where: () => this.where(), jump: (at) => this.jump(at)});
    this.head = new LogHead(this.view, this.search.node, {
      fold: options.fold && (() => options.toggled()),
      follow: () => (this.following ? this.pause() : this.toEnd()),
      wrap: (on) => this.setWrap(on),
      read: (file) => this.read(file),
    });
    this.node = h("section.log", {data: {log: ""}}, this.head.node, this.view.scroll);
    this.head.setWrap(recall("wrap", false));
    this.drawHead();
    this.resized = new ResizeObserver(() => this.shown());
    this.resized.observe(this.view.scroll);
  }

  // -- reading ----------------------------------------------------------------------------------------------

  where() {
    return {run: this.options.key, ...this.file};
  }

  ask(values) {
    return api.get("/api/logs", {...this.where(), limit: PAGE, ...values});
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

  /**
   * Show the end that an answer brings; one that ends before ours is of a line that is down, and ours stays.
   */
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
    this.head.setFiles((answer.files || []).map(({name}) => name));
    this.drawHead();
  }

  // -- moving -----------------------------------------------------------------------------------------------

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
        const [before, after] = await Promise.all(
          [this.ask({before: at, limit: PAGE / 2}), this.ask({from: at, limit: PAGE / 2})]);
        this.replace({...after, start: before.start,
          lines: [...(at > 0 ? before.lines : []), ...after.lines]});
        index = view.lines.findIndex((line) => line.at >= at);
      }
      view.choose(view.lines[index]);
      const row = view.list.children[index];
      if (row) {
        this.placed = view.place(row.offsetTop - (view.scroll.clientHeight - row.offsetHeight) / 2);
      }
    });
  }

  // -- the panel --------------------------------------------------------------------------------------------

  setWrap(on) {
    this.view.hold(() => this.node.classList.toggle("wrapped", on));
    this.shown();
  }

  drawHead() {
    this.head.draw(this.following, this.fresh);
  }

  /** Read another of the run's logs: {rank}, {attempt} or {file}; {} for all. */
  read(file) {
    this.file = file;
    this.view.clear();
    this.fresh = 0;
    return this.open();
  }

  destroy() {
    this.steps.destroy();
    this.resized.disconnect();
    this.search.stop();
    clearTimeout(this.seeking);
  }
}
