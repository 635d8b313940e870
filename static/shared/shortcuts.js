// The list of keys: shown by "?" and on the settings page.

import {h} from "./dom.js";
import {t} from "./words.js";

/** @type {[string, [string, string][]][]} title, [keys, what they do] */
const KEYS = [
  ["keys.everywhere", [["?", "keys.all"], ["g", "keys.home"], [",", "keys.settings"], ["Esc", "keys.back"]]],
  ["keys.list", [["j k ↓ ↑", "keys.move"], ["Home End", "keys.ends"], ["x", "keys.tick"],
    ["Shift+x", "keys.range"], ["c", "keys.compare"],
    ["Enter", "keys.open"], ["/", "keys.filter"], ["e", "keys.edit"]]],
  ["keys.run", [["[ ]", "keys.neighbours"], ["s", "keys.smooth"], ["l", "keys.log"], ["f", "keys.full"]]],
];

/** All keys by page, as nodes. */
export function keyList() {
  const row = ([key, what]) => h("div", {}, h("dt", {}, key.split(" ").map((one) => h("kbd.kbd", {}, one))),
    h("dd", {}, t(what)));
  return h("div.keys", {},
    KEYS.map(([title, rows]) => h("section", {}, h("h2", {}, t(title)), h("dl", {}, rows.map(row)))));
}
