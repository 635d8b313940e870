// The list of connections on the settings page: state, reason, folder, traffic, and what can be done about each.

import * as api from "./api.js";
import {fill, h, icon, own} from "./dom.js";
import {questionBox, changedKey} from "./question.js";
import {cacheLine} from "./storage.js";
import {Trial} from "./trial.js";
import {ask, bones, bytes, linkLook, menu, reasonText} from "./widgets.js";
import {fmt, t} from "./words.js";

const now = () => Date.now() / 1000;
const join = (...texts) => texts.filter(Boolean).join(t("settings.comma"));

function stateCell(row, offline) {
  const [shape, colour, word] = linkLook(row, offline);
  const news = row.last_news ? t("top.lastNews", {age: fmt.age(now() - row.last_news)}) : "";
  const retry = row.retry_at > now() ? t("top.retryIn", {age: fmt.age(Math.ceil(row.retry_at - now()))}) : "";
  const doing = row.progress && row.progress.files_total > row.progress.files_done
    ? join(t("link.syncingOf", {n: row.progress.files_done, m: row.progress.files_total}),
      row.progress.left ? t("settings.left", {time: fmt.duration(row.progress.left)}) : "") : "";
  const owner = row.owner && !row.owner.ours ? t("top.owner", {pid: String(row.owner.pid)}) : "";
  const calm = ["live", "syncing"].includes(row.state);
  const more = join(calm ? doing || news : reasonText(row.reason), calm && row.running ? t("top.running", {n: row.running}) : "", retry,
    owner);
  return h("td", {}, h("span.st", {class: colour}, icon(shape), t(`link.${word}`)),
    h("div.sub", {title: row.reason?.text || null}, more || "\u00a0"));
}

function folderCell(row) {
  const source = row.source === "manifest" && row.manifest_age != null ? t("settings.manifestAge", {age: fmt.age(row.manifest_age)})
    : row.source === "exec" ? t("settings.byExec") : row.source === "walk" ? t("settings.byWalk") : "";
  const mode = row.mode === "auto" ? t("settings.everyS", {n: row.interval}) : t("settings.mode.manual");
  const what = row.large ? t("settings.allFiles") : row.small_only ? "" : t("settings.ownOnly");
  const window = row.window ? t(`settings.window.${row.window}`) : "";
  return h("td", {}, h("span.mono", {}, own(row.remote_root || "")), h("div.sub", {title: row.folder}, join(source, mode, what, window)));
}

export class ConnectionList {
  /** page: {edit(row)}. */
  constructor(page) {
    this.page = page;
    this.trials = new Map();     // connection name -> Trial
    this.boxes = new Map();      // question id -> its box, kept while somebody types
    this.body = h("tbody", {}, h("tr", {}, h("td", {colSpan: 6}, bones(1))));
    this.foot = h("tfoot");
    const head = ["connection", "state", "root", "runs",
      "traffic"].map((name) => h("th", {scope: "col", class: ["runs", "traffic"].includes(name) ? "num" : ""}, t(`settings.th.${name}`)));
    this.problem = h("p.bad.small", {role: "alert", hidden: true});
    this.node = h("div", {},
      h("table.list", {}, h("thead", {}, h("tr", {}, head, h("th", {scope: "col"}, h("span.vh", {}, t("settings.th.acts"))))), this.body,
      this.foot), this.problem);
    this.clock = setInterval(() => !document.hidden && this.answer && !this.node.contains(document.activeElement) && this.show(this.answer),
      1000);
  }

  show(answer) {
    this.answer = answer;
    const focused = this.node.contains(document.activeElement) ? [document.activeElement.dataset.act,
      document.activeElement.closest("tr")?.dataset.name] : null;
    const typing = this.body.contains(document.activeElement) && document.activeElement.matches("input");
    if (!typing) {
      fill(this.body, answer.connections.length ? answer.connections.map((row) => this.row(row, answer.offline))
        : h("tr", {}, h("td.m2.none", {colSpan: 6}, t("settings.noConnections"))));
      fill(this.foot, h("tr", {}, h("td", {colSpan: 6}, cacheLine(answer))));
    }
    if (focused && !typing) {
      [...this.body.querySelectorAll("[data-act]")].find((one) => one.dataset.act === focused[0]
        && one.closest("tr").dataset.name === focused[1])?.focus();
    }
  }

  row(row, offline) {
    const through = row.auth === "system" ? t("settings.auth.system") : "";
    const below = this.below(row);
    return [h("tr", {class: below ? "opened" : null, data: {name: row.name, state: row.state}},
      h("td", {}, h("b", {}, own(row.name)),
        h("div.sub", {}, join(`${row.user ? `${row.user}@` : ""}${row.host}${row.port === 22 ? "" : `:${row.port}`}`, through))),
      stateCell(row, offline), folderCell(row), h("td.num", {}, fmt.int(row.runs)),
      h("td.num", {}, bytes(row.traffic?.hour ?? 0), h("div.sub", {}, t("settings.now"), " ", this.rate(row))),
        h("td.acts", {}, this.acts(row, offline))),
      below];
  }

  rate(row) {
    const [value, unit] = fmt.size(row.traffic?.rate ?? 0);
    return [value, h("span.u", {}, `${unit}/s`)];
  }

