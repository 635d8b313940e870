// The run list: filter box, tree, windowed table, curves of the ticked runs. What the reader chose is in the address.

import {change as changeAddress, compareHref, query, splitList} from "../shared/address.js";
import {chooseColumns, chooseGroup, groupLabel} from "./column_menu.js";
import * as clock from "../shared/clock.js";
import {column, columnTitle, defaultColumns, fitting, roomy, runtime, sharedMetric} from "./columns.js";
import {Curves} from "./curve_panel.js";
import {fill, h, icon, renew, text} from "../shared/dom.js";
import {filterBox} from "./filter_box.js";
import {RunList} from "./loader.js";
import {Selection, tickNamed} from "./selection.js";
import {cuts, drawSide} from "./sidebar.js";
import {arrange} from "./slices.js";
import {isLive} from "../shared/states.js";
import {colourOf, recall, remember, setTicked, state, watch} from "../shared/store.js";
import {Table} from "./table.js";
import {forgetView, savedViews, saveView} from "./saved_views.js";
import {noMatch, welcome} from "./empty.js";
import {errorText, popover, reasonText, tooltip} from "../shared/widgets.js";
import {fmt, known, t} from "../shared/words.js";

const STILL = 2;                 // seconds without a move after which the pointer no longer holds the order
const PREVIEW = 150;             // ms the cursor must rest before its run's curves are fetched
const BONES = 20;                // lines that keep the place of what comes
const PATIENCE = 150;            // ms without an answer before they are drawn
const AHEAD = 150;               // rows fetched beyond the sight of a list that moves
const MOST_WATCHED = 30;         // running runs whose news this page asks for
const SOON = 50;                 // ms after the rows until what stands around them is drawn: a frame for the rows alone
const SAID = 5000;               // ms a remark stays in the foot

const now = () => performance.now() / 1000;

class RunsPage {
  constructor(root) {
    this.root = root;
    this.query = query();
    this.folded = new Set();
    this.movedAt = -STILL;
    this.abort = new AbortController();
    this.columnIds = this.query.cols ? splitList(this.query.cols) : recall("lastColumns", null) || defaultColumns(null, null);
    if (this.query.ticked) {
      tickNamed(splitList(this.query.ticked));
    }
    this.list = new RunList(this);
    this.selection = new Selection(this);
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
    this.notice = h("div");
    this.fresh = h("button.btn.fresh", {type: "button", hidden: true, onclick: () => this.letIn()});
    const middle = h("div.mid", {}, this.buildTools(), this.notice, h("div.holder", {}, this.fresh, this.table.node), this.buildFoot());
    this.root.classList.add("runs");
    fill(this.root, h("h1.vh", {}, t("runs.list")), this.side, middle, this.curves.node);
    this.showCurves(recall("curves", true));
  }

  buildTools() {
    const button = (kind, run, ...content) => h(`button.btn${kind}`,
      {type: "button", "aria-haspopup": "dialog", onclick: (event) => run(event.currentTarget)}, content);
    this.filter = filterBox(this.query.filter || "", (filter) => this.choose({filter}));
    this.counts = h("span.counts.cut");
    this.groupButton = button("", (at) => this.pickGroup(at));
    this.curvesButton = button(".sq.show-curves", () => this.showCurves(true), icon("panel"));
    this.curvesButton.title = t("runs.showCurves");
    this.curvesButton.setAttribute("aria-label", t("runs.showCurves"));
    const columns = button("", (at) => this.pickColumns(at), icon("cols"), h("span.no-s", {}, t("runs.columns")), icon("dn"));
    columns.title = t("runs.columns");          // its name where it is narrow
    return h("div.tools", {}, button(".only-s", (at) => this.openSide(at), icon("side"), t("runs.projects")), this.filter.node, this.counts,
      this.groupButton,
      columns,
      button("", (at) => saveView(at, () => this.drawSide(this.list.answer)), t("runs.saveView")), this.curvesButton);
  }

