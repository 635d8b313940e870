// The form that adds or changes a connection, in three steps: server, folder, what to sync; the test stands
// beside it.

import * as api from "../shared/api.js";
import {browse} from "./folder_browser.js";
import {fill, h, icon, own} from "../shared/dom.js";
import {Trial} from "./connection_test.js";
import {menu, segmented} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

const PAUSE = 400;               // ms after the last change before the plan is asked for
const FRESH = {name: "", host: "", port: 22, user: "", auth: "key", key: "",
  remote_root: "~/.runicorn/experiments", mode: "auto", interval: 30,
               manifest: true, small_only: true, large: false, window: null};

/** What is wrong with a connection before anybody is asked: {field: word key}. Pure. */
export function problems(values) {
  const found = {};
  if (!values.host) {
    found.host = "settings.need.host";
  } else if (/[\s'"`$;&<>|(){}]|^-/.test(values.host)) {
    found.host = "settings.need.plainHost";
  }
  if (!(Number.isInteger(values.port) && values.port > 0 && values.port < 65536)) {
    found.port = "settings.need.port";
  }
  if (!(Number.isInteger(values.interval) && values.interval > 0 && values.interval <= 86400)) {
    found.interval = "settings.need.interval";
  }
  return found;
}

/** A host pasted as user@host:port, ssh://user@host:port/ or [address]: {host, user, port} of what it names; null for any other. Pure. */
export function apart(text) {
  const found = /^(?:(?:ssh|sftp):\/\/)?(?:([^@:/\s]+)@)?(\[[^\]]+\]|[^@:/\s[\]]+)(?::(\d{1,5}))?\/?$/.exec(
    text);
  const host = found?.[2].replace(/^\[|\]$/g, "");
  return found && host !== text
    ? {host, ...(found[1] && {user: found[1]}), ...(found[3] && {port: Number(found[3])})} : null;
}

/** The recommended choice says so. */
function recommended(so, words) {
  return so ? [words, h("span", {}, t("settings.recommended"))] : words;
}

export class ConnectForm {
  /** row: the connection that is changed, or null. page: {hosts, close(), saved(row)}. */
  constructor(row, page) {
    this.row = row;
    this.page = page;
    this.hosts = page.hosts;
    this.values = {...FRESH,
      ...(row ? Object.fromEntries(Object.keys(FRESH).map((name) => [name, row[name]])) : {})};
    this.named = Boolean(row);
    this.trial = new Trial(t("settings.test.title"),
      {finished: (state) => this.tested(state), offered: (root) => this.takeRoot(root),
        system: () => this.takeSystem()});
    this.build();
    this.askPlan();
  }

  build() {
    const title = this.row ? t("settings.change", {name: this.row.name}) : t("top.add");
    this.form = h("form.form",
      {onsubmit: (event) => { event.preventDefault(); this.save(true); }, autocomplete: "off"}, this.server(),
      this.folder(), this.content(), this.buttons());
    this.node = h("section.sec2", {}, h("h2", {}, title), h("div.two", {}, this.form, this.trial.node));
    this.showAuth();
  }

  input(name, attributes = {}, numeric = false) {
    const read = (event) => {
      const text = event.target.value.trim();
      this.values[name] = numeric ? Number(text || NaN) : text;
      event.target.removeAttribute("aria-invalid");
      this.askPlan();
    };
    return h("input.inp", {id: `f-${name}`, value: this.values[name] ?? "", oninput: read,
      spellcheck: "false", autocomplete: "off", maxlength: 500, ...attributes,
      ...(numeric ? {inputmode: "numeric", class: "num w1"} : {})});
  }

  label(name, key = name) {
    return h("label", {for: `f-${name}`}, t(`settings.f.${key}`));
  }

  // ------------------------------------------------------------ 1. server

  server() {
    this.hostsButton = h("button.link.small",
      {type: "button", "aria-haspopup": "menu", onclick: () => this.pickHost()});
    this.offerHosts(this.hosts);
    this.name = this.input("name",
      {oninput: (event) => { this.values.name = event.target.value.trim(); this.named = true; },
        placeholder: "GPU Server 1", disabled: Boolean(this.row)});
    this.host = this.input("host",
      {placeholder: "gpu-server.example.com", list: "hosts", onchange: () => this.hostTyped()});
    const kinds = ["key", "password", "agent", "system"]
      .map((auth) => [auth, recommended(auth === "key", t(`settings.auth.${auth}`)),
        t(`settings.auth.${auth}Title`)]);
    this.hostList = h("datalist", {id: "hosts"},
      this.hosts.map(
        (one) => h("option", {value: one.host}, `${one.user || ""}@${one.hostname || one.host}`)));
    return [h("div.step", {}, h("h3", {}, t("settings.step1")), this.hostsButton), this.hostList,
      this.label("name"), this.name,
      this.label("host"), h("div.rowf", {}, this.host, h("label.m2", {for: "f-port"}, t("settings.f.port")),
        this.input("port", {}, true)),
      this.label("user"), this.input("user", {placeholder: t("settings.userHint")}),
      h("span.l", {}, t("settings.f.auth")),
      this.auths = segmented(t("settings.f.auth"), kinds, this.values.auth,
        (auth) => { this.values.auth = auth; this.showAuth(); }),
      this.authRow(), h("span"), this.testRow()];
  }

