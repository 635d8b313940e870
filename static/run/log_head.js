// The bar above a log: which lines are in view, the search, wrapped lines, whether its end is followed, which
// of several files.

import {fill, h, icon} from "../shared/dom.js";
import {recall, remember} from "../shared/store.js";
import {bytes} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

export class LogHead {
  /**
   * view: the lines, a LogLines; search: a node.
   * hooks: {fold(): fold the log away, where it is a drawer, follow(): pressed, wrap(on), read(file): chosen,
   * {} for all}
   */
  constructor(view, search, hooks) {
    this.view = view;
    this.hooks = hooks;
    this.where = h("span.m2.num");
    this.wrapping = h("button.btn", {type: "button", onclick: () => this.setWrap(!recall("wrap", false))},
      t("logs.wrap"));
    this.follow = h("button.btn", {type: "button", onclick: hooks.follow});
    this.fileChoice = h("span");
    const fold = hooks.fold && h("button.btn.bare.sq",
      {type: "button", title: t("logs.fold"), "aria-label": t("logs.fold"), onclick: hooks.fold}, icon("dn"));
    this.node = h("div.hd", {}, fold, h("b", {}, t("run.logs")), this.fileChoice, this.where, h("span.grow"),
      search, this.wrapping, this.follow);
  }

  /** Wrap long lines, now and the next time. */
  setWrap(on) {
    remember("wrap", on);
    this.wrapping.setAttribute("aria-pressed", String(on));
    this.hooks.wrap(on);
  }

  /** following: the end is followed; fresh: lines that came below while it was not. */
  draw(following, fresh) {
    const {view} = this;
    const line = following ? view.lines.at(-1) : view.lastInView();
    const last = view.lines.at(-1)?.n;
    fill(this.where, !line ? "" : view.holdsEnd && line.n && last ? t("logs.lineOf", {n: line.n, m: last})
      : [line.n ? t("logs.line", {n: line.n}) : fmt.percent(line.at / Math.max(1, view.size), 1), " · ",
        bytes(view.size)],
    view.here < view.size ? this.partly() : null);
    const below = following ? null : this.below(fresh);
    const sign = `${following}${below?.textContent}`;
    if (sign !== this.sign) {
      this.sign = sign;
      this.follow.setAttribute("aria-pressed", String(following));
      fill(this.follow, icon("down"), t("logs.follow"), below);
    }
  }

  /** How much there is below what is shown. */
  below(fresh) {
    const {view} = this;
    if (fresh) {
      return h("b.num", {}, fmt.int(fresh));
    }
    return !view.holdsEnd && view.size > view.end ? h("span.m3", {}, bytes(view.size - view.end)) : null;
  }

  partly() {
    const words = t("logs.partly", {here: fmt.bytes(this.view.here), size: fmt.bytes(this.view.size)});
    return h("span.warn.cut", {title: words}, " · ", words);
  }

  /** Several attempts or ranks have logs of their own: offer them. */
  setFiles(names) {
    if (names.length < 2 || names.join() === this.offered) {
      return;
    }
    this.offered = names.join();
    const select = h("select.inp", {"aria-label": t("logs.file"),
      onchange: () => this.hooks.read(select.value ? {file: select.value} : {})},
    h("option", {value: ""}, t("logs.allAttempts")), names.map((name) => h("option", {value: name}, name)));
    fill(this.fileChoice, select);
  }
}
