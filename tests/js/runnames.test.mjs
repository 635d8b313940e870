// Runs of one name are told apart by what they differ in.

import assert from "node:assert/strict";
import test from "node:test";
import {distinctions, fullNames, heads, tailOf, tails} from "../../static/shared/run_names.js";

const run = (key, name, config, more = {}) => (
  {key, name, project: "p", id: `20250101_000000_${key}`, config, ...more});
const words = (runs) => [...distinctions(runs).values()];

test("seeds come first, then what tells most of them apart", () => {
  assert.deepEqual(words([run("aaaaaa", "base", {lr: 1, seed: 1}), run("bbbbbb", "base", {lr: 2, seed: 2})]),
    ["seed=1", "seed=2"]);
  assert.deepEqual(words([run("aaaaaa", "base", {optimizer: {lr: 1}}),
    run("bbbbbb", "base", {optimizer: {lr: 2}})]), ["lr=1", "lr=2"]);
  const crossed = [[1, 1], [1, 2], [2, 1], [2, 2]]
    .map(([seed, lr], at) => run(`aaaaa${at}`, "base", {seed, lr}));
  assert.deepEqual(words(crossed), ["seed=1 lr=1", "seed=1 lr=2", "seed=2 lr=1", "seed=2 lr=2"]);
});

test("projects tell apart, and ids where nothing else does", () => {
  assert.deepEqual(words([run("aaaaaa", "base", {seed: 1}, {project: "a"}),
    run("bbbbbb", "base", {seed: 2}, {project: "b"})]), ["a", "b"]);
  assert.deepEqual(words([run("aaaaaa", "base", {seed: 1}), run("bbbbbb", "base", {seed: 1})]),
    ["aaaaaa", "bbbbbb"]);
  assert.deepEqual(words([run("aaaaaa", "base", null), run("bbbbbb", "base", undefined)]),
    ["aaaaaa", "bbbbbb"]);
  assert.deepEqual(
    words([run("aaaaaa", "base", {seed: 1}), run("bbbbbb", "base", {}), run("cccccc", "base", {})]),
    ["seed=1 aaaaaa", "seed=– bbbbbb", "seed=– cccccc"]);
});

test("a name of its own stays as it is, long values are cut, a row of the list has its columns", () => {
  const runs = [run("aaaaaa", "one", {}), run("bbbbbb", "two", {path: "x".repeat(40)}),
    run("cccccc", "two", {path: "y".repeat(40)})];
  const names = fullNames(runs);
  assert.equal(names.get("aaaaaa"), "one");
  assert.equal(names.get("bbbbbb"), `two path=${"x".repeat(17)}…`);
  assert.deepEqual(words([run("aaaaaa", "base", null, {values: {"config.seed": 4}}),
    run("bbbbbb", "base", null, {values: {"config.seed": 5}})]),
    ["seed=4", "seed=5"]);
  assert.deepEqual(words([]), []);
});

test("long names that begin alike are headed by what follows", () => {
  const named = (names, room = 22) => [
    ...heads(names.map((name, at) => run(`r${at}`, name, {})), room).values()];
  assert.deepEqual(
    named(["vit_small_patch4_warmup6k_mixup0.8", "vit_small_patch4_warmup10k_mixup0.8", "resnet50"]),
    ["…warmup6k_mixup0.8", "…warmup10k_mixup0.8", "resnet50"]);
  assert.deepEqual(named(["resnet50_lr1", "resnet50_lr2"]), ["resnet50_lr1", "resnet50_lr2"]);
  // one name: told apart otherwise
  assert.deepEqual(named(["a".repeat(40), "a".repeat(40)]), ["a".repeat(40), "a".repeat(40)]);
  assert.deepEqual(named(["a".repeat(40), `${"a".repeat(39)}b`]), ["…a", "…b"]);
  assert.deepEqual(named(["a".repeat(30), "a".repeat(40)]), ["a".repeat(30), `…${"a".repeat(10)}`]);
});

test("names that begin and end alike keep the letters between in which they differ", () => {
  const kept = (name) => (name.length >= 16 ? 8 : 0);
  const cuts =
    (...names) => { const found = tails(names, kept); return names.map((name) => found.get(name) ?? null); };
  const long = (middle) => `${"a".repeat(40)}${middle}${"z".repeat(40)}`;
  assert.deepEqual(cuts(long("1"), long("2")), ["…1zzzzzz…", "…2zzzzzz…"]);
  assert.deepEqual(cuts(long("1"), long("1"), long("2")), ["…1zzzzzz…", "…1zzzzzz…", "…2zzzzzz…"]);
  // their ends tell
  assert.deepEqual(cuts(`${"a".repeat(40)}_lr1`, `${"a".repeat(40)}_lr2`), [null, null]);
  // their beginnings tell
  assert.deepEqual(cuts(`one_${"z".repeat(40)}`, `two_${"z".repeat(40)}`), [null, null]);
  assert.deepEqual(cuts("short1zz", "short2zz", long("1")), [null, null, null]);
  const grid = ["lr1_wd1", "lr1_wd2", "lr2_wd1"].map((part) => long(`_${part}_`));
  assert.equal(new Set(cuts(...grid)).size, 3);
  const far = [long(`1${"b".repeat(30)}1`), long(`1${"b".repeat(30)}2`), long(`2${"b".repeat(30)}1`)];
  assert.equal(new Set(cuts(...far)).size, 3);
  // one is the other's beginning: the longer has more
  assert.equal(cuts("a".repeat(60), "a".repeat(50))[0], "…aaaaaaa…");
  const signs = cuts(`${"a".repeat(40)}_seed123`, `${"a".repeat(40)}.seed123`);
  // a tail drops its separator: here it is what differs
  assert.deepEqual(signs, ["…_seed12…", "….seed12…"]);
  assert.deepEqual(cuts(), []);
});

test("the tail over a cut begins with a letter, not with what separates", () => {
  const cuts = [["cutmix1.0_seed9", "…0_seed9"], ["resnet50_lr_-3e-4_x", "…3e-4_x"],
    ["vit_small__warm_01", "…warm_01"], ["学习率扫描 余弦退火", "…余弦退火"]];
  assert.deepEqual(cuts.map(([name]) => tailOf(name, /^[ -~]*$/.test(name) ? 8 : 5)),
    cuts.map(([, tail]) => tail));
  // nothing but separators: one stays
  assert.equal(tailOf("a".repeat(20) + "-".repeat(8), 8), "…-");
});
