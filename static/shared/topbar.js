// The top bar: pages, the truth about each connection, language, theme. And the notices below it.

import * as api from "./api.js";
import {compareHref} from "./address.js";
import {now} from "./clock.js";
import {h, icon, own, renew} from "./dom.js";
import {change, keepText, remember, state} from "./store.js";
import {ago, banner, countAges, isBlocked, linkLook, menu, reasonText} from "./widgets.js";
import {current, fmt, setLanguage, t} from "./words.js";

const SHOWN = 3, SHOWN_NARROW = 2;      // connections in the bar; the rest behind "n more"
const narrow = globalThis.matchMedia?.("(max-width: 1000px)");       // absent where no page is

let redraw = () => null;         // draws the whole page anew in another language

/** Save preferences here at once and in the viewer. */
export async function prefer(values) {
  change({settings: {...state.settings, preferences: {...state.settings?.preferences, ...values}}});
  applyPreferences(values);
  try {
    await api.patch("/api/settings", {preferences: values});
  } catch (error) {
    console.info(`runicorn: the preference is kept for this browser only: ${error.message}`);
  }
}

/**
 * Use theme and language; draws the page anew when the language changed.
 * @param {{theme?: string, language?: string}} preferences
 */
export function applyPreferences({theme, language} = {}) {
  if (theme) {
    document.documentElement.dataset.theme = theme;
    keepText("theme", theme);    // preload.js reads it before the first paint
  }
  const before = current();
  if (language) {
    remember("language", language);
    setLanguage(language);
  }
  if (current() !== before) {
    redraw();
  }
}

function themeMenu(event) {
  const chosen = state.settings?.preferences?.theme || "auto";
  const labels = {auto: "top.themeAuto", light: "top.themeLight", dark: "top.themeDark"};
  menu(event.currentTarget, Object.entries(labels).map(([theme, label]) =>
    ({label: t(label), checked: chosen === theme, run: () => prefer({theme})})),
      {right: true, label: t("top.theme")});
}

function ageOf(row) {
  return row.last_news ? ago(row.last_news) : h("span.ago");
}

function whyOf(row) {
  const retry = row.retry_at > now() ? t("top.retryIn", {age: fmt.age(Math.ceil(row.retry_at - now()))}) : "";
  return h("span.why.cut", {}, [reasonText(row.reason), retry].filter(Boolean)
    .join(current() === "zh" ? "，" : ", "));
}

function titleOf(row) {
  const news = row.last_news ? t("top.lastNews", {age: fmt.age(now() - row.last_news)}) : "";
  const running = row.running ? t("top.running", {n: row.running}) : "";
  const owner = row.owner && !row.owner.ours ? t("top.owner", {pid: String(row.owner.pid)}) : "";
  return [row.name, reasonText(row.reason), news, running, owner].filter(Boolean).join(" · ");
}

async function reconnect(event) {
  const {connection: name} = event.currentTarget.closest("[data-connection]").dataset;
  await api.post(api.connectionPath(name, "reconnect"))
    .catch((error) => console.info(`runicorn: reconnect ${name}: ${error.message}`));
}

/** What follows the word: age of the last news, progress, or the reason and the way out. */
function detail(row, look, offline) {
  const last = row.last_news ? ageOf(row) : null;
  if (offline || look === "paused" || look === "connecting") {
    return last;
  }
  if (look === "offline" || look === "refused") {
    return [last, whyOf(row), h("button.link", {type: "button", onclick: reconnect}, t("top.reconnect"))];
  }
  if (look === "blocked") {
    return [last, whyOf(row)];
  }
  if (look === "waiting") {
    return h("a.link", {href: "/settings?tab=sync"}, t("top.answer"));
  }
  const done = row.progress && row.progress.files_total > row.progress.files_done;
  return done ? h("span.why", {},
    t("link.syncingOf", {n: row.progress.files_done, m: row.progress.files_total})) : ageOf(row);
}

function connection(row, offline) {
  const [shape, colour, word] = linkLook(row, offline);
  if (state.down) {
    return h("span.conn", {title: t("top.unknown")}, icon("ring"), own(row.name),
      h("span.word.no-s", {}, "?"), ageOf(row));
  }
  return h("span.conn", {class: colour, title: titleOf(row), data: {connection: row.name, state: row.state}},
    icon(shape), h("a.cname", {href: "/settings?tab=sync"}, h("b", {}, own(row.name))),
    h("span.word", {}, t(`link.${word}`)),
      detail(row, word, offline));
}

