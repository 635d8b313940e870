// The pure parts of the run list: slices, group heads, columns, sparklines, addresses, news marks.

import assert from "node:assert/strict";
import test from "node:test";
import {joinList, encodeKey, queryText, route, splitList} from "../../static/shared/address.js";
import {older, parameters} from "../../static/shared/api.js";
import {defaultColumns, fitting} from "../../static/runs/columns.js";
import {apart, problems} from "../../static/settings/connection_form.js";
import {pickMetrics} from "../../static/runs/curve_panel.js";
import {parseTags} from "../../static/shared/tag_editor.js";
import {reordered} from "../../static/runs/loader.js";
import {arrange, BLOCK, Slices} from "../../static/runs/slices.js";
import {HEIGHT, sparkPath, WIDTH} from "../../static/runs/sparkline.js";
import {report} from "../../static/settings/connection_test.js";

function far(total) {
  const asked = [];
  const fetchBlock = async (offset, limit) => {
    asked.push(offset);
    return {matched: total, runs: Array.from({length: Math.max(0, Math.min(limit, total - offset))},
      (_, i) => ({key: `k${offset + i}`}))};
  };
  return {asked, fetchBlock};
}

test("of a list scrolled to its end so many rows are kept as are near, and those in sight always",
async () => {
  const {asked, fetchBlock} = far(100_000);
  const slices = new Slices(fetchBlock);
  for (let first = 0; first < 99_000; first += 40) {
    await slices.want(first, first + 40);
    assert.ok(slices.row(first) && slices.row(first + 40), String(first));
  }
  assert.ok(slices.rows.size <= 5000, String(slices.rows.size));
  assert.equal(slices.row(0), undefined);
  const before = asked.length;
  await slices.want(0, 30);
  assert.equal(slices.row(30).key, "k30");
  assert.equal(asked.length, before + 1);
});

test("slices ask for what is in sight, once", async () => {
  const {asked, fetchBlock} = far(10_000);
  const slices = new Slices(fetchBlock);
  await slices.want(0, 30);
  await Promise.all([slices.want(BLOCK - 5, BLOCK + 20), slices.want(BLOCK - 5, BLOCK + 20)]);
  assert.deepEqual(asked, [0, BLOCK]);
  assert.equal(slices.row(BLOCK + 3).key, `k${BLOCK + 3}`);
  assert.equal(await slices.want(0, BLOCK), false);
  slices.outdate();
  await slices.want(9_990, 20_000);
  assert.equal(asked.length, 3);
  assert.equal(slices.row(9_999).key, "k9999");
  assert.equal(slices.indexOf("k9999"), 9_999);
});

test("rows that came in above shift the slices until they are let in", async () => {
  const {fetchBlock} = far(100);
  const slices = new Slices(fetchBlock);
  await slices.want(0, 10);
  slices.skew = 3;
  slices.outdate();
  await slices.want(0, 10);
  assert.equal(slices.row(0).key, "k3");
  assert.equal(slices.total, 97);
});

test("group heads stand among the rows; a folded group hides its own", () => {
  const groups = [{value: "a", count: 2}, {value: "b", count: 3}, {value: "c", count: 1}];
  const open = arrange(6, groups);
  assert.equal(open.count, 9);
  assert.deepEqual([0, 1, 3, 8].map((line) => open.at(line).row ?? open.at(line).group.value),
    ["a", 0, "b", 5]);
  const folded = arrange(6, groups, new Set(["b"]));
  assert.equal(folded.count, 6);
  assert.deepEqual([0, 1, 2, 3, 5].map((row) => folded.lineOf(row)), [1, 2, -1, -1, 5]);
  for (let line = 0; line < open.count; line += 1) {
    const at = open.at(line);
    assert.ok(at.group || open.lineOf(at.row) === line);
  }
});

test("an order that changed is noticed and can be put back with new values", () => {
  const before = new Map([[0, {key: "a", v: 1}], [1, {key: "b", v: 1}]]);
  const slices = new Slices(() => null);
  [{key: "b", v: 2}, {key: "a", v: 2}].forEach((row, index) => slices.rows.set(index, row));
  assert.ok(reordered(before, slices.rows));
  slices.keepOrder(before);
  assert.deepEqual([...slices.rows.values()], [{key: "a", v: 2}, {key: "b", v: 2}]);
});

