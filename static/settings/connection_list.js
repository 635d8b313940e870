// The list of connections on the settings page: state, reason, folder, traffic, and what can be done about
// each.

import * as api from "../shared/api.js";
import {now} from "../shared/clock.js";
import {fill, h, icon, own, renew} from "../shared/dom.js";
import {questionBox, changedKey} from "./question.js";
import {cacheLine} from "./cache.js";
import {Trial, systemOffer} from "./connection_test.js";
import {ask, bones, bytes, isBlocked, linkLook, menu, reasonText, said} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

// as long as "sync now" says that it goes on; the row's state tells the rest
const SYNC_SHOWN_MS = 60000;
const SYNCED_S = 3;
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
  const running = calm && row.running ? t("top.running", {n: row.running}) : "";
  const more = join(calm ? "" : reasonText(row.reason), (calm && doing) || news, running, retry,
    owner);
  return h("td", {}, h("span.st", {class: colour}, icon(shape), t(`link.${word}`)),
    h("div.sub", {title: said(row.reason) || null}, more || "\u00a0"));
}

function folderCell(row) {
  const source = row.source === "manifest" && row.manifest_age != null
    ? t("settings.manifestAge", {age: fmt.age(row.manifest_age)})
    : row.source === "exec" ? t("settings.byExec") : row.source === "walk" ? t("settings.byWalk") : "";
  const mode = row.mode === "auto" ? t("settings.everyS", {n: row.interval}) : t("settings.mode.manual");
  const what = row.large ? t("settings.allFiles") : row.small_only ? "" : t("settings.ownOnly");
  const window = row.window ? t(`settings.window.${row.window}`) : "";
  return h("td", {}, h("span.mono", {}, own(row.remote_root || "")),
    h("div.sub", {title: row.folder}, join(source, mode, what, window)));
}

export class ConnectionList {
  /** page: {edit(row)}. */
  constructor(page) {
    this.page = page;
    this.trials = new Map();     // connection name -> Trial
    this.rows = new Map();       // connection name -> {tr, below, sign}
    // connection name -> when "sync now" was clicked (asking) or answered (done), ms
    this.syncs = new Map();
    this.boxes = new Map();      // question id -> its box, kept while somebody types
    this.body = h("tbody", {}, h("tr", {}, h("td", {colSpan: 6}, bones(1))));
    this.foot = h("tfoot");
    const head = ["connection", "state", "root", "runs",
      "traffic"]
      .map((name) => h("th", {scope: "col", class: ["runs", "traffic"].includes(name) ? "num" : ""},
        t(`settings.th.${name}`)));
    this.problem = h("p.bad.small", {role: "alert", hidden: true});
    this.node = h("div", {},
      h("table.list", {}, h("thead", {},
        h("tr", {}, head, h("th", {scope: "col"}, h("span.vh", {}, t("settings.th.acts"))))), this.body,
      this.foot), this.problem);
    this.clock = setInterval(() => !document.hidden && this.answer && this.show(this.answer), 1000);
  }

  show(answer) {
    this.answer = answer;
    const names = new Set(answer.connections.map((row) => row.name));
    [...this.rows.keys()].filter((name) => !names.has(name)).forEach((name) => this.rows.delete(name));
    const wanted = answer.connections.flatMap((row) => this.place(row, answer.offline));
    const rows = wanted.length ? wanted
      : [h("tr", {}, h("td.m2.none", {colSpan: 6}, t("settings.noConnections")))];
    if (rows.length !== this.body.children.length || rows.some((tr, i) => this.body.children[i] !== tr)) {
      fill(this.body, rows);
    }
    renew(this.foot, h("tr", {}, h("td", {colSpan: 6}, cacheLine(answer))));
  }

  /**
   * The row elements of a connection: its own, and one below for what stands under it. Both stay while the
   * connection does.
   */
  place(row, offline) {
    const held = this.rows.get(row.name) || {tr: h("tr"), below: null, sign: null};
    this.rows.set(row.name, held);
    const sign = JSON.stringify([row.question, row.offer, row.runs === 0, row.reason?.code, row.state,
      this.trials.has(row.name)]);
    if (sign !== held.sign) {
      held.sign = sign;
      held.below = this.below(row);
    }
    held.tr.className = held.below ? "opened" : "";
    Object.assign(held.tr.dataset, {name: row.name, state: row.state});
    renew(held.tr, this.cells(row, offline));
    return held.below ? [held.tr, held.below] : [held.tr];
  }

  cells(row, offline) {
    const through = row.auth === "system" ? t("settings.auth.system") : "";
    const where = `${row.user ? `${row.user}@` : ""}${row.host}${row.port === 22 ? "" : `:${row.port}`}`;
    return [h("td", {}, h("b", {}, own(row.name)), h("div.sub", {}, join(where, through))),
      stateCell(row, offline), folderCell(row), h("td.num", {}, fmt.int(row.runs)),
      h("td.num", {}, bytes(row.traffic?.hour ?? 0),
        h("div.sub", {}, t("settings.now"), " ", this.rate(row))),
      h("td.acts", {}, this.acts(row, offline))];
  }

  /** The row as it is now, for a listener that was made earlier. */
  now(name) {
    return this.answer.connections.find((row) => row.name === name);
  }

  rate(row) {
    const [value, unit] = fmt.size(row.traffic?.rate ?? 0);
    return [value, h("span.u", {}, `${unit}/s`)];
  }