const TROUBLE = ["waiting", "blocked", "refused", "offline", "syncing", "connecting", "live", "paused"];

function connections() {
  const answer = state.connections;
  if (!answer) {
    return null;
  }
  if (!answer.connections.length) {
    return h("a.conn", {href: "/settings?tab=sync"}, t("top.none"));
  }
  const most = narrow?.matches ? SHOWN_NARROW : SHOWN;
  const place = (row) => TROUBLE.indexOf(isBlocked(row) ? "blocked" : row.state);
  const rows = [...answer.connections]
    .sort((a, b) => (answer.connections.length > most ? place(a) - place(b) : 0));
  const rest = rows.length - most;
  return [rows.slice(0, most).map((row) => connection(row, answer.offline)),
    rest > 0 ? h("a.conn", {href: "/settings?tab=sync"}, t("top.more", {n: rest})) : null];
}

function link(href, page, label, extra) {
  const here = page === document.body.dataset.page
    || (page === "runs" && document.body.dataset.page === "run");
  return h("a", {href, "aria-current": here ? "page" : null}, label, extra);
}

narrow?.addEventListener("change", drawBar);

/** Draw the bar; called at every change of the store. */
export function drawBar() {
  const count = state.ticked.length ? h("span.m3.count", {}, fmt.int(state.ticked.length)) : null;
  renew(document.getElementById("top"),
    h("a.brand", {href: "/"}, icon("brand"), "Runicorn"),
    h("nav.nav", {"aria-label": t("top.pages")},
      link("/", "runs", t("top.runs")), link(compareHref(state.ticked), "compare", t("top.compare"), count),
        link("/settings", "settings", t("top.settings"))),
    h("span.grow"),
    h("div.conns", {"aria-label": t("top.connections"), role: "group"}, connections()),
    h("button.btn.bare", {type: "button", id: "language", title: t("top.languageTitle"),
      lang: current() === "zh" ? "en" : "zh-CN",
      onclick: () => prefer({language: current() === "zh" ? "en" : "zh"})}, t("top.language")),
    h("button.btn.bare.sq", {type: "button", id: "theme", title: t("top.theme"), "aria-label": t("top.theme"),
      "aria-haspopup": "menu", onclick: themeMenu}, icon("theme")),
    h("a.btn.bare.sq", {href: "/settings", id: "gear", title: t("top.settings"),
      "aria-label": t("top.settings")}, icon("gear")));
  drawNotices();
}

function downNotice() {
  const wait = Math.max(0, Math.ceil(state.down.retryAt - now()));
  const {why} = state.down, time = fmt.seconds(state.heard || now());
  return banner("bad", why ? [h("b", {}, why), " ", t("notice.shown", {time})]
    : [h("b", {}, t("notice.down")), " ", t("notice.downMore", {time}), " ",
      h("span.mono", {}, "runicorn viewer")],
  h("span.m2", {}, t("notice.nextTry", {age: fmt.age(wait)})),
    h("button.btn", {type: "button", onclick: () => tryNow()},
      t("notice.tryNow")));
}

/**
 * That this disk takes nothing any more: what a page changes would be refused, and what is read is read again
 * the next time.
 */
function homeNotice() {
  const {path, refusal} = state.connections?.home || {};
  return refusal ? banner("warn", t("notice.home", {path, detail: refusal})) : null;
}

let tryNow = () => null;
let renewAges = () => null;

function drawNotices() {
  const waiting = document.body.dataset.page === "settings" ? []
    : (state.connections?.connections || []).filter((row) => row.state === "waiting" && row.question);
  renew(document.getElementById("notices"),
    state.down ? downNotice() : null,
    !state.down && state.connections?.offline
      ? banner("warn", [t("notice.offline"), " ", h("span.m2", {}, t("notice.offlineHow")), " ",
        h("span.mono", {}, "runicorn viewer")])
        : null,
    state.down ? null : homeNotice(),
    state.down ? null
      : waiting.map((row) => banner("warn",
        t("notice.question", {name: row.name, what: reasonText(row.reason)}),
        h("a.btn", {href: "/settings?tab=sync"}, t("notice.toAnswer")))));
}

function everySecond() {
  if (!document.hidden) {
    drawBar();
    countAges();
    renewAges();
  }
}

/**
 * Start the bar. hooks: {redraw: the language changed, tryNow: ask the viewer again at once, renewAges:
 * called every second}.
 */
export function startBar(hooks) {
  ({redraw, tryNow, renewAges} = hooks);
  setInterval(everySecond, 1000);
}