test("columns: what people compare comes by itself, the least needed goes first", () => {
  const offered = {summary: ["train/loss", "best_val_accuracy", "val/accuracy"],
    config: ["seed", "optimizer.lr", "batch_size"]};
  const ids = defaultColumns(offered, "train/loss");
  assert.deepEqual(ids.slice(-3), ["summary.val/accuracy", "config.optimizer.lr", "config.batch_size"]);
  assert.ok(!defaultColumns(offered, null, 1).includes("connection"));
  const narrow = fitting(ids, 560, {});
  assert.ok(narrow.includes("name") && narrow.includes("state") && narrow.includes("main"));
  assert.ok(!narrow.some((id) => id.startsWith("config.")));
});

test("sparklines stay in their box and tell a NaN at the end", () => {
  const {path, end, broken} = sparkPath([3, 2, 1, null, 1.5], 1);
  assert.equal(path.split("M").length, 3);
  assert.ok(end[0] <= WIDTH && end[1] >= 0 && end[1] <= HEIGHT && !broken);
  assert.ok(sparkPath([1, null]).broken);
  assert.equal(sparkPath([]).path, "");
  assert.ok(sparkPath([1, 2], 0.5).end[0] < WIDTH / 2 + 2);
  assert.ok(sparkPath([5, 5, 5]).path.includes((HEIGHT / 2).toFixed(1)));
});

test("addresses keep any name", () => {
  const key = "gpu-1:a b/中%2F,文/20250123";
  assert.deepEqual(route(`/runs/${encodeKey(key)}`), {page: "run", key});
  assert.deepEqual(route("/runs/%E0%A4%A"), {page: "missing"});
  assert.deepEqual(route("/settings"), {page: "settings"});
  assert.deepEqual(splitList(joinList(["a,b", "c%2C", "d"])), ["a,b", "c%2C", "d"]);
  assert.equal(queryText({filter: "loss<0.3 tag:x", sort: "", cols: ["name", "config.a,b"]}),
    "?filter=loss<0.3+tag:x&cols=name,config.a%252Cb");
  assert.deepEqual(Object.fromEntries(new URLSearchParams(queryText({filter: "a+b&c=d #é"}))),
    {filter: "a+b&c=d #é"});
});

test("parameters repeat and leave out what is empty", () => {
  assert.equal(parameters({run: ["a,b", "c"], filter: "", tag: null, limit: 0}), "?run=a%2Cb&run=c&limit=0");
});

test("the smallest news is waited from", () => {
  assert.equal(older("b.7", "b.5"), "b.5");
  assert.equal(older("b.7", "b.12"), "b.7");
  assert.equal(older("b.7", "c.1"), "b.7");
});

test("metrics of the curves: the main ones, then what people look at", () => {
  const rows = [{main: {metric: "train/loss"}}, {main: null}];
  assert.deepEqual(pickMetrics(rows, ["epoch", "train/loss", "val/accuracy", "lr"]),
    ["train/loss", "val/accuracy", "lr"]);
});

test("small things", () => {
  assert.deepEqual(parseTags(" a, b，a,, "), ["a", "b"]);
  const pasted = {"root@gpu.lab": {host: "gpu.lab", user: "root"},
    "gpu.lab:2222": {host: "gpu.lab", port: 2222},
    "ssh://bob@gpu.lab:2222/": {host: "gpu.lab", user: "bob", port: 2222}, "sftp://gpu": {host: "gpu"},
    "[::1]": {host: "::1"}, "bob@[fe80::1]:22": {host: "fe80::1", user: "bob", port: 22}, "::1": null,
    "fe80::1%eth0": null, "gpu": null, "": null,
    "bob:secret@gpu": null, "bob@gpu:/data": null, "ssh://gpu/data": null, "a b": null};
  assert.deepEqual(Object.keys(pasted).map(apart), Object.values(pasted));
  assert.deepEqual(problems({host: "", port: 22, interval: 30}), {host: "settings.need.host"});
  assert.deepEqual(Object.keys(problems({host: "a;b", port: 70000, interval: NaN})),
    ["host", "port", "interval"]);
  assert.equal(report([{name: "port", ok: false, text: "silent", advice: "look", ms: 12.4}]),
    "FAIL port: silent (look)  12 ms");
});