  button(row, act, label) {
    const doing = act === "sync" && this.syncs.get(row.name);
    if (doing) {
      return h("button.btn", {type: "button", data: {act}, disabled: true, "aria-live": "polite"},
        t(doing.done ? "settings.synced" : "settings.syncing"));
    }
    return h("button.btn", {type: "button", data: {act},
      onclick: () => (act === "test" ? this.test(row.name) : this.order(row, act))},
      label);
  }

  acts(row, offline) {
    const broken = row.state === "offline" || row.state === "refused";
    const more = h("button.btn.bare.sq", {type: "button", data: {act: "more"}, "aria-haspopup": "menu",
      "aria-label": t("settings.moreOf", {name: row.name}), title: t("common.more"),
        onclick: (event) => this.menu(event.currentTarget, this.now(row.name))}, icon("more"));
    if (offline) {
      return more;
    }
    if (row.state === "paused" && !isBlocked(row)) {
      return [row.reason?.code === "manual" ? null : this.button(row, "start", t("settings.resume")),
        this.button(row, "sync", t("settings.syncNow")), more];
    }
    return broken ? [this.button(row, "reconnect", t("top.reconnect")),
      this.button(row, "test", t("settings.test")), more]
      : [this.button(row, "pause", t("settings.pause")), this.button(row, "sync", t("settings.syncNow")),
        more];
  }

  menu(anchor, row) {
    menu(anchor, [{label: t("settings.edit"), icon: "edit", run: () => this.page.edit(row)},
      {label: t("settings.testConnection"), icon: "finished", run: () => this.test(row.name)},
      {label: t("top.reconnect"), icon: "reset", run: () => this.order(row, "reconnect")},
      row.state === "paused" && !isBlocked(row)
        ? {label: t("settings.resume"), icon: "running", run: () => this.order(row, "start")}
      : {label: t("settings.pause"), icon: "paused",
      run: () => this.order(row, "pause")},
      null, {label: t("settings.remove"), icon: "x", danger: true, run: () => this.remove(row)}],
        {right: true});
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
        h("div.q", {}, changedKey({...row.reason, host: row.host}))));
    }
    if (row.state === "refused" && row.reason?.code !== "host_key_changed") {
      parts.push(h("div.told", {}, own(said(row.reason)),
        systemOffer(row.reason, () => this.useSystem(row))));
    }
    if (row.offer?.length && !row.runs) {
      parts.push(h("div.offers", {},
        row.offer.map((one) => h("div.rowf", {}, icon("folder", "m2"),
        h("span", {}, t("settings.offer"), " ", own(one.root, {class: "mono"}), " ",
          t("settings.offerRuns", {n: one.runs})),
        h("button.link", {type: "button", data: {act: "offer"}, onclick: () => this.useRoot(row, one.root)},
          t("settings.useIt"))))));
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
    if (act === "sync") {
      return this.syncNow(row.name);
    }
    return this.guarded(() => api.post(api.connectionPath(row.name, act)));
  }

  /** Have it looked at the server, and say so until all that is there is here. */
  async syncNow(name) {
    const say = (doing) => {
      doing ? this.syncs.set(name, doing) : this.syncs.delete(name);
      this.show(this.answer);
    };
    say({done: false});
    await this.guarded(async () => {
      const until = performance.now() + SYNC_SHOWN_MS;
      await api.post(api.connectionPath(name, "sync"));
      let row = null;
      while (performance.now() < until
          && !(row?.up_to_date || ["offline", "refused"]
            .includes(row?.state) || row?.owner?.ours === false)) {
        await api.sleep(0.4);
        this.show(await api.get("/api/connections"));
        row = this.now(name);
      }
      if (row?.up_to_date) {
        say({done: true});
        await api.sleep(SYNCED_S);
      }
    });
    say(null);
  }

  test(name) {
    const row = this.now(name);
    const trial = new Trial(t("settings.test.titleOf", {name: row.name}),
      {offered: (root) => this.useRoot(row, root),
        system: () => this.useSystem(row)});
    this.trials.set(row.name, trial);
    this.rows.get(row.name).sign = null;
    this.show(this.answer);
    return trial.start(plain(row));
  }

  useRoot(row, root) {
    return this.guarded(() => api.post("/api/connections", {...plain(row), remote_root: root, start: true}));
  }

  useSystem(row) {
    this.trials.delete(row.name);
    return this.guarded(() => api.post("/api/connections", {...plain(row), auth: "system", start: true}));
  }

  pauseAll() {
    const running = (this.answer?.connections || []).filter((row) => row.state !== "paused");
    return this.guarded(
      () => Promise.all(running.map((row) => api.post(api.connectionPath(row.name, "pause")))));
  }

  async remove(row) {
    const drop = h("input.tick", {type: "checkbox"});
    const size = this.answer.cache?.by?.[row.slug];
    const chosen = await ask(t("settings.removeTitle", {name: row.name}),
      [h("p", {}, t("settings.removeText")),
        h("label.rowf", {}, drop, t("settings.removeDrop", {size: fmt.bytes(size ?? 0)}))],
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
  const names = ["name", "host", "port", "user", "auth", "key", "remote_root", "mode", "interval", "manifest",
    "small_only", "large", "window", "small_limit", "budget"];
  return Object.fromEntries(names.filter((name) => row[name] !== undefined).map((name) => [name, row[name]]));
}
