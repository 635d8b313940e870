// The run list: filter box, tree, windowed table, curves of the ticked runs. What the reader chose is in the address.

import {change as changeAddress, query, splitList} from "../shared/address.js";
import {chooseGroup} from "./column_menu.js";
import {groupTitle, runtime, stateTip} from "./columns.js";
import {RunsBar, RunsFoot} from "./bar.js";
import {Curves} from "./curve_panel.js";
import {fill, h, icon} from "../shared/dom.js";
import {RunList} from "./loader.js";
import {Preview} from "./preview.js";
import {Selection, tickNamed} from "./selection.js";
import {ShownColumns} from "./shown_columns.js";
import {drawSide} from "./sidebar.js";
import {arrange, groupsOf} from "./slices.js";
import {isLive} from "../shared/states.js";
import {colourOf, recall, remember, state, watch} from "../shared/store.js";
import {Table} from "./table.js";
import {forgetView, savedViews, saveView} from "./saved_views.js";
import {badFilter, NoRows} from "./empty.js";
import {popover, tooltip} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

const STILL = 2;                 // seconds without a move after which the pointer no longer holds the order
const BONES = 20;                // lines that keep the place of what comes
const PATIENCE = 150;            // ms without an answer before they are drawn
const AHEAD = 150;               // rows fetched beyond the sight of a list that moves
const MOST_WATCHED = 30;         // running runs whose news this page asks for
const SOON = 50;                 // ms after the rows until what stands around them is drawn: a frame for the rows alone

const now = () => performance.now() / 1000;

class RunsPage {
  constructor(root) {
    this.root = root;
    this.query = query();
    this.folded = new Set();
    this.movedAt = -STILL;
    this.abort = new AbortController();
    if (this.query.ticked) {
      tickNamed(splitList(this.query.ticked));
    }
    this.list = new RunList(this);
    this.selection = new Selection(this);
    this.columns = new ShownColumns(this.query.cols, this);
    this.build();
    this.listen();
    this.patience = setTimeout(() => this.table.setLines(arrange(BONES, null)), PATIENCE);
    this.list.restart();
  }

  // ------------------------------------------------------------ building

  build() {
    this.table = new Table(this.hooks());
    this.side = h("nav.side", {"aria-label": t("runs.projects")});
    this.curves = new Curves(() => this.showCurves(false));
    this.preview = new Preview(this.curves, this.list, this.selection);
    this.noRows = new NoRows(this.root, this.table.node);
    this.bar = new RunsBar(this.query.filter || "", this.query.group, {
      filter: (filter) => this.choose({filter}),
      side: (anchor) => this.openSide(anchor),
      group: (anchor) => this.pickGroup(anchor),
      columns: (anchor) => this.columns.pick(anchor),
      save: (anchor) => saveView(anchor, () => this.drawSide(this.list.answer)),
      panel: () => this.showCurves(true),
    });
    this.foot = new RunsFoot();
    this.notice = h("div");
    this.fresh = h("button.btn.fresh", {type: "button", hidden: true, onclick: () => this.letIn()});
    const middle = h("div.mid", {}, this.bar.node, this.notice, h("div.holder", {}, this.fresh, this.table.node), this.foot.node);
    this.root.classList.add("runs");
    fill(this.root, h("h1.vh", {}, t("runs.list")), this.side, middle, this.curves.node);
    this.showCurves(recall("curves", true));
  }

  hooks() {
    return {
      row: (index) => this.list.row(index),
      group: (head) => groupTitle(this.query.group, head),
      ticked: (key) => state.ticked.includes(key),
      colour: colourOf,
      sort: (id) => this.sortBy(id),
      tick: (index, on) => this.selection.tick(index, on),
      range: (index) => this.selection.range(index),
      allTicked: (on) => this.selection.all(on),
      point: (index) => this.selection.moveTo(this.table.lines.lineOf(index), {reveal: false}),
      fold: (value) => this.fold(value),
      resize: (id, px) => this.columns.resize(id, px),
      seen: (first, last) => this.seen(first, last),
    };
  }

  listen() {
    const {signal} = this.abort;
    document.addEventListener("keydown", (event) => this.selection.pressed(event), {signal});
    this.table.node.addEventListener("pointermove", () => { this.movedAt = now(); }, {signal});
    this.table.node.addEventListener("pointerleave", () => { this.movedAt = -STILL; }, {signal});
    this.table.body.addEventListener("dblclick", (event) => this.doubleClicked(event), {signal});
    this.unwatch = watch(() => this.storeChanged());
    this.clock = setInterval(() => this.everySecond(), 1000);
    this.resized = new ResizeObserver(([{contentRect}]) => requestAnimationFrame(() => this.columns.draw(contentRect.width)));   // else "a loop"
    this.resized.observe(this.table.node);
    tooltip(this.table.body, (cell) => this.tip(cell.closest("tr")), "td.c-state");
  }

