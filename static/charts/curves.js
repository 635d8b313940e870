// Curves as plain data: which metrics share a chart, joining what was held with what is new, extents, nearest
// points. Pure.
//
// A series is what GET /api/series answers: {run, metric, n, m, total, x, min, max, min_x, max_x, last,
// smooth, nan, superseded, approximate, x_min, x_max, exact}; arrays of finite numbers, one entry a bucket, x
// ascending.

export const SMOOTH = 0.6;       // where the reader chose no other smoothing
/**
 * @typedef {Object} Series
 * @property {string} run @property {string} metric @property {number} n @property {number} m
 * @property {number} total
 * @property {number[]} x @property {number[]} last @property {number[]} [min] @property {number[]} [max]
 * @property {number[]} [min_x] @property {number[]} [max_x] @property {number[]} [smooth]
 * @property {[number, string][]} [nan] @property {number} [bad]
 * @property {{x: number[], last: number[]}} [superseded]
 * @property {boolean} [approximate] @property {boolean} [exact] @property {number} [x_min]
 * @property {number} [x_max]
 * @property {string} [label] @property {number} [colour] @property {number[]} [dash]
 * @property {boolean} [smoothed] @property {boolean} [noise]
 * @typedef {{id: string, title: string, metrics: string[]}} Group
 * @typedef {[run: string, metric: string]} Pair
 */

const LAST = 2 ** 40;            // the place of a chart that the reader put nowhere
const PER_BUCKET = ["x", "min", "max", "min_x", "max_x", "last", "smooth"];
// share of turning points from which a curve counts as noisy (white noise: 0.67)
const NOISE = 0.2;
const NOISE_POINTS = 100;         // a curve with fewer points is never smoothed
const ORDER = ["train", "training", "val", "valid", "validation", "dev", "eval", "test"];

/** A metric's name in two: {prefix: "train", last: "loss"}; prefix is "" where there is none. */
export function splitName(metric) {
  const at = metric.lastIndexOf("/");
  return at > 0 && at < metric.length - 1 ? {prefix: metric.slice(0, at), last: metric.slice(at + 1)}
    : {prefix: "", last: metric};
}

function memberRank(metric) {
  const at = ORDER.indexOf(splitName(metric).prefix.split("/")[0].toLowerCase());
  return at < 0 ? ORDER.length : at;
}

function chartRank({title, metrics}) {
  const name = title.toLowerCase();
  if (/^(global_?)?(step|epoch|iter|iteration)s?$/.test(name)) {
    return 9;
  }
  const known = [/loss/, /acc|f1|map|auc|bleu|score/, /learning_?rate|^lr/]
    .findIndex((form) => form.test(name));
  const main = metrics.length > 1 || metrics.some((metric) => memberRank(metric) < ORDER.length);
  return known >= 0 ? known : main ? 3 : 4;
}

/**
 * Whether the y axis of a chart is logarithmic where the reader chose none: of what spans powers of ten. A
 * learning rate is not among them, for it begins or ends at zero, and the form of its schedule is what one
 * looks for.
 */
export const logarithmic = (title) => /(^|[/_])(grad_?norm|perplexity|ppl)$/i.test(title);

/**
 * Which metrics share a chart. how: "last" (same last name part), "prefix" (same first parts) or "one" (each
 * its own).
 * -> [{id, title, metrics: [names]}], losses first, then scores, bare counters such as "epoch" last.
 * @param {string[]} names @param {string} how @returns {Group[]}
 */
export function groupMetrics(names, how = "last") {
  const groups = new Map();
  for (const metric of names) {
    const {prefix, last} = splitName(metric);
    const title = how === "one" ? metric : how === "prefix" ? prefix || last : last;
    const group = groups.get(title) || {id: `${how}:${title}`, title, metrics: []};
    group.metrics.push(metric);
    groups.set(title, group);
  }
  const all = [...groups.values()];
  for (const group of all) {
    group.metrics.sort((a, b) => memberRank(a) - memberRank(b));
  }
  return all.map((group, at) => ({group, at, rank: chartRank(group)}))
    .sort((a, b) => a.rank - b.rank || a.at - b.at).map(({group}) => group);
}

