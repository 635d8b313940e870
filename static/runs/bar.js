// What stands above and below the rows of the list: filter, counts and choices; keys, what is ticked, how old
// the answer is.

import {compareHref} from "../shared/address.js";
import * as clock from "../shared/clock.js";
import {fill, h, icon, renew, text} from "../shared/dom.js";
import {setTicked, state} from "../shared/store.js";
import {fmt, passedTexts, t} from "../shared/words.js";
import {groupLabel} from "./column_menu.js";
import {filterBox} from "./filter_box.js";

const SAID = 5000;               // ms a remark stays in the foot
const KEYS = [["j k", "move"], ["x", "tick"], ["c", "compare"], ["Enter", "open"], ["/", "filter"],
  ["?", "all"]];

export class RunsBar {
  /**
   * filter, group: what the address says; hooks: {filter(text)}, and, each with the button that was pressed,
   * {side, group, columns, save, panel}.
   */
  constructor(filter, group, hooks) {
    const button = (kind, run, ...content) => h(`button.btn${kind}`,
      {type: "button", "aria-haspopup": "dialog", onclick: (event) => run(event.currentTarget)}, content);
    this.filter = filterBox(filter, hooks.filter);
    this.counts = h("span.counts.cut");
    this.group = button("", hooks.group);
    this.setGroup(group);
    this.panel = button(".sq.show-curves", hooks.panel, icon("panel"));
    this.panel.title = t("runs.showCurves");
    this.panel.setAttribute("aria-label", t("runs.showCurves"));
    const columns = button("", hooks.columns, icon("cols"), h("span.no-s", {}, t("runs.columns")),
      icon("dn"));
    columns.title = t("runs.columns");          // its name where it is narrow
    this.node = h("div.tools", {}, button(".only-s", hooks.side, icon("side"), t("runs.projects")),
      this.filter.node, this.counts, this.group, columns, button("", hooks.save, t("runs.saveView")),
      this.panel);
  }

  /** on: the panel of curves is shown, so that nothing offers it. */
  setPanel(on) {
    this.panel.hidden = on;
  }

  setGroup(group) {
    fill(this.group, t("runs.group", {what: groupLabel(group)}), icon("dn"));
  }

  /** answer: of GET /api/runs; group: by what it is grouped. */
  show(answer, group) {
    this.setGroup(group);
    if (answer.loading) {
      fill(this.counts, t("runs.reading", {n: answer.matched}));
      return;
    }
    const some = answer.matched !== answer.total;
    fill(this.counts, h("b", {}, fmt.int(answer.matched)), " ", some ? t("runs.ofTotal", {n: answer.total})
      : t("runs.count", {n: answer.matched}),
      answer.running ? t("runs.countRunning", {n: answer.running}) : null,
      answer.unread ? h("span.m2", {title: t("runs.unreadHow")}, " · ", t("runs.unread", {n: answer.unread}))
        : null,
      passedOver(answer.passed),
      ...Object.entries(answer.means || {})
        .map(([field, names]) => h("span.m2", {title: t("runs.meansHow")}, " · ",
          t("runs.means",
            {field, names: Object.entries(names).map(([name, count]) => `${name} (${count})`).join(", ")}))));
  }
}

/** What the search for runs of other loggers passed over: how much, and why under the pointer. */
function passedOver(counts) {
  const all = Object.values(counts || {}).reduce((sum, count) => sum + count, 0);
  return all ? h("span.m2", {title: passedTexts(counts).join("\n")}, " · ", t("runs.passed", {n: all}))
    : null;
}

export class RunsFoot {
  constructor() {
    this.updated = h("span");
    this.remark = h("span.warn");
    this.chosen = h("span.chosen");
    this.node = h("div.foot", {}, this.chosen,
      KEYS.map(([names, what]) => h("span.no-s", {}, names.split(" ").map((key) => h("kbd.kbd", {}, key)),
        t(`keys.${what}`))),
      this.remark, h("span.grow"), this.updated);
  }

  showTicked() {
    renew(this.chosen, state.ticked.length ? [h("b", {}, t("runs.ticked", {n: state.ticked.length})),
      h("a.link", {href: compareHref(state.ticked)}, t("top.compare")),
      h("button.link", {type: "button", onclick: () => setTicked([])}, t("runs.clear"))] : null);
  }

  /** heard: when the shown answer was read, by the viewer's clock, s. */
  showAge(heard) {
    text(this.updated, t("runs.updated", {age: fmt.age(clock.now() - Math.max(heard, state.heard))}));
  }

  /** A short remark. */
  say(words) {
    text(this.remark, words);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => text(this.remark, ""), SAID);
  }

  destroy() {
    clearTimeout(this.saying);
  }
}
