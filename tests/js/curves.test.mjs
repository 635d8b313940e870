// The pure parts of charts: axes, ranges, groups, joining of tails, smoothing weights, the crosshair's link,
// the feed.

import assert from "node:assert/strict";
import test from "node:test";
import {durationTicks, linearTicks, logTicks, logUnit, spanRange, tickLabels, timeTicks, transform,
  valueRange} from "../../static/charts/axes.js";
import {axisFor} from "../../static/charts/axis_text.js";
import {environmentRows} from "../../static/charts/difference.js";
import {toggled} from "../../static/charts/toolbar.js";
import {Feed} from "../../static/charts/curve_cache.js";
import {Rhythm} from "../../static/shared/throttle.js";
import {Link} from "../../static/charts/crosshair.js";
import {arrange, extent, groupMetrics, joinTail, logarithmic, lowerBound, matcher, nearest, noisy, overgrown,
  placed, pointWeight, sameCurves, shortLabel, span, toCsv, valuesAt} from "../../static/charts/curves.js";

function curve(x, last, more = {}) {
  return {run: "r", metric: "loss", x, last, min: last, max: last, min_x: x, max_x: x, smooth: null, nan: [],
    superseded: null, n: x.length, m: x.length, total: x.length, exact: true, approximate: false, x_min: x[0],
    x_max: x.at(-1), ...more};
}

test("lines of a linear axis are round, inside, and about as many as asked", () => {
  for (const [lo, hi] of [[0, 41200], [-3, 7], [0.1, 0.12], [1e-9, 3e-9], [-5e8, 5e8]]) {
    const ticks = linearTicks(lo, hi, 4);
    assert.ok(ticks.length >= 2 && ticks.length <= 8, `${lo} ${hi}: ${ticks}`);
    assert.ok(ticks.every((v) => v >= lo - 1e-12 && v <= hi + Math.abs(hi) * 1e-9));
  }
  assert.deepEqual(linearTicks(5, 5, 4), [5]);
});

test("labels of one axis share one notation", () => {
  assert.deepEqual(tickLabels([0, 20000, 40000]), ["0", "20k", "40k"]);
  assert.deepEqual(tickLabels([0, 0.25, 0.5]), ["0", "0.25", "0.50"]);
  assert.deepEqual(tickLabels([1e-6, 1e-4, 1e-2]), ["1e−6", "1e−4", "1e−2"]);
  assert.deepEqual(tickLabels([0.1, 1, 10, 100]), ["0.1", "1", "10", "100"]);
  assert.deepEqual(tickLabels([-2, 0, 2]), ["−2", "0", "2"]);
  assert.deepEqual(tickLabels([1e6, 2e6]), ["1M", "2M"]);
});

test("a logarithmic axis takes zeros, negatives and flat curves", () => {
  for (const values of [[0, 0], [0, 5], [-4, 4], [-9, -1], [3, 3], [1e-30, 1e30]]) {
    const limits = {...extent([curve(values.map((_, i) => i), values)])};
    const unit = logUnit(limits);
    const [lo, hi] = valueRange(limits, true, unit);
    const {fwd, bwd} = transform(true, unit);
    assert.ok(lo < hi, `${values}: ${lo} ${hi}`);
    for (const value of values) {
      const place = (fwd(value) - fwd(lo)) / (fwd(hi) - fwd(lo));
      assert.ok(place >= -1e-9 && place <= 1 + 1e-9, `${values}: ${value} at ${place}`);
      assert.ok(Math.abs(bwd(fwd(value)) - value) <= Math.abs(value) * 1e-9 + 1e-12);
    }
    const ticks = logTicks(lo, hi, 4, unit);
    assert.ok(ticks.length >= 1 && ticks.every(Number.isFinite));
  }
});

test("a flat curve gets a range around it, no curve gets one too", () => {
  assert.deepEqual(valueRange({lo: 2, hi: 2}), [1.9, 2.1]);
  assert.deepEqual(valueRange({lo: Infinity, hi: -Infinity}), [0, 1]);
  assert.deepEqual(spanRange(0, 0), [-0.5, 0.5]);
  assert.equal(valueRange({lo: 0.1, hi: 2})[0], 0);
});

test("times and durations stand at round moments", () => {
  assert.deepEqual(durationTicks(0, 7200, 4), [0, 1800, 3600, 5400, 7200]);
  assert.ok(timeTicks(1737653445, 1737660000, 4, 8 * 3600).every((at) => (at + 8 * 3600) % 600 === 0));
});