/** What a curve is called in its chart's legend: the part of its name that the title does not say already. */
export function shortLabel(metric, title, how = "last") {
  const {prefix, last} = splitName(metric);
  if (how === "one") {
    return last;
  }
  return (how === "prefix" ? last : prefix) || last;
}

/**
 * Put groups in the reader's order: pinned first, then `order` (ids), then as they came; hidden ones are left
 * out.
 */
export function arrange(groups, {pinned = [], hidden = [], order = []} = {}) {
  const places = new Map();
  [...pinned, ...order].forEach((id, at) => places.has(id) || places.set(id, at));
  const concealed = new Set(hidden);
  return groups.filter(({id}) => !concealed.has(id))
    .map((group, at) => ({group, at, place: places.get(group.id) ?? LAST}))
    .sort((a, b) => a.place - b.place || a.at - b.at).map(({group}) => group);
}

/**
 * The choices after the chart `id` was put before `before` (null: last). ids: all charts in their present
 * order, hidden ones too. Among pinned charts it is pinned, behind the last of them it no longer is; ids of
 * other groupings keep their order.
 * -> {order, pinned}
 */
export function placed(ids, id, before, {pinned = [], order = []} = {}) {
  const rest = ids.filter((one) => one !== id);
  const at = before === null ? rest.length : rest.indexOf(before);
  const now = [...rest.slice(0, at), id, ...rest.slice(at)];
  const [known, above] = [new Set(ids), new Set(pinned)];
  const isPinned = (one) => above.has(one);
  const stays = at === 0 ? isPinned(id) || isPinned(rest[0])
    : isPinned(rest[at]) || (isPinned(id) && isPinned(rest[at - 1]));
  const others = (list) => list.filter((one) => !known.has(one));
  return {order: [...now, ...others(order)],
    pinned: [...now.filter((one) => (one === id ? stays : isPinned(one))), ...others(pinned)]};
}

/**
 * A matcher for the filter box: a regular expression where it is one, else plain text; null accepts
 * everything.
 */
export function matcher(filter) {
  if (!filter) {
    return null;
  }
  try {
    const pattern = new RegExp(filter, "i");
    return (name) => pattern.test(name);
  } catch {                      // half typed: taken as plain text
    return (name) => name.toLowerCase().includes(filter.toLowerCase());
  }
}

/** First index whose value is >= x in an ascending list. */
export function lowerBound(xs, x) {
  let [lo, hi] = [0, xs.length];
  while (lo < hi) {
    const middle = (lo + hi) >> 1;
    if (xs[middle] < x) {
      lo = middle + 1;
    } else {
      hi = middle;
    }
  }
  return lo;
}

/** Index of the value nearest to x in an ascending list, -1 in an empty one. */
export function nearest(xs, x) {
  const at = lowerBound(xs, x);
  if (at === 0 || at === xs.length) {
    return at === 0 ? (xs.length ? 0 : -1) : xs.length - 1;
  }
  return x - xs[at - 1] <= xs[at] - x ? at - 1 : at;
}

/**
 * Join what is held with the answer to "from x = `from` on": everything held from there on is replaced.
 * `whole`: the held series shows the whole run, so all points are in range.
 */
export function joinTail(held, tail, from, whole) {
  const keep = lowerBound(held.x, from);
  const out = {
    ...held,
    total: tail.total,
    exact: held.exact && tail.exact,
    x_max: tail.x_max ?? held.x_max,
    approximate: held.approximate || tail.approximate,
  };
  for (const name of PER_BUCKET) {
    out[name] = held[name] && tail[name] ? held[name].slice(0, keep).concat(tail[name]) : tail[name] && !keep
      ? tail[name] : null;
  }
  out.nan = (held.nan || []).filter(([x]) => x < from).concat(tail.nan || []);
  out.n = out.x.length;
  out.m = whole ? tail.total : held.m + tail.total - held.total;
  return out;
}

/** Whether joined tails have made a series so long that it should be fetched whole again, in even buckets. */
export const overgrown = (series, buckets) => series.x.length > buckets * 1.6;

/**
 * The weight of one point for a smoothing that looks the same however many points there are: `smooth` is
 * meant for a curve of `buckets` points, one of `points` gets the weight whose power over as many points is
 * the same. In steps of two, so that it holds for a while as a curve grows.
 */