  // ------------------------------------------------------------ what the list asks of its page

  parameters() {
    const {filter, project, name, connection, tag, group, hidden} = this.query;
    return {filter, sort: this.sort(), project, name, connection, tag, group, hidden: hidden ? 1 : null, typed: filter ? 1 : null, spark: 1, partial: 1,
      column: this.columns.asked};
  }

  sort() {
    return this.query.sort || "-started";
  }

  byTime() {
    return this.sort() === "-started" && !this.query.group;
  }

  held() {
    return now() - this.movedAt < STILL;
  }

  scrolled() {
    return this.table.from > 0;
  }

  range([first, last] = this.table.sight()) {
    const rows = [];
    for (let line = first; line <= last; line += 1) {
      const at = this.table.lines.at(line);
      if (at.row !== undefined) {
        rows.push(at.row);
      }
    }
    return rows.length ? [rows[0], rows.at(-1)] : [0, 0];
  }

  /** The first answer of another question. */
  first(answer) {
    this.bar.filter.clear();
    fill(this.notice);
    this.selection.reset();
    this.table.scrollTo(0);
    this.columns.first(answer);
  }

  failed(error) {
    if (error.code === "unreachable") {
      return;                    // the bar above the page says so
    }
    if (error.status === 400 && this.query.filter) {
      this.bar.filter.fail({message: error.message, at: error.body?.at ?? error.body?.error?.at});
      if (!this.list.answer) {           // nothing to leave standing: it came with the address
        this.showNothing(badFilter());
      }
      return;
    }
    fill(this.notice, h("div.banner.bad", {role: "alert"}, icon("failed", "bad"),
      h("span.grow", {}, t("runs.failedToRead", {message: error.message})),
      h("button.btn", {type: "button", onclick: () => this.list.restart()}, t("common.retry"))));
  }

  /** An answer is here: lines, counts, tree, empty states, curves. */
  arrived(answer) {
    clearTimeout(this.patience);
    fill(this.notice);
    const reading = answer.loading && !this.list.total;      // the first look at big roots: bones until it is done
    const groups = (this.query.group && groupsOf(answer)) || null;
    this.table.setLines(reading ? arrange(BONES, null) : arrange(this.list.total, groups, this.folded));
    this.bar.show(answer, this.query.group);
    this.noRows.show(answer, this.query);
    this.selection.follow();
    this.fresh.hidden = !this.list.waiting;
    fill(this.fresh, icon("up"), t("runs.new", {n: this.list.waiting}));
    requestAnimationFrame(() => setTimeout(() => this.drawBeside(answer), SOON));
  }

  /** What stands around the rows, when they have been painted. */
  drawBeside(answer) {
    if (answer === this.list.answer && !this.abort.signal.aborted) {
      this.drawSide(answer);
      this.preview.draw();
      this.everySecond();
    }
  }

  // ------------------------------------------------------------ drawing

  drawSide(answer) {
    const parts = {query: this.query, answer, store: state, saved: savedViews(),
      forget: (view) => { forgetView(view); this.drawSide(answer); }, again: () => this.drawSide(this.list.answer),
      find: (field) => this.bar.filter.begin(`${field}:`)};
    drawSide(this.side, parts);
    if (this.opened?.isConnected) {
      drawSide(this.opened, parts);
    }
  }

  /** Nothing came that could be listed: words in place of rows. */
  showNothing(words) {
    clearTimeout(this.patience);
    this.table.setLines(arrange(0, null));
    this.noRows.say(words);
  }

  /** The table has its columns. */
  shown() {
    this.storeChanged();
  }

  columnsChosen() {
    this.query = query();
    this.list.reload();
  }

  showCurves(on) {
    remember("curves", on);
    this.root.classList.toggle("no-panel", !on);
    this.bar.setPanel(on);
    this.preview.draw();
  }

  storeChanged() {
    this.table.showTicked(state.ticked.length > 0);
    const ticks = state.ticked.join("\n");
    if (ticks !== this.ticks) {
      const before = this.ticks;
      this.ticks = ticks;
      changeAddress({ticked: state.ticked});
      this.foot.showTicked();
      if (before !== undefined) {               // at first the rows are on their way, and the curves come after them
        this.preview.draw();
      }
    }
    this.table.paint();
  }

