// The run list: filter box, tree, windowed table, curves of the ticked runs. What the reader chose is in the
// address.

import {change as changeAddress, splitList} from "../shared/address.js";
import {chooseGroup} from "./column_menu.js";
import {groupTitle, runtime, stateTip} from "./columns.js";
import {RunsBar, RunsFoot} from "./bar.js";
import {Curves} from "./curve_panel.js";
import {fill, h, icon} from "../shared/dom.js";
import {ListQuery} from "./list_query.js";
import {RunList} from "./loader.js";
import {Preview} from "./preview.js";
import {RestingPointer} from "./resting_pointer.js";
import {RowEditor} from "./row_editor.js";
import {Selection, tickNamed} from "./selection.js";
import {ShownColumns} from "./shown_columns.js";
import {Sidebar} from "./sidebar.js";
import {Sight} from "./sight.js";
import {arrange, groupsOf} from "./slices.js";
import {colourOf, recall, remember, state, watch} from "../shared/store.js";
import {Table} from "./table.js";
import {badFilter, NoRows} from "./empty.js";
import {tooltip} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

const BONES = 20;                // lines that keep the place of what comes
const PATIENCE = 150;            // ms without an answer before they are drawn
// ms after the rows until what stands around them is drawn: a frame for the rows alone
const SOON = 50;

class RunsPage {
  constructor(root) {
    this.root = root;
    this.query = new ListQuery();
    this.abort = new AbortController();
    const {ticked, cols} = this.query.values;
    if (ticked) {
      tickNamed(splitList(ticked));
    }
    this.list = new RunList(this.listHooks());
    this.selection = new Selection(this);
    this.columns = new ShownColumns(cols, this);
    this.build();
    this.listen();
    this.patience = setTimeout(() => this.table.setLines(arrange(BONES, null)), PATIENCE);
    this.list.restart();
  }

  // ------------------------------------------------------------ building

  build() {
    const {filter, group} = this.query.values;
    this.table = new Table(this.tableHooks());
    this.sight = new Sight(this.table, this.list);
    this.pointer = new RestingPointer(this.table.node, this.abort.signal);
    this.editor = new RowEditor(this.table, this.list, this.abort.signal);
    this.side = new Sidebar(this.query, (field) => this.bar.filter.begin(`${field}:`));
    this.curves = new Curves(() => this.showCurves(false));
    this.preview = new Preview(this.curves, this.list, this.selection);
    this.noRows = new NoRows(this.root, this.table.node);
    this.bar = new RunsBar(filter || "", group, {
      filter: (text) => this.choose({filter: text}),
      side: (anchor) => this.side.open(anchor),
      group: (anchor) => this.pickGroup(anchor),
      columns: (anchor) => this.columns.pick(anchor),
      save: (anchor) => this.side.save(anchor),
      panel: () => this.showCurves(true),
    });
    this.foot = new RunsFoot();
    this.fresh = h("button.btn.fresh", {type: "button", hidden: true, onclick: () => this.letIn()});
    const middle = h("div.mid", {}, this.bar.node, this.noRows.notice,
      h("div.holder", {}, this.fresh, this.table.node), this.foot.node);
    this.root.classList.add("runs");
    fill(this.root, h("h1.vh", {}, t("runs.list")), this.side.node, middle, this.curves.node);
    this.showCurves(recall("curves", true));
  }

  /** What the list asks of its page, and tells it. */
  listHooks() {
    return {
      parameters: () => this.query.parameters(this.columns.asked),
      range: () => this.sight.range(),
      held: () => this.pointer.moves,
      scrolled: () => this.sight.scrolled,
      byTime: () => this.query.byTime,
      first: (answer) => this.first(answer),
      arrived: (answer) => this.arrived(answer),
      failed: (error) => this.failed(error),
    };
  }

  /** What the table asks of its page, and tells it. */
  tableHooks() {
    return {
      row: (index) => this.list.row(index),
      group: (head) => groupTitle(this.query.group, head),
      ticked: (key) => state.ticked.includes(key),
      colour: colourOf,
      sort: (id) => this.choose({sort: this.query.sortedBy(id, this.table.numeric(id))}),
      tick: (index, on) => this.selection.tick(index, on),
      range: (index) => this.selection.range(index),
      allTicked: (on) => this.selection.all(on),
      point: (index) => this.selection.moveTo(this.table.lines.lineOf(index), {reveal: false}),
      fold: (value) => this.fold(value),
      resize: (id, px) => this.columns.resize(id, px),
      seen: (from, to) => this.sight.moved(from, to),
    };
  }