  button(row, act, label) {
    return h("button.btn", {type: "button", data: {act}, onclick: () => (act === "test" ? this.test(row) : this.order(row, act))}, label);
  }

  acts(row, offline) {
    const broken = row.state === "offline" || row.state === "refused";
    const more = h("button.btn.bare.sq", {type: "button", data: {act: "more"}, "aria-haspopup": "menu",
      "aria-label": t("settings.moreOf", {name: row.name}), title: t("common.more"), onclick: () => this.menu(more, row)}, icon("more"));
    if (offline) {
      return more;
    }
    if (row.state === "paused") {
      return [row.reason?.code === "manual" ? null : this.button(row, "start", t("settings.resume")),
        this.button(row, "sync", t("settings.syncNow")), more];
    }
    return broken ? [this.button(row, "reconnect", t("top.reconnect")), this.button(row, "test", t("settings.test")), more]
      : [this.button(row, "pause", t("settings.pause")), this.button(row, "sync", t("settings.syncNow")), more];
  }

  menu(anchor, row) {
    menu(anchor, [{label: t("settings.edit"), icon: "edit", run: () => this.page.edit(row)},
      {label: t("settings.testConnection"), icon: "finished", run: () => this.test(row)},
      {label: t("top.reconnect"), icon: "reset", run: () => this.order(row, "reconnect")}, row.state === "paused"
        ? {label: t("settings.resume"), icon: "running", run: () => this.order(row, "start")} : {label: t("settings.pause"), icon: "paused",
        run: () => this.order(row, "pause")},
      null, {label: t("settings.remove"), icon: "x", danger: true, run: () => this.remove(row)}], {right: true});
  }

  /** What stands under a row: its question, a changed key, folders that do hold runs, its test. */
  below(row) {
    const parts = [];
    if (row.question) {
      const box = this.boxes.get(row.question.id) || questionBox(row.question, (error) => this.fail(error));
      this.boxes.set(row.question.id, box);
      parts.push(box);
    } else if (row.reason?.code === "host_key_changed") {
      parts.push(h("div.ask.key", {}, icon("cut", "bad"),
        h("div.q", {}, changedKey({host: row.host, known: row.reason.known, offered: row.reason.offered}))));
    }
    if (row.state === "refused" && row.reason?.code !== "host_key_changed") {
      parts.push(h("p.told", {}, own(row.reason?.text || "")));
    }
    if (row.offer?.length && !row.runs) {
      parts.push(h("div.offers", {},
        row.offer.map((one) => h("div.rowf", {}, icon("folder", "m2"),
        h("span", {}, t("settings.offer"), " ", own(one.root, {class: "mono"}), " ", t("settings.offerRuns", {n: one.runs})),
        h("button.link", {type: "button", data: {act: "offer"}, onclick: () => this.useRoot(row, one.root)}, t("settings.useIt"))))));
    }
    if (this.trials.has(row.name)) {
      parts.push(this.trials.get(row.name).node);
    }
    return parts.length ? h("tr.below", {data: {name: row.name}}, h("td", {colSpan: 6}, parts)) : null;
  }

  // ------------------------------------------------------------ acts

  async guarded(work) {
    this.problem.hidden = true;
    try {
      await work();
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error) {
    this.problem.hidden = false;
    fill(this.problem, t("common.failed", {message: error.message}));
  }

  order(row, act) {
    return this.guarded(() => api.post(api.connectionPath(row.name, act)));
  }

  test(row) {
    const trial = new Trial(t("settings.test.titleOf", {name: row.name}), {offered: (root) => this.useRoot(row, root)});
    this.trials.set(row.name, trial);
    this.show(this.answer);
    return trial.start(plain(row));
  }

  useRoot(row, root) {
    return this.guarded(() => api.post("/api/connections", {...plain(row), remote_root: root, start: true}));
  }

  pauseAll() {
    const running = (this.answer?.connections || []).filter((row) => row.state !== "paused");
    return this.guarded(() => Promise.all(running.map((row) => api.post(api.connectionPath(row.name, "pause")))));
  }

  async remove(row) {
    const drop = h("input.tick", {type: "checkbox"});
    const size = this.answer.cache?.by?.[row.slug];
    const chosen = await ask(t("settings.removeTitle", {name: row.name}),
      [h("p", {}, t("settings.removeText")), h("label.rowf", {}, drop, t("settings.removeDrop", {size: fmt.bytes(size ?? 0)}))],
      [{label: t("common.cancel"), value: ""}, {label: t("common.remove"), value: "remove", danger: true}]);
    if (chosen) {
      this.trials.delete(row.name);
      await this.guarded(() => api.del(api.connectionPath(row.name) + (drop.checked ? "?drop=1" : "")));
    }
  }

  // ------------------------------------------------------------ news

  topics() {
    return [...this.trials.values()].flatMap((trial) => trial.topics());
  }

  update(changed) {
    return Promise.all([...this.trials.values()].map((trial) => trial.update(changed)));
  }

  destroy() {
    clearInterval(this.clock);
  }
}

/** The settings of a row, without what was derived. */
function plain(row) {
  const names = ["name", "host", "port", "user", "auth", "key", "remote_root", "mode", "interval", "manifest", "small_only", "large",
    "window", "small_limit", "budget"];
  return Object.fromEntries(names.filter((name) => row[name] !== undefined).map((name) => [name, row[name]]));
}
