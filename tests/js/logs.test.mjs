// The pure parts of the log panel and of the compare page: terminal colours, marks, differences.

import assert from "node:assert/strict";
import test from "node:test";
import {marked, pieces, plain, searchPattern} from "../../static/run/ansi.js";
import {against, bestOf, configRows, inPercent, metricRows,
  valueRows} from "../../static/charts/difference.js";
import {flattened} from "../../static/shared/flatten.js";

test("colours become classes, everything else of a terminal goes", () => {
  assert.deepEqual(pieces("\x1b[32m✓ done\x1b[0m ok"),
    [{text: "✓ done", class: "a-green"}, {text: " ok", class: ""}]);
  assert.deepEqual(pieces("\x1b[1;91mbad"), [{text: "bad", class: "a-red a-bold"}]);
  assert.equal(plain("\x1b]8;;http://x\x07link\x1b]8;;\x07\x1b[2K\x1b[1Aend\x07\x00"), "linkend");
  assert.equal(pieces("\x1b[38;5;196mred")[0].class, "a-red");
  assert.equal(pieces("\x1b[38;2;20;200;30mgreen")[0].class, "a-green");
  assert.equal(plain("half an escape \x1b["), "half an escape [");
  assert.equal(plain("<img src=x onerror=alert(1)>"), "<img src=x onerror=alert(1)>");
});

test("what is searched is marked, across colours too", () => {
  const found = marked(pieces("lo\x1b[31mss\x1b[0m loss"), searchPattern("loss", false));
  assert.deepEqual(found.map(({text, hit}) => [text, Boolean(hit)]),
    [["lo", true], ["ss", true], [" ", false], ["loss", true]]);
  assert.equal(found[1].class, "a-red");
  assert.equal(searchPattern("(", true), null);
  assert.deepEqual(marked(pieces("a.b"), searchPattern(".", false)).filter(({hit}) => hit)
    .map(({text}) => text), ["."]);
  assert.equal(marked(pieces("abc"), searchPattern("x*", true)).length, 1);
});

const run = (key, metrics, config = {}) =>
  ({key, metrics: Object.entries(metrics)
    .map(([name, [best, last, rule]]) =>
      ({name, last, best: best === null ? null : {value: best, step: 1, rule}})), config, tags: []});

test("the best of a metric is starred by its rule; ties share, one alone has none", () => {
  assert.deepEqual(bestOf([1, 3, 3], "max"), [1, 2]);
  assert.deepEqual(bestOf([0.4, null, 0.3], "min"), [2]);
  assert.deepEqual(bestOf([0.4, null, "NaN"], "min"), []);
  assert.deepEqual(bestOf([2, 2], "max"), []);
});

test("differences are shares of the baseline, points for percentages, and green only where better", () => {
  assert.deepEqual(against("val/loss", 0.5, 1, "min"), {kind: "share", amount: -0.5, better: true});
  assert.deepEqual(against("val/accuracy", 85, 80, "max"), {kind: "points", amount: 5, better: true});
  assert.equal(against("val/accuracy", 0.85, 0.8, "max").kind, "share");
  assert.deepEqual(against("loss", 1, 1, "min"), {kind: "same"});
  assert.deepEqual(against("loss", 1, 0, "min"), {kind: "none"});
  assert.deepEqual(against("loss", "NaN", 1, "min"), {kind: "none"});
  assert.ok(inPercent("val/accuracy", 85.6) && !inPercent("val/accuracy", 0.856) && !inPercent("loss", 85));
});

test("metrics stand side by side, validation first, with gaps for what a run did not log", () => {
  const rows = metricRows([run("a", {"train/loss": [0.3, 0.4, "min"], "val/loss": [0.5, 0.5, "min"]}),
    run("b", {"val/loss": [0.4, 0.6, "min"], epoch: [9, 9, "max"]})]);
  assert.deepEqual(rows.map(({metric}) => metric), ["val/loss", "train/loss", "epoch"]);
  assert.deepEqual(rows[0].best, [0.5, 0.4]);
  assert.deepEqual(rows[0].starred, [1]);
  assert.deepEqual(rows[1].best, [0.3, null]);
  assert.deepEqual(rows[2].starred, []);
});

test("config keys that differ come first; equal ones are known as equal; an absent one differs", () => {
  const rows = configRows([run("a", {}, {model: "r50", opt: {lr: 0.1, wd: 0}, x: [1]}),
    run("b", {}, {model: "r50", opt: {lr: 0.2}, x: [1]})]);
  assert.deepEqual(rows.map(({name, differs}) => [name, differs]),
    [["opt.lr", true], ["opt.wd", true], ["model", false], ["x", false]]);
  assert.deepEqual(valueRows([]), []);
  assert.deepEqual(flattened({a: {b: {c: 1}}, d: {}, e: [2]}), [["a.b.c", 1], ["d", {}], ["e", [2]]]);
});