  listen() {
    document.addEventListener("keydown", (event) => this.selection.pressed(event),
      {signal: this.abort.signal});
    this.unwatch = watch(() => this.storeChanged());
    this.clock = setInterval(() => this.everySecond(), 1000);
    this.resized = new ResizeObserver(([{contentRect}]) =>
      requestAnimationFrame(() => this.columns.draw(contentRect.width)));        // else "a loop"
    this.resized.observe(this.table.node);
    tooltip(this.table.body, (cell) => this.tip(cell.closest("tr")), "td.c-state");
  }

  // ------------------------------------------------------------ answers

  /** The first answer of another question. */
  first(answer) {
    this.bar.filter.clear();
    this.selection.reset();
    this.table.scrollTo(0);
    this.columns.first(answer);
  }

  failed(error) {
    if (error.code === "unreachable") {
      return;                    // the bar above the page says so
    }
    if (error.status === 400 && this.query.values.filter) {
      this.bar.filter.fail({message: error.message, at: error.body?.at ?? error.body?.error?.at});
      if (!this.list.answer) {           // nothing to leave standing: it came with the address
        this.showNothing(badFilter());
      }
      return;
    }
    this.noRows.failed(error, () => this.list.restart());
  }

  /** An answer is here: lines, counts, tree, empty states, curves. */
  arrived(answer) {
    clearTimeout(this.patience);
    // the first look at big roots: bones until it is done
    const reading = answer.loading && !this.list.total;
    const groups = (this.query.group && groupsOf(answer)) || null;
    this.table.setLines(reading ? arrange(BONES, null) : arrange(this.list.total, groups, this.query.folded));
    this.bar.show(answer, this.query.group);
    this.noRows.show(answer, this.query.values);
    this.selection.follow();
    this.fresh.hidden = !this.list.waiting;
    fill(this.fresh, icon("up"), t("runs.new", {n: this.list.waiting}));
    requestAnimationFrame(() => setTimeout(() => this.drawBeside(answer), SOON));
  }

  /** What stands around the rows, when they have been painted. */
  drawBeside(answer) {
    if (answer === this.list.answer && !this.abort.signal.aborted) {
      this.side.draw(answer);
      this.preview.draw();
      this.everySecond();
    }
  }

  // ------------------------------------------------------------ drawing

  /** Nothing came that could be listed: words in place of rows. */
  showNothing(words) {
    clearTimeout(this.patience);
    this.table.setLines(arrange(0, null));
    this.noRows.say(words);
  }

  /** The reader chose columns. */
  columnsChosen() {
    this.query.read();
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
      // at first the rows are on their way, and the curves come after them
      if (before !== undefined) {
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

  pickGroup(anchor) {
    chooseGroup(anchor, {group: this.query.group || "", offered: this.list.answer?.columns,
      pick: (group) => { this.query.folded.clear(); this.choose({group}); }});
  }

  fold(value) {
    this.query.fold(value);
    this.table.setLines(arrange(this.list.total, groupsOf(this.list.answer), this.query.folded));
  }

  focusFilter() {
    this.bar.filter.focus();
  }

  letIn() {
    this.table.scrollTo(0);
    this.list.letIn();
  }

  // ------------------------------------------------------------ what app.js calls

  topics() {
    return this.sight.topics();
  }

  update(changed) {
    if (!changed || [...changed].some((topic) => topic === "runs" || topic.startsWith("run:"))) {
      this.list.rung();
    }
    if ((!changed || changed.has("connections") || changed.has("settings")) && this.list.answer) {
      this.side.draw(this.list.answer);
    }
  }

  addressed() {
    this.query.read();
    const {filter, cols} = this.query.values;
    this.bar.filter.set(filter || "");
    this.columns.read(cols);
    if (this.list.answer) {
      this.side.draw(this.list.answer);
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