  authRow() {
    this.passphrase = h("input.inp.w2",
      {id: "f-passphrase", type: "password", autocomplete: "off", placeholder: t("settings.passphrase"),
        "aria-label": t("settings.passphrase")});
    this.password = h("input.inp",
      {id: "f-password", type: "password", autocomplete: "off", placeholder: this.row?.has_password
        ? t("settings.passwordKept") : ""});
    this.authLabel = h("label");
    this.authPlace = h("div.rowf");
    return [this.authLabel, this.authPlace];
  }

  showAuth() {
    const {auth} = this.values;
    const field = {key: "key", password: "password", system: this.values.key && "key"}[auth];
    this.authLabel.htmlFor = field ? `f-${field}` : "";
    fill(this.authLabel, field ? t(`settings.f.${field}`) : "");
    fill(this.authPlace, auth === "key"
      ? [this.input("key", {class: "mono", placeholder: t("settings.keyHint")}), this.passphrase]
      : auth === "password" ? [this.password, h("span.m3.tiny.keep", {}, t("settings.memoryOnly"))]
      : [field ? this.input("key", {class: "mono"}) : null,
        h("span.m3.small", {}, t(`settings.auth.${auth}Title`))]);
  }

  testRow() {
    this.testButton = h("button.btn", {type: "button", id: "test-connection", onclick: () => this.test()},
      t("settings.testConnection"));
    this.verdict = h("span.small.verdict", {role: "status"});
    return h("div.rowf", {}, this.testButton, this.verdict);
  }

  offerHosts(hosts) {
    this.hosts = hosts;
    this.hostsButton.hidden = hosts.length === 0;
    fill(this.hostsButton, t("settings.hosts", {n: hosts.length}));
    if (this.hostList) {
      fill(this.hostList,
        hosts.map((one) => h("option", {value: one.host}, `${one.user || ""}@${one.hostname || one.host}`)));
    }
  }

  pickHost() {
    menu(this.hostsButton,
      this.hosts.map((one) => ({label: [h("b", {}, own(one.host)),
      h("span.m3", {}, [one.user ? `${one.user}@` : "", one.hostname || one.host,
      one.port && one.port !== 22 ? `:${one.port}` : "",
      one.jump ? ` ${t("settings.through", {jump: one.jump})}` : ""])],
      run: () => this.takeHost(one)})));
  }

  hostTyped() {
    /** @type {Object<string, any>} */
    const parts = apart(this.values.host) || {};
    // what was typed beside it and differs stays: Test and Save ask which is right
    const fits = Object.entries(parts)
      .every(([name, value]) => name === "host" || [value, FRESH[name]].includes(this.values[name]));
    const host = fits && parts.host || this.values.host;
    const known = this.hosts.find((one) => one.host === host);
    if (known) {
      this.takeHost(known);
    }
    if (fits) {
      Object.entries(parts).forEach(([name, value]) => this.set(name, value));
    }
    if (!known && !this.named) {
      this.set("name", host);
    }
  }

  /**
   * A host of ~/.ssh/config fills the fields it knows; its own options (jump, proxy …) are read from there
   * when connecting.
   */
  takeHost(one) {
    this.set("host", one.host);
    this.set("port", one.port || 22);
    this.set("user", one.user || "");
    if (!this.named) {
      this.set("name", one.host);
    }
    this.values.key = one.key || this.values.key;
    this.showAuth();
    this.testButton.focus();
  }

  set(name, value) {
    this.values[name] = value;
    const field = this.form.querySelector(`#f-${name}`);
    if (field) {
      field.value = value;
    }
  }

  // ------------------------------------------------------------ 2. folder

  folder() {
    this.root = this.input("remote_root", {id: "f-root", class: "mono"});
    return [h("div.step", {}, h("h3", {}, t("settings.step2"))),
      h("label", {for: "f-root"}, t("settings.f.root")),
      h("div.rowf", {}, this.root,
        h("button.btn", {type: "button", id: "browse", onclick: () => this.browse()}, icon("folder"),
          t("settings.browse")))];
  }

  async browse() {
    const chosen = this.valid() && await browse(this.filled());
    if (chosen) {
      this.takeRoot(chosen);
    }
  }

  takeRoot(root) {
    this.values.remote_root = root;
    this.root.value = root;
    this.askPlan();
  }

  /** Log in by this computer's own ssh, and see whether that gets in. */
  takeSystem() {
    this.values.auth = "system";
    this.auths.choose("system");
    this.showAuth();
    return this.test();
  }

  // ------------------------------------------------------------ 3. what to sync