test("every line of an axis has a label of its own, however small the range is against the value", () => {
  const ranges = [[2.99e-4, 3.01e-4], [3e-4, 3.0005e-4], [-3e-5, -2.99e-5], [1234567.01, 1234567.06],
    [-1795712416.05, -1795712416], [1.2e12, 1200000077824],
    [1795712416005, 1795712436005], [1795712416005123456, 1795712435005123456],
    [9007199254740992, 9007199254741042], [1, 1 + 1e-14], [0.5, 0.5 + 1e-13],
    [1e300, 1.0000001e300], [9999, 10001], [99999, 100001], [2.5, 2.5000001], [63.9, 63.95], [0, 1],
    [-1e308, 1e308], [1e308, 1.7e308], [14.3, 28.6]];
  for (const [lo, hi] of ranges) {
    for (const [side, kind, log] of [["x", "step", false], ["x", "metric", true], ["y", "value", false],
      ["y", "value", true]]) {
      const axis = axisFor(side, {lo, hi, tiny: Math.min(Math.abs(lo), Math.abs(hi)) || 1}, log, kind);
      const labels = axis.labels(axis.ticks(250));
      assert.ok(labels.length > 1 && new Set(labels).size === labels.length,
        `${side} ${lo} ${hi} ${log}: ${labels}`);
    }
  }
  assert.deepEqual(tickLabels([1795712416, 1795712416.01, 1795712416.02]),
    ["1.795712416G", "+0.01", "+0.02"]);
  assert.deepEqual(tickLabels([3e-4, 3.001e-4, 3.002e-4]), ["3e−4", "3.001e−4", "3.002e−4"]);
  assert.deepEqual(tickLabels([-10000, -1000, -100, -10, -1, 0, 1]),
    ["−10k", "−1k", "−100", "−10", "−1", "0", "1"]);
});

test("what the crosshair reads off tells neighbours apart: steps, values, durations, times", () => {
  const read = (lo, hi, kind, x) =>
    axisFor(kind === "value" ? "y" : "x", {lo, hi, tiny: 1}, false, kind).exact(x);
  assert.equal(read(0, 2e12, "step", 1795712416005), "1,795,712,416,005");
  assert.equal(read(1234567, 1234568, "value", 1234567.25), "1,234,567.250");
  assert.equal(read(0, 4.1, "value", 0.0004), "4e−4");
  assert.equal(read(0, 2 * 86400, "relative", 100000), "1d 3h 46m 40s");
  assert.equal(read(0, 1, "relative", 0.25), "0.250s");
});

test("an axis of times has two lines and a date, wherever it begins, and the reader's midnights on both sides of summer time", () => {
  const zone = process.env.TZ;
  process.env.TZ = "Europe/Berlin";
  try {
    for (const days of [0.00001, 0.01, 0.5, 1, 2, 3, 5, 7, 8, 10, 12, 14, 20, 25, 30, 45, 90, 400, 3000]) {
      for (const px of [170, 330, 500, 900]) {
        for (let k = 0; k < 20; k += 1) {
          const lo = 1740000000 + k * 5554333;
          const axis = axisFor("x", {lo, hi: lo + days * 86400, tiny: 1}, false, "wall");
          const ticks = axis.ticks(px);
          const labels = axis.labels(ticks);
          assert.ok(labels.length > 1 && labels.some((label) => /[A-Z]|^\d{4}/.test(label)),
            `${days} d from ${lo}, ${px} px: ${labels}`);
          assert.ok(ticks.every((at, i) => at >= lo && at <= lo + days * 86400 && !(at <= ticks[i - 1])));
          assert.ok(days < 7 || labels.every((label) => !label.includes(":")), `${days} d: ${labels}`);
        }
      }
    }
    // 22 to 29 October 2026
    const week = axisFor("x", {lo: 1792620000, hi: 1792620000 + 7 * 86400, tiny: 1}, false, "wall");
    assert.deepEqual(week.labels(week.ticks(700)),
      ["Oct 22", "Oct 23", "Oct 24", "Oct 25", "Oct 26", "Oct 27", "Oct 28", "Oct 29"]
        .slice(0, week.ticks(700).length));
    // 27 to 30 March 2026
    const spring = axisFor("x", {lo: 1774623600, hi: 1774623600 + 3 * 86400, tiny: 1}, false, "wall");
    assert.deepEqual(spring.labels(spring.ticks(500))
      .filter((label) => /:/.test(label) && !/(06|12|18):00/.test(label)), []);
  } finally {
    process.env.TZ = zone ?? "";
    zone ?? delete process.env.TZ;
  }
});

