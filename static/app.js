// The shell: which page is shown, what it is told, and keys that work everywhere. Pages export mount(root,
// params).

import * as api from "./shared/api.js";
import {go, query, route} from "./shared/address.js";
import {jumped, now} from "./shared/clock.js";
import {fill, h, typing} from "./shared/dom.js";
import {change, recall, recallTicked, setTicked, state, watch} from "./shared/store.js";
import {applyPreferences, drawBar, startBar} from "./shared/topbar.js";
import {ask, closePopover, empty} from "./shared/widgets.js";
import {setLanguage, t} from "./shared/words.js";

const PAGES = {runs: () => import("./runs/page.js"), run: () => import("./run/page.js"),
  compare: () => import("./compare/page.js"), settings: () => import("./settings/page.js")};
const PATIENCE = 1;              // seconds a page may take to update before the next poll starts all the same
// seconds between two polls: a training at 1,000 rows a second must not make 1,000 requests
const REST = 0.1;

let shown = null;                // the page on screen: {path, view}
let settled = null;              // the first answer of the settings: pages are drawn as the reader chose
let turn = 0;                    // counts navigations; a page that arrives late is dropped

function missing(root) {
  fill(root, empty(t("common.notFound"), h("p", {}, h("a.btn", {href: "/"}, t("common.home")))));
  return {};
}

function broken(root, error) {
  console.error(error);
  fill(root, empty(t("common.broken"), h("p", {}, String(error.message || error)),
    h("p", {}, h("button.btn", {type: "button", onclick: () => location.reload()}, t("common.reload")))));
  return {};
}

/** Show the page of the present address; a page that is already there is only told that its query changed. */
async function show({anew = false} = {}) {
  const {page, key} = route(location.pathname);
  const mine = ++turn;
  if (!anew && shown?.path === location.pathname && shown.view.addressed) {
    shown.view.addressed();
    return;
  }
  const coming = page in PAGES ? PAGES[page]().catch((error) => ({mount: (root) => broken(root, error)}))
    : {mount: missing};
  const [code] = await Promise.all([coming, settled]);
  if (mine !== turn) {
    return;
  }
  closePopover();
  shown?.view.unmount?.();
  document.body.dataset.page = page;
  document.title = page in PAGES ? `${t(`top.${page === "run" ? "runs" : page}`)} · Runicorn` : "Runicorn";
  const root = fill(document.getElementById("page"));
  root.className = "";
  try {
    shown = {path: location.pathname, view: code.mount(root, {key, query: query()}) || {}};
  } catch (error) {
    shown = {path: location.pathname, view: broken(root, error)};
  }
  change({});                    // the bar marks the page
  api.pollAnew();                // its topics
}

const topics = () => ["connections", "settings", ...(shown?.view.topics?.() || [])];

async function refresh(changed) {
  if (!changed || changed.has("settings")) {
    await readSettings();
  }
  if (!changed || changed.has("connections")) {
    await readConnections();
  }
  await shown?.view.update?.(changed);
}

async function readSettings() {
  const settings = await api.get("/api/settings");
  change({settings});
  applyPreferences(settings.preferences);
}

async function readConnections() {
  change({connections: await api.get("/api/connections")});
}

// s; an age that is larger is asked about: only the viewer knows whether there was news since
const CURRENT = 1;
const MOVING = new Set(["live", "syncing"]);
let asking = false;

/**
 * What the viewer does not ring for: how fresh each line is, and what its clock shows after ours was set or
 * slept.
 */
async function renewAges() {
  const rows = state.connections?.connections || [];
  const old = jumped() || rows.some((row) => MOVING.has(row.state) && now() - row.last_news > CURRENT);
  if (old && !asking && !state.down) {
    asking = true;
    await readConnections().catch(api.quiet).finally(() => { asking = false; });
  }
}

async function listen() {
  const forever = new AbortController();
  for await (const news of api.news(topics, forever.signal)) {
    if (news.error) {
      const why = news.error.code === "short" ? news.error.message : "";
      change({down: {since: state.down?.since || now(), retryAt: now() + news.retry, why}});
      continue;
    }
    change({down: null, heard: now()});
    if (news.topics.size || news.reset || news.back) {
      await Promise.race([refresh(news.reset || news.back ? null : news.topics).catch(api.quiet),
        api.sleep(PATIENCE)]);
    }
    await api.sleep(REST);
  }
}

/** Links of ours change the page without loading it anew. */
function followLinks(event) {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey
    && !event.defaultPrevented;
  if (!link || !plain || link.target || link.hasAttribute("download")) {
    return;
  }
  const url = new URL(link.href, location.href);
  if (url.origin === location.origin && !url.pathname.startsWith("/api/")) {
    event.preventDefault();
    if (url.href !== location.href) {
      go(url.pathname + url.search);
    }
  }
}

function globalKeys(event) {
  if (typing(event) || event.defaultPrevented) {
    return;
  }
  const does = {
    "?": async () => ask(t("keys.title"), (await import("./shared/shortcuts.js")).keyList(),
      [{label: t("common.close"), value: "close", primary: true}], "listing"),
    g: () => go("/"),
    ",": () => go("/settings"),
  }[event.key];
  if (does) {
    event.preventDefault();
    does();
  }
}

function start() {
  setLanguage(recall("language", "auto"));
  setTicked(recallTicked());
  startBar({redraw: () => show({anew: true}), tryNow: () => api.pollAnew(), renewAges});
  watch(drawBar);
  drawBar();
  document.addEventListener("click", followLinks);
  document.addEventListener("keydown", globalKeys);
  addEventListener("popstate", () => show());
  addEventListener("runicorn:go", () => show());
  settled = readSettings().catch(api.quiet);
  show();
  // the page reads the rest itself
  settled.then(() => refresh(new Set(["connections"]))).catch(api.quiet).finally(listen);
}

start();