export function pointWeight(smooth, points, buckets = 600) {
  const times = 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(1, points) / buckets)));
  return smooth ? Number((smooth ** (1 / times)).toFixed(6)) : 0;
}

/** Whether a curve has noise worth smoothing: it turns back at least at every fifth point. */
export function noisy({last}) {
  if (last.length < NOISE_POINTS) {
    return false;
  }
  let turns = 0;
  for (let i = 2; i < last.length; i += 1) {
    turns += Number((last[i] - last[i - 1]) * (last[i - 1] - last[i - 2]) < 0);
  }
  return turns > (last.length - 2) * NOISE;
}

function drawnAlike(one, other) {
  const names = Object.keys(one);
  return names.length === Object.keys(other).length
    && names.every((name) => one[name] === other[name]
      || (name === "dash" && one.dash.join() === other.dash.join()));
}

/** Whether two lists are of the same curves, drawn alike. @param {Series[]} list @param {Series[]} other */
export const sameCurves = (list, other) => list.length === other.length && list.every(
  (one, at) => drawnAlike(one, other[at]));

/**
 * {lo, hi, tiny} of the values between x = from and to: all extremes, superseded points too; tiny: smallest
 * magnitude but zero.
 */
export function extent(list, from = -Infinity, to = Infinity) {
  let [lo, hi, tiny] = [Infinity, -Infinity, Infinity];
  const take = (x, value) => {
    if (x < from || x > to) {
      return;
    }
    lo = Math.min(lo, value);
    hi = Math.max(hi, value);
    if (value) {
      tiny = Math.min(tiny, Math.abs(value));
    }
  };
  for (const series of list) {
    for (let i = 0; i < series.x.length; i += 1) {
      take(series.min_x?.[i] ?? series.x[i], series.min?.[i] ?? series.last[i]);
      take(series.max_x?.[i] ?? series.x[i], series.max?.[i] ?? series.last[i]);
    }
    series.superseded?.x.forEach((x, i) => take(x, series.superseded.last[i]));
  }
  return {lo, hi, tiny: Number.isFinite(tiny) ? tiny : 0};
}

/** {lo, hi} of all x of the series: NaN marks and superseded points too. */
export function span(list) {
  let [lo, hi] = [Infinity, -Infinity];
  for (const {x, x_min: first, x_max: last, nan, superseded} of list) {
    for (const one of [
      x.length ? first : null,
      x.length ? last : null,
      x[0],
      x.at(-1),
      nan?.[0]?.[0],
      nan?.at(-1)?.[0],
      superseded?.x[0],
      superseded?.x.at(-1),
    ]) {
      if (one != null) {
        lo = Math.min(lo, one);
        hi = Math.max(hi, one);
      }
    }
  }
  return {lo, hi};
}

/**
 * What the tooltip says at x: [{series, x, value, smooth}] by value, largest first; curves further away than
 * `reach` (in x) are left out.
 */
export function valuesAt(list, x, reach) {
  const rows = [];
  for (const series of list) {
    const at = nearest(series.x, x);
    if (at >= 0 && (Math.abs(series.x[at] - x) <= reach || (x > series.x[0] && x < series.x.at(-1)))) {
      rows.push({series, x: series.x[at], value: series.last[at],
        smooth: series.smoothed ? series.smooth[at] : null});
    }
  }
  return rows.sort((a, b) => b.value - a.value);
}

function cell(value) {
  const text = value == null ? "" : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The points of series as CSV, one row a point or bucket. names: run key -> what to call it. */
export function toCsv(list, names = (run) => run) {
  const rows = list.flatMap((s) =>
    s.x.map((x, i) => [names(s.run), s.metric, x, s.last[i], s.min?.[i], s.max?.[i], s.smooth?.[i]]));
  const bad = list.flatMap((s) =>
    (s.nan || []).map(([x, kind]) => [names(s.run), s.metric, x, kind, "", "", ""]));
  return [["run", "metric", "x", "value", "min", "max", "smooth"], ...rows, ...bad]
    .map((row) => row.map(cell).join(",")).join("\n") + "\n";
}