test("a clock that is put back tells the hour it shows twice apart, on the lines and at the crosshair",
() => {
  const zone = process.env.TZ;
  process.env.TZ = "Europe/Berlin";
  try {
    const back = 1792890000;     // 25 October 2026, 03:00 becomes 02:00
    for (const [hours, px] of [[1.5, 330], [1.5, 900], [4, 900], [0.2, 500]]) {
      const axis = axisFor("x", {lo: back - hours * 3600, hi: back + hours * 3600, tiny: 1}, false, "wall");
      const labels = axis.labels(axis.ticks(px));
      assert.ok(labels.length > 1 && new Set(labels).size === labels.length,
        `${hours} h, ${px} px: ${labels}`);
    }
    const axis = axisFor("x", {lo: back - 5400, hi: back + 5400, tiny: 1}, false, "wall");
    assert.match(axis.exact(back - 1800), /02:30:00.* GMT\+2$/);
    assert.match(axis.exact(back + 1800), /02:30:00.* GMT\+1$/);
    assert.match(axis.exact(back + 5400), /03:30:00$/);
  } finally {
    process.env.TZ = zone ?? "";
    zone ?? delete process.env.TZ;
  }
});

test("lines within a second say where they are, not where a shorter label would be; a fraction that rounds up is the next second", () => {
  const axis = axisFor("x", {lo: 1737653445, hi: 1737653446, tiny: 1}, false, "wall");
  for (const px of [330, 400, 500, 900]) {
    const ticks = axis.ticks(px);
    assert.deepEqual(axis.labels(ticks).map((label) => Number(/:([\d.]+)$/.exec(label)[1])),
      ticks.map((at) => Number((45 + (at - 1737653445)).toFixed(2))));
  }
  assert.match(axis.exact(1737653445.99996), /:46\.000$/);
});

test("an axis of one moment shows a minute around it, one of one duration nothing before its beginning",
() => {
  const moment = axisFor("x", {lo: 1737653445, hi: 1737653445, tiny: 1}, false, "wall");
  assert.deepEqual(moment.range, [1737653415, 1737653475]);
  assert.ok(moment.labels(moment.ticks(500)).every((label) => /:\d\d:\d\d$/.test(label)));
  assert.equal(axisFor("x", {lo: 0, hi: 0, tiny: 1}, false, "relative").range[0], 0);
});

test("between two whole steps there is no line, between fractional ones there are", () => {
  const steps = (hi, whole, px) => axisFor("x", {lo: 0, hi, tiny: 1, whole}, false, "step").labels(
    axisFor("x", {lo: 0, hi, tiny: 1, whole}, false, "step").ticks(px));
  assert.deepEqual(steps(1, true, 900), ["0", "1"]);
  assert.deepEqual(steps(3, true, 900), ["0", "1", "2", "3"]);
  assert.ok(steps(20, true, 900).every((label) => /^\d+$/.test(label)));
  assert.deepEqual(steps(0.9, false, 500), ["0", "0.2", "0.4", "0.6", "0.8"]);
  assert.deepEqual(tickLabels([1e-12, 1e-6, 1, 1e3]), ["1e−12", "1e−6", "1", "1e3"]);
});

test("an axis of durations tells its lines apart, seconds after a day too", () => {
  for (const [lo, hi] of [[0, 0.001], [0, 1], [10, 10.3], [0, 60], [100000, 100060], [100000.1, 100000.2],
    [0, 30 * 86400], [0, 300 * 86400], [90061, 98000], [3600.5, 3603]]) {
    const axis = axisFor("x", {lo, hi, tiny: 1}, false, "relative");
    const labels = axis.labels(axis.ticks(500));
    assert.ok(labels.length > 1 && new Set(labels).size === labels.length, `${lo} ${hi}: ${labels}`);
  }
});

test("metrics with the same last name part share a chart; losses first, bare counters last", () => {
  const names = ["data/ms", "epoch", "step/ms", "train/accuracy", "train/loss", "val/accuracy", "val/loss",
    "lr"];
  const groups = groupMetrics(names);
  assert.deepEqual(groups.map(({title}) => title), ["loss", "accuracy", "lr", "ms", "epoch"]);
  assert.deepEqual(groups[0].metrics, ["train/loss", "val/loss"]);
  assert.deepEqual(groupMetrics(names, "prefix").find(({title}) => title === "train").metrics,
    ["train/accuracy", "train/loss"]);
  assert.equal(groupMetrics(names, "one").length, names.length);
  assert.equal(shortLabel("train/loss", "loss"), "train");
  assert.equal(shortLabel("a/b/loss", "a/b", "prefix"), "loss");
});