  content() {
    const box = (name, label) => h("label", {},
      h("input.tick", {type: "checkbox", id: `f-${name}`, checked: this.values[name],
      onchange: (event) => { this.values[name] = event.target.checked; this.linked(name); this.askPlan(); }}),
      t(label));
    const modes = [["auto", recommended(true, t("settings.mode.auto"))],
      ["manual", t("settings.mode.manual"), t("settings.mode.manualTitle")]];
    const windows = [["", t("settings.window.all")], ["7d", t("settings.window.7d")],
      ["24h", t("settings.window.24h")]];
    this.every = h("span.rowf", {}, h("label.m2", {for: "f-interval"}, t("settings.f.interval")),
      this.input("interval", {}, true), h("span.m2", {}, t("settings.seconds")));
    this.every.hidden = this.values.mode !== "auto";
    this.plan = h("div.small.m2.plan", {role: "status"});
    return [h("div.step", {}, h("h3", {}, t("settings.step3"))),
      h("span.l", {}, t("settings.f.mode")),
        h("div.rowf", {}, segmented(t("settings.f.mode"), modes, this.values.mode,
        (mode) => { this.values.mode = mode; this.every.hidden = mode !== "auto"; }), this.every),
      h("span.l.top-l", {}, t("settings.f.content")), h("div.stack", {}, box("manifest", "settings.manifest"),
        box("small_only", "settings.smallOnly"), box("large", "settings.large")),
      h("span.l", {}, t("settings.f.window")),
      segmented(t("settings.f.window"), windows, this.values.window || "",
        (window) => { this.values.window = window || null; this.askPlan(); }),
      h("span"), this.plan];
  }

  /** Large files and "small files only" exclude each other. */
  linked(name) {
    const other = {small_only: "large", large: "small_only"}[name];
    if (other && this.values[name]) {
      this.values[other] = false;
      this.form.querySelector(`#f-${other}`).checked = false;
    }
  }

  askPlan() {
    clearTimeout(this.planning);
    this.planning = setTimeout(() => this.showPlan(), PAUSE);
  }

  async showPlan() {
    if (!this.values.host || Object.keys(problems(this.values)).length || !(this.row || this.tried)) {
      fill(this.plan);
      return;
    }
    // no estimate is no obstacle
    const plan = await api.post("/api/connections/plan", this.filled()).catch(() => null);
    fill(this.plan, plan ? t("settings.plan", {n: plan.files, size: fmt.bytes(plan.bytes)}) : "");
  }

  // ------------------------------------------------------------ acts

  buttons() {
    this.problem = h("p.bad.small.wide", {role: "alert", hidden: true});
    return [h("span"),
      h("div.rowf.endf", {}, h("button.btn.pri", {type: "submit", id: "save-start"}, t("settings.saveStart")),
        h("button.btn", {type: "button", id: "save-only", onclick: () => this.save(false)},
          t("settings.saveOnly")),
        h("button.btn.bare", {type: "button", onclick: () => this.page.close()}, t("common.cancel"))),
      h("span"), this.problem];
  }

  /** The connection as the API takes it, secrets only when given. */
  filled() {
    const {auth, key, host, name} = this.values;
    const secret = auth === "password" ? {password: this.password.value} : auth === "key"
      ? {passphrase: this.passphrase.value} : {};
    return {...this.values, name: name || host, key: ["key", "system"].includes(auth) ? key || null : null,
      remote_root: this.values.remote_root
      || FRESH.remote_root,
      ...Object.fromEntries(Object.entries(secret).filter(([, value]) => value))};
  }

  valid() {
    const found = problems(this.values);
    for (const name of ["host", "port", "interval"]) {
      this.form.querySelector(`#f-${name}`)?.[found[name] ? "setAttribute" : "removeAttribute"](
        "aria-invalid", "true");
    }
    const first = Object.keys(found)[0];
    this.problem.hidden = !first;
    fill(this.problem, first ? t(found[first]) : "");
    if (first) {
      this.form.querySelector(`#f-${first}`).focus();
    }
    return !first;
  }

  async test() {
    if (!this.valid()) {
      return;
    }
    this.testButton.disabled = true;
    fill(this.verdict, h("span.m2", {}, t("settings.testing")));
    await this.trial.start(this.filled());
  }

  tested(state) {
    this.testButton.disabled = false;
    this.tried = true;
    fill(this.verdict, state.ok ? h("b.ok", {}, t("settings.test.ok"))
      : h("span.bad", {}, icon("failed"), " ", t("settings.test.failed")));
    this.showPlan();
  }

  async save(start) {
    if (!this.valid()) {
      return;
    }
    try {
      const row = await api.post("/api/connections", {...this.filled(), start});
      this.page.saved(row);
    } catch (error) {
      this.problem.hidden = false;
      fill(this.problem, t("common.failed", {message: error.message}));
    }
  }

  focus() {
    (this.row ? this.root : this.host).focus({preventScroll: true});
  }

  topics() {
    return this.trial.topics();
  }

  async update(changed) {
    await this.trial.update(changed);
    if (this.trial.state?.question && !this.trial.state.done) {
      fill(this.verdict, h("span.warn", {}, icon("ask"), " ", t("settings.test.waits")));
    }
  }

  destroy() {
    clearTimeout(this.planning);
  }
}
