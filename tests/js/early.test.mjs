// early.js asks for exactly the modules that a page imports, directly or not.

import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";
import vm from "node:vm";

const STATIC = new URL("../../static/", import.meta.url);

function imported(name, seen = new Set()) {
  if (!seen.has(name)) {
    seen.add(name);
    for (const [, other] of fs.readFileSync(new URL(`${name}.js`, STATIC), "utf8").matchAll(/from "\.\/([\w-]+)\.js"/g)) {
      imported(other, seen);
    }
  }
  return seen;
}

function preloaded(pathname) {
  const links = [];
  const document = {documentElement: {dataset: {}}, head: {append: (link) => links.push(link)}, createElement: () => ({})};
  vm.runInNewContext(fs.readFileSync(new URL("early.js", STATIC), "utf8"), {document, location: {pathname}, localStorage: {getItem: () => "dark"}});
  assert.equal(document.documentElement.dataset.theme, "dark");
  return links.filter(({rel}) => rel === "modulepreload").map(({href}) => href.slice("/static/".length, -".js".length));
}

for (const [path, page] of [["/", "runs"], ["/runs/local:a/b/c", "run"], ["/compare", "compare"], ["/settings", "settings"]]) {
  test(`all modules of ${page} and no others are asked for at once`, () => {
    const wanted = new Set([...imported("app"), ...imported(page)]);
    wanted.delete("app");        // index.html asks for it
    assert.deepEqual(preloaded(path).sort(), [...wanted].sort());
  });
}