test("pinned charts come first, hidden ones not at all, the reader's order is kept", () => {
  const groups = ["a", "b", "c", "d"].map((id) => ({id}));
  assert.deepEqual(arrange(groups, {pinned: ["d"], hidden: ["b"], order: ["c", "a"]}).map(({id}) => id),
    ["d", "c", "a"]);
  assert.deepEqual(toggled(toggled([], "a"), "a"), []);
});

test("a chart that is put elsewhere is pinned among pinned ones only, and other groupings keep their order",
() => {
  const ids = ["a", "b", "c", "d"];
  const kept = (id, before, pinned) => {
    const after = placed(ids, id, before, {pinned, order: ["other"]});
    assert.equal(after.order.at(-1), "other");
    assert.deepEqual(arrange(ids.map((one) => ({id: one})), after).map((one) => one.id),
      after.order.slice(0, -1));
    return [after.order.slice(0, -1).join(""), after.pinned.join("")];
  };
  assert.deepEqual(kept("c", "a", []), ["cabd", ""]);
  assert.deepEqual(kept("a", null, []), ["bcda", ""]);
  assert.deepEqual(kept("b", "d", []), ["acbd", ""]);
  assert.deepEqual(kept("d", "b", ["a", "b"]), ["adbc", "adb"]);
  assert.deepEqual(kept("a", "d", ["a", "b"]), ["bcad", "b"]);
  assert.deepEqual(kept("a", "c", ["a", "b"]), ["bacd", "ba"]);
});

test("sorting after a chart was put elsewhere takes no square of their number", () => {
  const ids = Array.from({length: 40_000}, (_, at) => `last:a metric of the run with a long name ${at}`);
  const groups = ids.map((id) => ({id, title: id, metrics: [id]}));
  const start = performance.now();
  const choices = placed(ids, ids.at(-1), ids[0], {order: [...ids], pinned: ids.slice(0, 2000)});
  const sorted = arrange(groups, {...choices, hidden: ids.slice(100, 2100)});
  assert.equal(sorted.length, 38_000);
  assert.equal(sorted[0].id, ids.at(-1));
  assert.equal(sorted[1].id, ids[0]);
  assert.ok(performance.now() - start < 4000, "the square of 40,000 takes a minute");
});

test("the filter is an expression, or plain text while it is half typed", () => {
  assert.ok(matcher("^val/")("val/loss") && !matcher("^val/")("train/loss"));
  assert.ok(matcher("loss(")("a loss( b"));
  assert.equal(matcher(""), null);
});

