// The connection test, line by line, each with its time; its questions stand where they arise. Also written
// to the console.

import * as api from "../shared/api.js";
import {announce, copy, fill, h, icon, nodes, own} from "../shared/dom.js";
import {changedKey, questionBox} from "./question.js";
import {advised, said} from "../shared/widgets.js";
import {fmt, known, t} from "../shared/words.js";

const LINES = ["name", "port", "banner", "host_key", "login", "sftp", "root", "runs", "manifest", "rtt",
  "throughput", "exec", "clock"];
const LOOK = {true: ["finished", "ok"], false: ["failed", "bad"], null: ["wait", "m3"]};

// what a line says where this computer's own ssh would get in
const BY_SYSTEM = new Set(["algorithms_new", "login_other_ways", "key_fido", "key_format", "no_key_usable"]);

/**
 * A button that sets a connection to system ssh, where `told` (a line of a test, a reason) says that this
 * would help; else null.
 */
export function systemOffer(told, take) {
  return take && BY_SYSTEM.has(told?.said ?? told?.code)
    ? h("div", {}, h("button.link", {type: "button", data: {act: "system"}, onclick: take},
      t("settings.useSystem"))) : null;
}

const lineName = (name) => known(`settings.line.${name}`, {}, name);

function plainLine({ok, name, text, advice, ms}) {
  const mark = {true: "ok  ", false: "FAIL"}[ok] || "-   ";
  return `${mark} ${name}: ${text}${advice ? ` (${advice})` : ""}${ms == null ? "" : `  ${Math.round(ms)} ms`}`;
}

/** A test as text, for a bug report. */
export function report(lines) {
  return lines.map(plainLine).join("\n");
}

export class Trial {
  /**
   * title: whose test. finished(state) when it is done; offered(root) when a found folder is chosen; system()
   * when system ssh is.
   * @param {string} title @param {Object<string, (...values: any[]) => any>} hooks
   */
  constructor(title, {finished = () => null, offered = null, system = null} = {}) {
    this.title = title;
    this.finished = finished;
    this.offered = offered;
    this.system = system;
    this.id = null;
    this.state = null;           // the last answer of the test
    this.told = 0;
    this.turn = 0;               // looks so far …
    this.seen = 0;               // … and which of them is shown
    this.asking = null;
    this.problem = null;
    this.host = "";
    this.head = h("div.hd");
    this.list = h("ul", {"aria-live": "off"});
    this.node = h("div.doc", {role: "group", "aria-label": title}, this.head, this.list);
    this.draw();
  }

  /** Begin a test of `connection` (a dict; secrets beside it). */
  async start(connection) {
    Object.assign(this, {id: null, state: {lines: [], done: false}, told: 0, asking: null, problem: null,
      host: connection.host});
    this.draw();
    console.info(`runicorn: testing ${connection.user ? `${connection.user}@` : ""}${connection.host}`);
    try {
      this.id = (await api.post("/api/connections/test", connection)).test;
      // for the news of this test: before the first look, so that nothing comes between the two
      api.pollAnew();
      await this.look();
    } catch (error) {
      this.problem = error.message;
      this.state = {lines: [], done: true, ok: false};
      this.draw();
      this.finished(this.state);
    }
  }

  topics() {
    return this.id && !this.state?.done ? [`test:${this.id}`] : [];
  }

  update(changed) {
    return this.id && !this.state?.done && (!changed || changed.has(`test:${this.id}`)) ? this.look() : null;
  }

  async look() {
    const [id, turn] = [this.id, ++this.turn];
    const found = await api.get(`/api/connections/test/${encodeURIComponent(id)}`);
    if (id !== this.id || this.state?.done || turn < this.seen) {
      return;                    // of another test, or overtaken by a later look
    }
    this.seen = turn;
    this.state = found;
    this.tell();
    this.draw();
    if (found.done) {
      announce(t(found.ok ? "settings.test.ok" : "settings.test.failed"));
      this.finished(found);
    }
  }

