// Choose a folder on the server: a modal list, one level at a time.

import * as api from "../shared/api.js";
import {fill, h, icon, own} from "../shared/dom.js";
import {bones} from "../shared/widgets.js";
import {t} from "../shared/words.js";

/** Open at connection.remote_root; resolves to the chosen path or null. */
export function browse(connection) {
  return new Promise((resolve) => new Browser(connection, resolve));
}

class Browser {
  constructor(connection, resolve) {
    this.connection = connection;
    this.turn = 0;
    this.path = h("div.crumbs.mono");
    this.list = h("ul.folders", {tabIndex: -1});
    this.verdict = h("p.small", {"aria-live": "polite"});
    this.choose = h("button.btn.pri", {type: "submit", value: "choose", disabled: true},
      t("settings.browse.choose"));
    const form = h("form", {method: "dialog"},
      h("h2", {}, t("settings.browse.title", {name: connection.name || connection.host})),
      this.path, this.list, this.verdict,
      h("div.rowf.end", {}, h("span.grow.m3.tiny", {}, t("settings.browse.note")),
        h("button.btn", {type: "submit", value: ""}, t("common.cancel")), this.choose));
    this.box = h("dialog.ask-box.wide",
      {"aria-label": t("settings.browse.title", {name: connection.name || connection.host}),
        onclose: () => { this.box.remove(); this.turn += 1; resolve(this.box.returnValue === "choose"
          ? this.here : null); }}, form);
    document.body.append(this.box);
    this.box.showModal();
    this.open(connection.remote_root || "~", true);
  }

  async open(path, first = false) {
    const turn = ++this.turn;
    this.choose.disabled = true;
    fill(this.verdict);
    fill(this.list, bones(6).map((bone) => h("li", {}, bone)));
    try {
      const found = await api.post("/api/connections/browse", {...this.connection, path});
      if (turn === this.turn) {
        this.show(found);
      }
    } catch (error) {
      if (turn === this.turn) {
        this.fail(error, first, path);
      }
    }
  }

  fail(error, first, path) {
    if (first && path !== "~" && error.code !== "unreachable") {
      this.open("~");             // the folder chosen before may not exist: begin at home
      return;
    }
    fill(this.list, h("li.bad", {role: "alert"}, icon("failed"), own(error.message)),
      this.here
        ? h("li", {}, h("button.item", {type: "button", onclick: () => this.open(this.here)}, icon("reset"),
        t("settings.browse.back"))) : null);
  }

  show(found) {
    this.here = found.path;
    this.choose.disabled = false;
    this.crumbs(found.path);
    const counted = (one, text) => h("span.small.m2", {}, one.least ? t("settings.browse.least", {text}) : text);
    const into = (name) => `${found.path.replace(/\/$/, "")}/${name}`;
    fill(this.list,
      found.parent
        ? h("li", {}, h("button.item", {type: "button", onclick: () => this.open(found.parent)}, icon("up"),
          "..")) : null,
      found.folders.map((one) => h("li", {},
        h("button.item", {type: "button", onclick: () => this.open(into(one.name))}, icon("folder"),
          own(one.name, {class: "cut grow"}),
          one.runs ? h("b.small", {}, t("settings.offerRuns", {n: one.runs}))
            : one.inside ? counted(one, t("settings.browse.inside", {n: one.inside})) : null,
          one.others ? counted(one, t("settings.browse.others", {n: one.others})) : null))),
      found.folders.length ? null : h("li.m3.none", {}, t("settings.browse.empty")));
    const what = found.others ? "hasOthers" : found.runs ? "has"
      : found.runs === 0 && !found.least ? "hasNone" : "unknown";
    fill(this.verdict, what === "hasNone"
      ? h("span.warn", {}, icon("warn"), " ", t("settings.browse.hasNone"))
      : [t(`settings.browse.${what}`, found.others ? {runs: found.runs, n: found.others} : {n: found.runs}),
        found.least && what !== "unknown" ? ` ${t("settings.browse.more")}` : ""]);
    fill(this.choose, t(what === "hasNone" ? "settings.browse.chooseEmpty" : "settings.browse.choose"));
    this.list.querySelector("button")?.focus();
  }

  crumbs(path) {
    const parts = path.split("/").filter(Boolean);
    fill(this.path, h("button.link", {type: "button", onclick: () => this.open("/")}, "/"),
      parts.map((part, i) =>
        [h("button.link", {type: "button", onclick: () => this.open(`/${parts.slice(0, i + 1).join("/")}`)},
          own(part)), i < parts.length - 1 ? "/" : null]));
  }
}
