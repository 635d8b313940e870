// The settings: remote sync, storage, appearance and language, keys, about. One tab at a time, named in the
// address.

import {change as changeAddress, query} from "../shared/address.js";
import {ConnectForm} from "./connection_form.js";
import {ConnectionList} from "./connection_list.js";
import {fill, h, own, renew} from "../shared/dom.js";
import {keyList} from "../shared/shortcuts.js";
import {state, watch} from "../shared/store.js";
import {storage} from "./cache.js";
import {Rules} from "./rules.js";
import {prefer} from "../shared/topbar.js";
import {segmented} from "../shared/widgets.js";
import {t} from "../shared/words.js";

const TABS = ["sync", "rules", "storage", "appearance", "keyboard", "about"];

class SettingsPage {
  constructor(root) {
    this.nav = h("nav.side", {"aria-label": t("top.settings")});
    this.main = h("div.main", {tabIndex: 0, role: "region", "aria-label": t("top.settings")});
    root.classList.add("set");
    fill(root, this.nav, this.main);
    this.drawn = false;          // with the settings in it
    this.unwatch = watch(() => this.changed());
    this.addressed();
  }

  addressed() {
    const wanted = query();
    this.tab = TABS.includes(wanted.tab) ? wanted.tab : "sync";
    fill(this.nav, h("h2", {}, t("top.settings")),
      TABS.map((tab) =>
        h("a", {href: `/settings?tab=${tab}`, "aria-current": tab === this.tab ? "page" : null},
        t(`settings.tab.${tab}`))));
    this.form?.destroy();
    this.form = null;
    this.list?.destroy();
    this.list = null;
    this.ruleForm = null;
    this[this.tab]();
    if (this.tab === "sync" && (wanted.add || state.connections?.connections.length === 0)) {
      this.openForm(null);
    }
  }

  // ------------------------------------------------------------ remote sync

  sync() {
    this.pauseAll = h("button.btn", {type: "button", onclick: () => this.list.pauseAll()},
      t("settings.pauseAll"));
    const add = h("button.btn", {type: "button", onclick: () => this.openForm(null)}, t("top.add"));
    this.list = new ConnectionList({edit: (row) => this.openForm(row)});
    this.formPlace = h("div");
    fill(this.main, h("section", {},
      h("h1", {}, t("settings.tab.sync"), h("span.grow.m2.small", {}, t("settings.readOnly")), this.pauseAll,
        add), this.list.node), this.formPlace);
    this.changed();
  }

  openForm(row) {
    this.form?.destroy();
    this.form = new ConnectForm(row,
      {hosts: state.connections?.hosts || [], close: () => this.closeForm(), saved: () => this.closeForm()});
    fill(this.formPlace, this.form.node);
    if (state.connections?.connections.length) {
      this.form.node.scrollIntoView({block: "nearest"});
      this.form.focus();
    }
  }

  closeForm() {
    this.form?.destroy();
    this.form = null;
    fill(this.formPlace);
    changeAddress({add: null});
  }

  // ------------------------------------------------------------ the other tabs

  rules() {
    if (!this.ruleForm) {
      const {root, file} = query();
      this.ruleForm = new Rules({root, file});
      fill(this.main, this.ruleForm.node);
    }
  }

  storage() {
    renew(this.main, storage());
  }

  appearance() {
    const chosen = state.settings?.preferences || {};
    const themes = [["auto", t("top.themeAuto")], ["light", t("top.themeLight")],
      ["dark", t("top.themeDark")]];
    const languages = [["auto", t("settings.languageAuto")], ["en", "English"], ["zh", "中文"]];
    fill(this.main, h("section", {}, h("h1", {}, t("settings.tab.appearance")),
      h("div.form", {}, h("span.l", {}, t("top.theme")),
        segmented(t("top.theme"), themes, chosen.theme || "auto",
          (theme) => prefer({theme})),
        h("span.l", {}, t("settings.language")),
        segmented(t("settings.language"), languages, chosen.language || "auto",
          (language) => prefer({language})),
        h("span"), h("p.m3.small", {}, t("settings.languageNote")))));
  }

  keyboard() {
    fill(this.main, h("section", {}, h("h1", {}, t("settings.tab.keyboard")), keyList()));
  }

  about() {
    const settings = state.settings || {};
    const fact = (name, ...content) => [h("span.l", {}, t(`settings.about.${name}`)), h("span", {}, content)];
    fill(this.main, h("section", {}, h("h1", {}, `Runicorn ${settings.version || ""}`),
      h("p.m2.lead", {}, t("settings.about.what")),
      h("div.form.facts-list", {}, fact("home", h("span.mono", {}, own(settings.home || ""))),
        fact("roots", (settings.roots || []).map((root) => h("div.mono", {}, own(root.path)))),
        fact("log", h("span.mono", {}, own(`${settings.home || "~/.runicorn"}/logs/sync.log`))),
        fact("api", h("a", {href: "/api", target: "_blank"}, "/api"), " ",
          h("span.m3", {}, t("settings.about.apiNote"))),
        fact("never", t("settings.about.neverText")))));
  }

  // ------------------------------------------------------------ news

  changed() {
    if (this.list && state.connections) {
      this.list.show(state.connections);
      this.pauseAll.hidden = state.connections.offline
        || !state.connections.connections.some((row) => row.state !== "paused");
      if (!state.connections.connections.length && !this.form && this.tab === "sync") {
        this.openForm(null);
      }
      this.form?.offerHosts(state.connections.hosts || []);
    }
    const first = state.settings && !this.drawn;
    this.drawn ||= Boolean(state.settings);
    if (this.tab === "storage" || (first && this.tab !== "sync")) {
      this[this.tab]();
    }
  }

  topics() {
    return this.form?.topics() || this.list?.topics() || [];
  }

  async update(changed) {
    await Promise.all([this.form?.update(changed), this.list?.update(changed)]);
  }

  unmount() {
    this.unwatch();
    this.form?.destroy();
    this.list?.destroy();
  }
}

export function mount(root) {
  return new SettingsPage(root);
}