  /** New lines go to the console too: the guide sends people there for details. */
  tell() {
    for (const line of this.state.lines.slice(this.told)) {
      console.info(`runicorn: ${report([line])}`);
    }
    this.told = this.state.lines.length;
  }

  draw() {
    const lines = this.state?.lines || [];
    const ahead = this.state?.done && this.state.ok ? []
      : LINES.filter((name) => !lines.some((line) => line.name === name));
    fill(this.head, h("b.cut", {}, this.title), this.verdict(lines, ahead), h("span.grow"),
      lines.length
        ? h("button.btn.bare", {type: "button", onclick: (event) => this.copy(event.currentTarget, lines)},
          t("settings.test.copy")) : null);
    const before = [this.problem ? h("li.bad", {}, icon("failed", "bad"), h("span.wide", {}, this.problem))
      : null,
      lines.map((line) => this.line(line))];
    const after = [this.offers(), ahead.map((name) => this.waiting(name))];
    const kept = this.askingFor === this.state?.question?.id && this.asking?.parentNode === this.list;
    if (!kept) {
      this.asking = this.ask(this.state?.question);
      fill(this.list, before, this.asking, after);
      return;
    }
    // While somebody types an answer its box must not leave the document.
    [...this.list.children].filter((one) => one !== this.asking).forEach((one) => one.remove());
    this.asking.before(...nodes(before));
    this.asking.after(...nodes(after));
  }

  /** The item that puts a question; null without one. */
  ask(question) {
    this.askingFor = question?.id;
    const failed = (error) => { this.problem = error.message; this.draw(); };
    return question ? h("li.asking", {}, questionBox(question, failed)) : null;
  }

  verdict(lines, ahead) {
    if (!this.state) {
      return h("span.m3", {}, t("settings.test.none"));
    }
    if (this.state.question) {
      return h("span.warn", {}, icon("ask"), " ", t("settings.test.waits"));
    }
    if (!this.state.done) {
      return h("span.m2", {}, t("settings.test.of", {n: lines.length, m: lines.length + ahead.length}));
    }
    return this.state.ok ? h("span.ok", {}, t("settings.test.ok"))
      : h("span.bad", {}, icon("cut"), " ", t("settings.test.failed"));
  }

  line(line) {
    const [shape, colour] = LOOK[line.ok] || LOOK.null;
    const changed = line.ok === false && line.known && line.offered;
    return h("li", {class: changed ? "changed" : colour, data: {line: line.name}}, icon(shape, colour),
      h("span", {}, lineName(line.name)),
      h("span.said", {}, changed ? changedKey({...line, host: this.host})
        : [h("span", {class: line.ok === false ? "bad" : "m2"}, own(said(line))),
          line.advice ? h("div.m2", {}, own(advised(line))) : null, systemOffer(line, this.system)]),
      h("span.num", {}, line.ms == null ? "" : line.ms >= 10000
        ? t("time.age.s", {n: (line.ms / 1000).toFixed(1)})
        : t("settings.ms", {n: fmt.int(line.ms < 1 ? 1 : Math.round(line.ms))})));
  }

  waiting(name) {
    return h("li.wait", {}, icon("wait"), h("span", {}, lineName(name)),
      h("span", {}, this.state?.done ? t("settings.test.notReached")
        : known(`settings.hint.${name}`, {}, "")), h("span.num"));
  }

  /** Folders that do hold runs, when the chosen one holds none: one click takes them. */
  offers() {
    const found = this.offered && this.state?.offer;
    return found?.length
      ? found.map((one) => h("li.offer", {}, icon("folder", "m2"), h("span", {}, t("settings.offer")),
        h("span.said", {}, own(one.root, {class: "mono"}), " ",
          h("span.keep", {}, t("settings.offerRuns", {n: one.runs}))),
        h("button.link", {type: "button", onclick: () => this.offered(one.root)}, t("settings.useIt"))))
      : null;
  }

  async copy(button, lines) {
    const words = button.textContent;
    button.textContent = t(await copy(report(lines)) ? "common.copied" : "common.notCopied");
    setTimeout(() => { button.textContent = words; }, 1500);
  }
}
