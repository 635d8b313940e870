// Searching a run's log: plain or by expression, streamed, stoppable; steps through what was found.

import * as api from "../shared/api.js";
import {searchPattern} from "./ansi.js";
import {fill, h, icon} from "../shared/dom.js";
import {fmt, quoted, t} from "../shared/words.js";

const MOST = 1000;               // hits asked for
const SETTLE_MS = 250;

export class LogSearch {
  /**
   * hooks: {where() -> parameters of the log, jump(hit), marks(): the pattern changed, from() -> byte offset
   * of the first line in view}
   */
  constructor(hooks) {
    this.hooks = hooks;
    this.hits = [];
    this.at = -1;
    this.regex = false;
    this.field = h("input.inp",
      {placeholder: t("logs.search"), "aria-label": t("logs.search"), spellcheck: "false", type: "search",
        oninput: () => this.soon(), onkeydown: (event) => this.keyed(event)});
    this.expression = h(
      "button.btn.bare.sq.mono",
      {type: "button", title: t("logs.regex"), "aria-label": t("logs.regex"), "aria-pressed": "false",
        onclick: () => this.toggle()},
      ".*",
    );
    this.count = h("span.m2.num", {"aria-live": "polite"});
    this.node = h("span.rowf.logsearch", {}, h("span.find", {}, icon("find"), this.field), this.expression,
      this.count);
  }

  get pattern() {
    return searchPattern(this.field.value, this.regex);
  }

  toggle() {
    this.regex = !this.regex;
    this.expression.setAttribute("aria-pressed", String(this.regex));
    this.soon();
  }

  soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.start(), SETTLE_MS);
  }

  keyed(event) {
    if (event.key === "Enter") {
      event.preventDefault();
      this.move(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape") {
      this.field.value = "";
      this.start();
      this.field.blur();
    }
  }

  stop() {
    this.round?.abort();
    this.round = null;
    this.draw();
  }

  async start() {
    this.round?.abort();
    this.hits = [];
    this.at = -1;
    this.progress = this.part = null;
    this.field.removeAttribute("aria-invalid");
    this.hooks.marks();
    if (!this.field.value) {
      this.round = null;
      this.draw();
      return;
    }
    const mine = new AbortController();
    this.round = mine;
    this.draw();
    try {
      await this.read(mine);
    } catch (error) {
      this.failed(error, mine);
    }
    if (this.round === mine) {
      this.round = null;
      this.draw();
    }
  }

  async read(mine) {
    const values = {...this.hooks.where(), q: this.field.value, regex: this.regex ? 1 : null, typed: 1,
      from: 0, limit: MOST};
    let drawn = 0;
    for await (const found of api.lines("/api/logs/search", values, mine.signal)) {
      if (found.error) {
        throw new Error(quoted(found.message));         // an expression that takes too long
      }
      if (found.at !== undefined) {
        this.hits.push(found);
        this.first();
      }
      this.part = found.done && found.here < found.size ? found : this.part;
      this.progress = found.progress !== undefined && found.size ? found.progress / found.size
        : this.progress;
      if (performance.now() - drawn > 100) {
        drawn = performance.now();
        this.draw();
      }
    }
  }

  failed(error, mine) {
    if (error.name !== "AbortError" && this.round === mine) {
      this.field.setAttribute("aria-invalid", "true");
      this.field.title = error.message;
    }
  }

  /** Show the first hit at or after what is in view, as soon as it is known. */
  first() {
    if (this.at < 0 && this.hits.at(-1).at >= this.hooks.from()) {
      this.at = this.hits.length - 1;
      this.hooks.jump(this.hits[this.at]);
    }
  }

  move(by) {
    if (this.hits.length) {
      this.at = (this.at + by + this.hits.length) % this.hits.length;
      this.hooks.jump(this.hits[this.at]);
      this.draw();
    }
  }

  draw() {
    const many = this.hits.length >= MOST ? `${fmt.int(MOST)}+` : fmt.int(this.hits.length);
    const button = (name, label, run) =>
      h("button.btn.bare.sq", {type: "button", title: t(label), "aria-label": t(label), onclick: run},
        icon(name));
    const running = this.round !== null && this.round !== undefined;
    fill(
      this.count,
      !this.field.value
        ? null
        : [
            this.hits.length
              ? this.at < 0
                ? t("logs.hits", {n: many})
                : t("logs.hitOf", {n: fmt.int(this.at + 1), m: many})
              : running
                ? t("logs.searching")
                : t("logs.noHits"),
            this.part
              ? h("span.warn", {}, " ", t("logs.searchedPart",
                {here: fmt.bytes(this.part.here), size: fmt.bytes(this.part.size)})) : null,
            running && this.progress != null ? h("span.m3", {}, ` ${fmt.percent(this.progress)}`) : null,
            running ? button("x", "logs.stop", () => this.stop()) : null,
            this.hits.length > 1
              ? [button("up", "logs.previous", () => this.move(-1)),
                button("down", "logs.next", () => this.move(1))]
              : null,
          ],
    );
  }
}