test("a tail replaces what was held from its beginning on", () => {
  const held = curve([1, 2, 3, 4], [4, 3, 2, 1], {nan: [[2, "NaN"], [4, "NaN"]], smooth: [4, 3, 2, 1]});
  const joined = joinTail(held, curve([4, 5, 6], [9, 8, 7], {total: 6, nan: [[5, "NaN"]], smooth: [9, 8, 7]}),
    4, true);
  assert.deepEqual(joined.x, [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(joined.last, [4, 3, 2, 9, 8, 7]);
  assert.deepEqual(joined.smooth, [4, 3, 2, 9, 8, 7]);
  assert.deepEqual(joined.nan, [[2, "NaN"], [5, "NaN"]]);
  assert.deepEqual([joined.n, joined.m, joined.total, joined.x_max], [6, 6, 6, 6]);
  assert.ok(overgrown({x: Array(1000)}, 600) && !overgrown({x: Array(600)}, 600));
});

test("an extent has every extreme of the shown stretch, superseded points too", () => {
  const one = curve([1, 2, 3], [1, 1, 1],
    {exact: false, min: [0, 1, 1], max: [1, 50, 1], superseded: {x: [3], last: [-7]}});
  assert.deepEqual(extent([one]), {lo: -7, hi: 50, tiny: 1});
  assert.deepEqual(extent([one], 0, 1.5), {lo: 0, hi: 1, tiny: 1});
  assert.deepEqual(span([one]), {lo: 1, hi: 3});
  assert.deepEqual(span([curve([], [], {x_min: null, x_max: null, nan: [[5, "NaN"]]})]), {lo: 5, hi: 5});
});

test("only noise is smoothed, with a weight that looks the same for any number of points", () => {
  const waves = Array.from({length: 300}, (_, i) => Math.cos(i / 40));
  const noise = waves.map((v, i) => v + ((i * 7919) % 13) / 13);
  assert.equal(noisy(curve(waves.map((_, i) => i), waves)), false);
  assert.equal(noisy(curve(noise.map((_, i) => i), noise)), true);
  assert.equal(noisy(curve([1, 2, 3], [1, 5, 1])), false);
  assert.equal(pointWeight(0.8, 500), 0.8);
  assert.equal(pointWeight(0.8, 5000), pointWeight(0.8, 8000));
  assert.ok(Math.abs(pointWeight(0.8, 600 * 1024) ** 1024 - 0.8) < 1e-3);
  assert.equal(pointWeight(0, 1e6), 0);
});

test("the tooltip is sorted by value and leaves out curves that ended", () => {
  const list = [curve([1, 2, 3], [1, 2, 3], {metric: "a"}), curve([1, 2, 3], [9, 8, 7], {metric: "b"}),
    curve([0, 0.5], [5, 5], {metric: "gone"})];
  assert.deepEqual(valuesAt(list, 2, 0.1).map(({series, value}) => [series.metric, value]),
    [["b", 8], ["a", 2]]);
  assert.equal(nearest([1, 4, 9], 6), 1);
  assert.equal(nearest([], 6), -1);
  assert.equal(lowerBound([1, 2, 2, 3], 2), 1);
});

test("CSV quotes what needs it and keeps NaN", () => {
  const text = toCsv([curve([1], [0.5], {metric: 'a,"b"', nan: [[2, "NaN"]]})]);
  assert.equal(text, 'run,metric,x,value,min,max,smooth\nr,"a,""b""",1,0.5,0.5,0.5,\nr,"a,""b""",2,NaN,,,\n');
});

test("a zoom whose right edge was in view slides with the news, another one stays", () => {
  const link = new Link();
  const heard = [];
  link.on((what) => heard.push(what));
  link.zoom(50, 100);
  assert.equal(link.follow(100, 120), true);
  assert.deepEqual(link.shown, {lo: 70, hi: 120});
  link.zoom(10, 20);
  assert.equal(link.follow(120, 130), false);
  link.reset();
  link.reset();
  link.hover(5);
  link.hover(5);
  link.pin(5);
  assert.deepEqual(heard, ["zoom", "zoom", "zoom", "hover", "pin"]);
});

test("charts share their range of x, but one that would be lost in it keeps its own", () => {
  const link = new Link();
  link.widen({lo: 0, hi: 100});
  assert.deepEqual(link.widen({lo: 10, hi: 90}), {lo: 0, hi: 100});
  assert.deepEqual(link.widen({lo: 0, hi: 5}), {lo: 0, hi: 5});
});

test("the feed fetches whole once, then only tails, and whole again when the past changed", async () => {
  const asked = [];
  const feed = new Feed(async (values) => {
    asked.push(values);
    const from = values.from ?? 0;
    return {series: values.metric.map(
      (metric) => curve([from, from + 1], [1, 1], {run: values.run[0], metric, total: from + 2}))};
  });
  feed.set({x: "step", smooth: 0});
  await feed.want([["r", "loss"]]);
  await feed.want([["r", "loss"]]);
  assert.equal(asked.length, 1);
  await feed.renew([["r", "loss"]]);
  assert.equal(asked[1].from, 1);
  assert.deepEqual(feed.get("r", "loss").x, [0, 1, 2]);
  feed.forget();
  await feed.renew([["r", "loss"]]);
  assert.equal(asked[2].from, undefined);
});

test("the feed asks for each smoothing apart and drops an answer that was overtaken", async () => {
  const asked = [];
  const feed = new Feed(async (values, signal) => {
    asked.push(values);
    await new Promise((resolve) => setTimeout(resolve, 5));
    return {series: values.metric.map((metric) => curve([0], [signal.aborted ? 0 : 1], {run: "r", metric}))};
  });
  feed.count("r", [{name: "a", points: 100}, {name: "b", points: 1e5}]);
  feed.set({x: "step", smooth: 0.8});
  const late = feed.want([["r", "a"]]);
  feed.set({x: "relative"});
  await Promise.all([late, feed.want([["r", "a"], ["r", "b"]])]);
  assert.deepEqual(asked.slice(1).map(({smooth}) => smooth), [0.8, pointWeight(0.8, 1e5)]);
  assert.equal(asked[1].x, "relative");
});

test("a curve of very many points is drawn before it is smoothed, one without noise never is", async () => {
  const asked = [];
  const noise = Array.from({length: 300}, (_, i) => (i * 7919) % 13);
  const feed = new Feed(async (values) => {
    asked.push([values.metric.join(), values.smooth]);
    return {series: values.metric.map((metric) =>
      curve(noise.map((_, i) => i), metric === "noisy" ? noise : noise.map((_, i) => i), {metric}))};
  });
  feed.count("r", [{name: "noisy", points: 1e6}, {name: "even", points: 1e6}]);
  feed.set({x: "step", smooth: 0.8});
  const drawn = [];
  await feed.want([["r", "noisy"], ["r", "even"]], (metrics) => drawn.push(metrics.join()));
  assert.deepEqual(asked, [["noisy,even", null], ["noisy", pointWeight(0.8, 1e6)]]);
  assert.deepEqual(drawn, ["noisy,even", "noisy"]);
});

test("two requests are on their way at a time, those of the first charts before all others, and what is on its way is waited for", async () => {
  const asked = [];
  const release = [];
  const feed = new Feed((values) => new Promise((resolve) => {
    asked.push(values);
    release.push(() =>
      resolve({series: values.run.flatMap(
        (run) => values.metric.map((metric) => curve([0], [1], {run, metric})))}));
  }));
  const turn = () => new Promise((resolve) => setTimeout(resolve));
  const runs = Array.from({length: 30}, (_, at) => `r${at}`);
  const pairs = (metrics, some) => metrics.flatMap((metric) => some.map((run) => [run, metric]));
  feed.set({x: "step", smooth: 0});
  feed.crowd(31);
  const first = feed.want(pairs(["a", "b", "c"], runs));
  const late = feed.want(pairs(["a", "b", "c"], [...runs, "late"]));
  assert.deepEqual(asked.map(({metric}) => metric), [["a"], ["b"]]);
  release.splice(0, 1)[0]();
  await turn();
  assert.deepEqual([asked[2].run, asked[2].metric], [["late"], ["a", "b", "c"]], "the first chart's");
  let done = false;
  late.then(() => { done = true; });
  release.splice(1, 1)[0]();
  await turn();
  assert.equal(done, false, "b and c of the others are on their way");
  release.splice(0).forEach((answer) => answer());
  await turn();
  release.splice(0).forEach((answer) => answer());
  assert.deepEqual(await Promise.all([first, late]), [true, true]);
  assert.equal(asked.length, 4);
  assert.equal(asked[0].buckets, 300);
});

test("curves are drawn anew only where they differ", () => {
  const one = {...curve([0], [1]), dash: [2, 2], label: "a"};
  assert.equal(sameCurves([one], [{...one, dash: [2, 2]}]), true);
  assert.equal(sameCurves([one], [{...one, x: [0]}]), false);
  assert.equal(sameCurves([one], [{...one, label: "b"}]), false);
  assert.equal(sameCurves([one], []), false);
});

test("work asked for too often is done in its rhythm, and the last of it is never left out", async () => {
  const done = [];
  const rhythm = new Rhythm((error) => { throw error; });
  const work = (what) => async () => { done.push(what); };
  await rhythm.ask("head", 30, work(1));
  assert.equal(rhythm.ask("head", 30, work(2)), null);
  assert.equal(rhythm.ask("head", 30, work(3)), null);
  await rhythm.ask("other", 30, work("other"));
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual(done, [1, "other", 2]);
  rhythm.ask("head", 1e6, work(4));
  rhythm.stop();
});

test("what spans powers of ten has a logarithmic axis, a learning rate has none", () => {
  for (const name of ["grad_norm", "train/gradnorm", "val/perplexity", "encoder_ppl"]) {
    assert.equal(logarithmic(name), true, name);
  }
  for (const name of ["learning_rate", "train/lr", "loss", "apple"]) {
    assert.equal(logarithmic(name), false, name);
  }
});

test("the tags that tell compared runs apart come first", () => {
  const runs = [["base", "sweep", "s0"], ["base", "sweep", "s1"], ["base", "sweep"]].map((tags) => ({tags}));
  const words = {tags: "tags"}, same = () => "";
  const [{values}] = environmentRows(runs, words, {state: same, gpus: same, duration: same})
    .filter(({name}) => name === "tags");
  assert.deepEqual(values, ["s0, base, sweep", "s1, base, sweep", "base, sweep"]);
});
