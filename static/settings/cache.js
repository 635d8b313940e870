// What the mirrors take on this disk, and cleaning it.

import * as api from "../shared/api.js";
import {fill, h, own, svg} from "../shared/dom.js";
import {state} from "../shared/store.js";
import {ask, bytes, segmented} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

const AGES = [["90", 90], ["30", 30], ["7", 7]];

function bar(cache) {
  const share = cache.limit ? Math.min(1, cache.used / cache.limit) : 0;
  return svg("svg.use", {viewBox: "0 0 1000 8", preserveAspectRatio: "none", role: "img",
    "aria-label": t("settings.cacheUse", {used: fmt.bytes(cache.used), limit: fmt.bytes(cache.limit)})},
    svg("rect", {width: Math.round(share * 1000), height: 8}));
}

/** Cache use in one line, with its cleaning. answer: the last GET /api/connections. */
export function cacheLine(answer) {
  const {cache} = answer;
  if (!cache) {
    return null;
  }
  const names = new Map(answer.connections.map((row) => [row.slug, row.name]));
  const parts = Object.entries(cache.by || {}).sort((a, b) => b[1] - a[1]).slice(0, 4);
  return h("div.cache", {}, h("b", {}, t("settings.cache")), bar(cache),
    h("span", {}, h("b", {}, bytes(cache.used)),
      cache.limit ? [t("settings.cacheOf"), bytes(cache.limit)] : null),
    parts.map(([slug, size]) => h("span.no-s", {}, own(names.get(slug) || slug), " ", bytes(size))),
    h("span.grow"),
    h("button.btn", {type: "button", data: {act: "clean"}, onclick: () => clean()}, t("settings.clean")));
}

/** Ask what to clean, say what that would free, then do it. */
export async function clean() {
  let days = 30;
  const said = h("p.m2", {role: "status"});
  const look = async () => {
    const found = await api.post("/api/cache/clean",
      {older_than: days, connection: null, dry_run: true}).catch((error) => ({message: error.message}));
    fill(said, found.message ? t("common.failed", {message: found.message}) : found.files
      ? t("settings.wouldFree", {n: found.files, size: fmt.bytes(found.bytes)})
      : t("settings.nothingToFree"));
  };
  const choices = AGES.map(([value, n]) => [value, t("settings.days", {n})]);
  look();
  const chosen = await ask(t("settings.cleanTitle"),
    [h("p", {}, t("settings.cleanText")), h("div.rowf", {}, h("span.m2", {}, t("settings.olderThan")),
    segmented(t("settings.olderThan"), choices, "30", (value) => { days = Number(value); look(); })), said],
    [{label: t("common.cancel"), value: ""}, {label: t("settings.cleanDo"), value: "clean", primary: true}]);
  if (chosen) {
    await api.post("/api/cache/clean", {older_than: days, connection: null, dry_run: false})
      .catch((error) => ask(t("settings.cleanTitle"),
        t("common.failed", {message: error.message}),
        [{label: t("common.close"), value: "", primary: true}]));
  }
}

/** Delete a mirror that no connection has, once the reader agreed. */
async function drop(slug, size) {
  const agreed = await ask(t("settings.dropMirrorTitle", {name: slug}),
    t("settings.dropMirrorText", {size: fmt.bytes(size)}),
    [{label: t("common.cancel"), value: ""},
      {label: t("settings.dropMirror"), value: "drop", primary: true}]);
  if (agreed) {
    await api.post("/api/cache/drop", {mirror: slug})
      .catch((error) => ask(t("settings.dropMirrorTitle", {name: slug}),
        t("common.failed", {message: error.message}),
        [{label: t("common.close"), value: "", primary: true}]));
  }
}

/** The tab "Storage and cache". */
export function storage() {
  const answer = state.connections || {connections: [], cache: state.settings?.cache};
  const cache = answer.cache || {used: 0, limit: 0, by: {}};
  const rows = Object.entries(cache.by || {}).sort((a, b) => b[1] - a[1]);
  const of = new Map(answer.connections.map((row) => [row.slug, row]));
  return h("section", {}, h("h1", {}, t("settings.tab.storage")),
    h("table.list", {}, h("thead", {}, h("tr", {}, h("th", {scope: "col"}, t("settings.th.connection")),
      h("th", {scope: "col"}, t("settings.th.mirror")), h("th.num", {scope: "col"}, t("settings.th.runs")),
      h("th.num", {scope: "col"}, t("settings.th.size")))),
      h("tbody", {}, rows.length
        ? rows.map(([slug, size]) => h("tr", {}, h("td", {}, h("b", {}, own(of.get(slug)?.name || slug)),
        of.has(slug) ? null
          : h("div.sub", {}, t(/~\d+$/.test(slug) ? "settings.movedAside" : "settings.removed"), " ",
            h("button.link", {type: "button", data: {drop: slug}, onclick: () => drop(slug, size)}, t("settings.dropMirror")))),
        h("td.mono", {},
          own(of.get(slug)?.folder || `${state.settings?.home || "~/.runicorn"}/cache/${slug}`)),
          h("td.num", {}, fmt.int(of.get(slug)?.runs)), h("td.num", {}, bytes(size))))
          : h("tr", {}, h("td.m2", {colSpan: 4}, t("settings.nothingCached")))),
      h("tfoot", {}, h("tr", {}, h("td", {colSpan: 4}, cacheLine(answer))))),
    h("p.m2.small.lead", {}, t("settings.cacheHow"), " ",
      h("span.mono", {}, "runicorn viewer --cache-size 1GB")));
}