  everySecond() {
    if (document.hidden || !this.list.heard) {
      return;
    }
    this.foot.showAge(this.list.heard);
    this.table.rewrite("duration", (index) => {
      const row = this.list.row(index);
      return row && fmt.duration(runtime(row));
    });
  }

  tip(tr) {
    const row = this.list.row(tr.index);
    return row && !tr.group ? stateTip(row) : null;
  }

  /** A short remark in the foot. */
  say(words) {
    this.foot.say(words);
  }

  // ------------------------------------------------------------ choices

  /** Put choices into the address and ask anew. */
  choose(values) {
    changeAddress(values, {push: !("filter" in values)});
    this.addressed();
  }

  sortBy(id) {
    const present = this.sort();
    const falls = present.startsWith("-");
    const first = this.table.numeric(id) ? `-${id}` : id;        // the largest first, but A before Z
    this.choose({sort: present.replace(/^-/, "") !== id ? first : falls ? id : `-${id}`});
  }

  pickGroup(anchor) {
    chooseGroup(anchor, {group: this.query.group || "", offered: this.list.answer?.columns,
      pick: (group) => { this.folded.clear(); this.choose({group}); }});
  }

  fold(value) {
    if (!this.folded.delete(value)) {
      this.folded.add(value);
    }
    this.table.setLines(arrange(this.list.total, groupsOf(this.list.answer), this.folded));
  }

  openSide(anchor) {
    this.opened = h("nav.side.popped", {"aria-label": t("runs.projects")});
    popover(anchor, this.opened, {label: t("runs.projects")});
    this.drawSide(this.list.answer || {});
  }

  // ------------------------------------------------------------ acts

  focusFilter() {
    this.bar.filter.focus();
  }

  async edit(line, first) {
    const {editRun} = await import("../shared/tag_editor.js");
    const cell = this.table.cellOf(line, first === "note" ? "note" : "tags") || this.table.cellOf(line, "name");
    const row = this.list.row(this.table.lines.at(line).row);
    if (cell && row) {
      editRun(cell, row, (answer) => { this.list.replace(answer); this.table.paint(); }, first);
    }
  }

  doubleClicked(event) {
    const cell = event.target.closest(".c-tags, .c-note");
    const tr = cell?.closest("tr");
    if (tr && !tr.group) {
      this.edit(this.table.lines.lineOf(tr.index), cell.classList.contains("c-note") ? "note" : "tags");
    }
  }

  letIn() {
    this.table.scrollTo(0);
    this.list.letIn();
  }

  /** Lines first … last are in sight: fetch their rows, and some beyond in the direction in which the list moves. */
  seen(first, last) {
    if (!this.list.answer || !this.list.total) {
      return;
    }
    const [top, bottom] = this.range([first, last]);
    const by = top - (this.top ?? top);
    this.top = top;
    const wanted = by > 0 ? [top, bottom + AHEAD] : by < 0 ? [Math.max(0, top - AHEAD), bottom] : [top, bottom];
    this.list.seen(...wanted).then((came) => came && this.table.paint());
  }

  // ------------------------------------------------------------ what app.js calls

  topics() {
    const [first, last] = this.range();
    const live = [];
    for (let index = first; index <= last && live.length < MOST_WATCHED; index += 1) {
      const row = this.list.row(index);
      if (row && isLive(row.state)) {
        live.push(`run:${row.key}`);
      }
    }
    return ["runs", ...new Set([...live, ...state.ticked.slice(0, MOST_WATCHED).map((key) => `run:${key}`)])];
  }

  update(changed) {
    if (!changed || [...changed].some((topic) => topic === "runs" || topic.startsWith("run:"))) {
      this.list.rung();
    }
    if ((!changed || changed.has("connections") || changed.has("settings")) && this.list.answer) {
      this.drawSide(this.list.answer);
    }
  }

  addressed() {
    this.query = query();
    this.bar.filter.set(this.query.filter || "");
    this.columns.read(this.query.cols);
    if (this.list.answer) {
      this.drawSide(this.list.answer);
    }
    this.list.restart();
  }

  unmount() {
    this.abort.abort();
    this.unwatch();
    clearInterval(this.clock);
    clearTimeout(this.patience);
    this.resized.disconnect();
    this.foot.destroy();
    this.table.destroy();
    this.preview.destroy();
    this.list.destroy();
  }
}

export function mount(root) {
  return new RunsPage(root);
}