  buildFoot() {
    this.updated = h("span");
    this.remark = h("span.warn");
    this.chosen = h("span.chosen");
    const keys = [["j k", "move"], ["x", "tick"], ["c", "compare"], ["Enter", "open"], ["/", "filter"], ["?", "all"]];
    return h("div.foot", {}, this.chosen,
      keys.map(([names, what]) => h("span.no-s", {}, names.split(" ").map((key) => h("kbd.kbd", {}, key)), t(`keys.${what}`))),
      this.remark, h("span.grow"), this.updated);
  }

  hooks() {
    return {
      row: (index) => this.list.row(index),
      group: (head) => this.groupWords(head.value),
      ticked: (key) => state.ticked.includes(key),
      colour: colourOf,
      sort: (id) => this.sortBy(id),
      tick: (index, on) => this.selection.tick(index, on),
      range: (index) => this.selection.range(index),
      allTicked: (on) => this.selection.all(on),
      point: (index) => this.selection.moveTo(this.table.lines.lineOf(index), {reveal: false}),
      fold: (value) => this.fold(value),
      resize: (id, px) => this.resize(id, px),
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
    this.resized = new ResizeObserver(([{contentRect}]) => requestAnimationFrame(() => this.setColumns(contentRect.width)));   // else "a loop"
    this.resized.observe(this.table.node);
    tooltip(this.table.body, (target) => this.tip(target), "td.c-state");
  }

  // ------------------------------------------------------------ what the list asks of its page

  parameters() {
    const {filter, sort, project, name, connection, tag, group, hidden} = this.query;
    return {filter, sort: sort || "-started", project, name, connection, tag, group, hidden: hidden ? 1 : null, typed: filter ? 1 : null, spark: 1, partial: 1,
      column: this.columnIds.filter((id) => id.includes("."))};
  }

  byTime() {
    return this.parameters().sort === "-started" && !this.query.group;
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

  /** The first answer of another question: columns nobody chose depend on what the runs hold. */
  first(answer) {
    this.filter.clear();
    fill(this.notice);
    this.selection.reset();
    this.table.scrollTo(0);
    this.mainMetric = sharedMetric(answer.runs);
    if (!this.query.cols) {
      const ids = defaultColumns(answer.columns, this.mainMetric, answer.tree?.connections?.length);
      const more = ids.some((id) => id.includes(".") && !this.columnIds.includes(id));
      this.columnIds = ids;
      remember("lastColumns", ids);
      if (more) {
        this.list.reload();
      }
    }
    this.setColumns();
  }

  failed(error) {
    if (error.code === "unreachable") {
      return;                    // the bar above the page says so
    }
    if (error.status === 400 && this.query.filter) {
      this.filter.fail({message: error.message, at: error.body?.at ?? error.body?.error?.at});
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
    const groups = (this.query.group && answer.groups) || null;
    this.table.setLines(reading ? arrange(BONES, null) : arrange(this.list.total, groups, this.folded));
    this.drawCounts(answer);
    this.drawEmpty(answer);
    this.selection.follow();
    this.fresh.hidden = !this.list.waiting;
    fill(this.fresh, icon("up"), t("runs.new", {n: this.list.waiting}));
    requestAnimationFrame(() => setTimeout(() => this.drawBeside(answer), SOON));
  }

  /** What stands around the rows, when they have been painted. */
  drawBeside(answer) {
    if (answer === this.list.answer && !this.abort.signal.aborted) {
      this.drawSide(answer);
      this.drawCurves();
      this.everySecond();
    }
  }

  // ------------------------------------------------------------ drawing

  drawCounts(answer) {
    const some = answer.matched !== answer.total;
    fill(this.groupButton, t("runs.group", {what: groupLabel(this.query.group)}), icon("dn"));
    if (answer.loading) {
      fill(this.counts, t("runs.reading", {n: answer.matched}));
      return;
    }
    fill(this.counts, h("b", {}, fmt.int(answer.matched)), " ", some ? t("runs.ofTotal", {n: answer.total})
      : t("runs.count", {n: answer.matched}),
      answer.running ? t("runs.countRunning", {n: answer.running}) : null,
      ...Object.entries(answer.means || {}).map(([field, names]) => h("span.m2", {title: t("runs.meansHow")}, " · ",
        t("runs.means", {field, names: Object.entries(names).map(([name, count]) => `${name} (${count})`).join(", ")}))));
  }

  drawSide(answer) {
    const parts = {query: this.query, answer, store: state, saved: savedViews(),
      forget: (view) => { forgetView(view); this.drawSide(answer); }, again: () => this.drawSide(this.list.answer)};
    drawSide(this.side, parts);
    if (this.opened?.isConnected) {
      drawSide(this.opened, parts);
    }
  }

  drawEmpty(answer) {
    const {filter, project, connection, tag, hidden} = this.query;
    const nothing = answer.total === 0 && !answer.loading && !filter && !project && !connection && !tag && !hidden;
    this.root.classList.toggle("bare", nothing);
    this.welcome?.remove();
    this.welcome = nothing ? this.root.appendChild(welcome()) : null;
    this.nobody?.remove();
    this.nobody = !nothing && !answer.loading && answer.matched === 0 ? this.table.node.appendChild(noMatch(Boolean(filter))) : null;
  }

  setColumns(width = this.room) {
    const room = this.room = width ?? (this.table.measure() || 1000);
    const kept = recall("widths", {});
    const ids = this.query.cols ? this.columnIds : fitting(this.columnIds, room, kept);
    const widths = roomy(ids, room, kept);
    const rows = [...this.list.slices.rows.values()].slice(0, 50);
    const tree = () => this.list.answer?.tree, tags = () => tree()?.tags || [], cut = () => cuts(tree());
    const columns = ids.map((id) => column(id, {mainMetric: this.mainMetric, widths, rows, tags, cuts: cut}));
    const sign = JSON.stringify([columns, this.parameters().sort, state.language]);
    if (sign !== this.columnSign) {
      this.columnSign = sign;
      this.table.setColumns(columns, this.parameters().sort, room);
    }
    this.storeChanged();
  }

  showCurves(on) {
    remember("curves", on);
    this.root.classList.toggle("no-panel", !on);
    this.curvesButton.hidden = on;
    this.drawCurves();
  }

  async drawCurves() {
    if (!recall("curves", true) || !this.list.answer || !this.curves.node.offsetWidth) {
      return;
    }
    const here = new Map([...this.list.slices.rows.values()].map((row) => [row.key, row]));
    this.known = new Map([...(this.known || []), ...here]);
    const ticked = state.ticked.map((key) => this.known.get(key) || strange(key));
    const under = this.selection.row;
    const rows = ticked.length ? ticked : under ? [under] : [];
    await this.curves.show(rows, this.list.answer.columns?.metrics || [],
      !ticked.length).catch((error) => console.info(`runicorn: curves: ${error.message}`));
  }

  storeChanged() {
    if (this.table.all) {
      this.table.all.indeterminate = state.ticked.length > 0;
      this.table.all.checked = false;
    }
    const ticks = state.ticked.join("\n");
    if (ticks !== this.ticks) {
      const before = this.ticks;
      this.ticks = ticks;
      changeAddress({ticked: state.ticked});
      renew(this.chosen, state.ticked.length ? [h("b", {}, t("runs.ticked", {n: state.ticked.length})),
        h("a.link", {href: compareHref(state.ticked)}, t("top.compare")),
        h("button.link", {type: "button", onclick: () => setTicked([])}, t("runs.clear"))] : null);
      if (before !== undefined) {               // at first the rows are on their way, and the curves come after them
        this.drawCurves();
      }
    }
    this.table.paint();
  }

  everySecond() {
    if (document.hidden || !this.list.heard) {
      return;
    }
    text(this.updated, t("runs.updated", {age: fmt.age(clock.now() - Math.max(this.list.heard, state.heard))}));
    const at = this.table.columns.findIndex((one) => one.id === "duration");
    for (const tr of this.table.drawn.values()) {
      const row = tr.key && this.list.row(tr.index);
      if (row && at >= 0) {
        text(tr.parts[at], fmt.duration(runtime(row)));
      }
    }
  }

  tip(cell) {
    const tr = cell.closest("tr");
    const row = this.list.row(tr.index);
    return row && !tr.group
      ? [h("div.hd", {}, [t(`state.${row.state}`), row.ended ? fmt.full(row.ended) : null, row.step == null ? null
      : t("runs.atStep", {n: row.step})].filter(Boolean).join(" · ")),
      h("div", {}, reasonText(row.reason)), row.stale ? h("div.warn", {}, t("runs.stale")) : null, row.error ? h("div.bad", {}, errorText(row))
        : null] : null;
  }

  /** A short remark in the foot. */
  say(words) {
    text(this.remark, words);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => text(this.remark, ""), SAID);
  }

  // ------------------------------------------------------------ choices

  /** Put choices into the address and ask anew. */
  choose(values) {
    changeAddress(values, {push: !("filter" in values)});
    this.addressed();
  }

  sortBy(id) {
    const present = this.parameters().sort;
    const falls = present.startsWith("-");
    const first = this.table.numeric(id) ? `-${id}` : id;        // the largest first, but A before Z
    this.choose({sort: present.replace(/^-/, "") !== id ? first : falls ? id : `-${id}`});
  }

  pickGroup(anchor) {
    chooseGroup(anchor, {group: this.query.group || "", offered: this.list.answer?.columns,
      pick: (group) => { this.folded.clear(); this.choose({group}); }});
  }

  pickColumns(anchor) {
    const pick = (ids) => {
      this.columnIds = ids || defaultColumns(this.list.answer?.columns, this.mainMetric, this.list.answer?.tree?.connections?.length);
      changeAddress({cols: ids});
      this.query = query();
      this.setColumns();
      this.list.reload();
    };
    chooseColumns(anchor, {chosen: this.columnIds, columns: () => this.list.answer?.columns, pick});
  }

  resize(id, px) {
    const widths = {...recall("widths", {})};
    if (px) {
      widths[id] = px;
    } else {
      delete widths[id];
    }
    remember("widths", widths);
    this.setColumns();
  }

  fold(value) {
    if (!this.folded.delete(value)) {
      this.folded.add(value);
    }
    this.table.setLines(arrange(this.list.total, this.list.answer.groups, this.folded));
  }

  groupWords(value) {
    const {group} = this.query;
    const words = group === "state" ? known(`state.${value}`, {}, value) : group === "connection" && value === "local" ? t("runs.local")
      : value;
    return [group.includes(".") ? `${columnTitle(group)[1]} ` : "", words === "" || words == null ? t("runs.groupEmpty") : String(words)];
  }

  openSide(anchor) {
    this.opened = h("nav.side.popped", {"aria-label": t("runs.projects")});
    popover(anchor, this.opened, {label: t("runs.projects")});
    this.drawSide(this.list.answer || {});
  }

  // ------------------------------------------------------------ acts

  focusFilter() {
    this.filter.focus();
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

  /** The cursor moved: with nothing ticked, show its run's curves when it rests. */
  moved() {
    clearTimeout(this.previewing);
    if (!state.ticked.length) {
      this.previewing = setTimeout(() => this.drawCurves(), PREVIEW);
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
    this.filter.set(this.query.filter || "");
    if (this.query.cols) {
      this.columnIds = splitList(this.query.cols);
    }
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
    clearTimeout(this.previewing);
    clearTimeout(this.saying);
    this.resized.disconnect();
    this.table.destroy();
    this.curves.destroy();
    this.list.destroy();
  }
}

/** A ticked run that is not among the listed ones: its key says its name. */
function strange(key) {
  const parts = key.split("/");
  return {key, name: parts.at(-2) || key, id: parts.at(-1)};
}

export function mount(root) {
  return new RunsPage(root);
}
