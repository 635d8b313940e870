// preload.js asks for exactly the modules that a page imports, directly or not.

import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";
import vm from "node:vm";

const STATIC = new URL("../../static/", import.meta.url);

function imported(name, seen = new Set()) {
  if (!seen.has(name)) {
    seen.add(name);
    const here = new URL(`${name}.js`, STATIC);
    for (const [, other] of fs.readFileSync(here, "utf8").matchAll(/from "(\.[\w./-]+)\.js"/g)) {
      imported(new URL(other, here).href.slice(STATIC.href.length), seen);
    }
  }
  return seen;
}

function preloaded(pathname, search = "") {
  const links = [];
  const asked = [];
  const document = {documentElement: {dataset: {}}, head: {append: (link) => links.push(link)},
    createElement: () => ({}),
    currentScript: {src: "http://127.0.0.1/static/12345678/preload.js"}};
  const storage = {"runicorn.theme": "dark"};
  vm.runInNewContext(fs.readFileSync(new URL("preload.js", STATIC), "utf8"),
    {document, URLSearchParams, location: {pathname, search},
      localStorage: {getItem: (name) => storage[name] ?? null}, fetch: async (path) => asked.push(path)});
  assert.equal(document.documentElement.dataset.theme, "dark");
  const modules = links.filter(({rel}) => rel === "modulepreload")
    .map(({href}) => href.slice("http://127.0.0.1/static/12345678/".length, -".js".length));
  return {modules, asked};
}

for (const [path, page] of [["/", "runs"], ["/runs/local:a/b/c", "run"], ["/compare", "compare"],
  ["/settings", "settings"]]) {
  test(`all modules of ${page} and no others are asked for at once`, () => {
    const wanted = new Set([...imported("app"), ...imported(`${page}/page`)]);
    wanted.delete("app");        // index.html asks for it
    assert.deepEqual(preloaded(path).modules.sort(), [...wanted].sort());
  });
}

test("the first answer of the list, of a run and of compared runs is asked for before their modules are here",
() => {
  assert.deepEqual(preloaded("/").asked,
    ["/api/runs?sort=-started&spark=1&partial=1&offset=0&limit=50", "/api/settings"]);
  assert.deepEqual(preloaded("/runs/local:a/b/c").asked, ["/api/runs/local:a/b/c", "/api/settings"]);
  assert.deepEqual(preloaded("/compare", "?runs=local:a/b/c,local:a/b/d").asked,
    ["/api/details?run=local%3Aa%2Fb%2Fc", "/api/settings"]);
  assert.deepEqual(preloaded("/settings").asked, ["/api/settings"]);
});
