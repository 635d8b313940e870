// What differs between runs: metrics with the best marked, config and environment with equal keys apart,
// differences to a baseline. Pure.

import {flattened} from "../shared/flatten.js";
import {groupMetrics} from "./curves.js";

const PERCENT = /(acc(uracy)?|percent|pct|top-?[15])$/i;

/**
 * Whether a metric is a share told in percent: its name says so and its value is beyond what a fraction could
 * be.
 */
export const inPercent = (name, value) =>
  PERCENT.test(name) && typeof value === "number" && value > 1.5 && value <= 100;

// Settings and counters: none of their values is best.
const NEUTRAL =
  /(^|[/_.])(epochs?|(global_?)?steps?|iter(ation)?s?|lr|learning_?rate|(grad|weight|param)_?norm|ms)$/i;

const finite = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

/**
 * Indices of the best of `values` (null or text: not taking part); none when fewer than two take part or all
 * are equal.
 */
export function bestOf(values, rule) {
  const known = values.map(finite).filter((value) => value !== null);
  if (known.length < 2 || known.every((value) => value === known[0])) {
    return [];
  }
  const best = rule === "min" ? Math.min(...known) : Math.max(...known);
  return values.flatMap((value, at) => (finite(value) === best ? [at] : []));
}

/**
 * The difference of a value to the baseline's: {kind: "same" | "share" | "points" | "none", amount, better}.
 * share: of the baseline's value; points: both are percentages, so they are subtracted.
 * @returns {{kind: string, amount?: number, better?: boolean}}
 */
export function against(metric, value, base, rule) {
  if (finite(value) === null || finite(base) === null) {
    return {kind: "none"};
  }
  if (value === base) {
    return {kind: "same"};
  }
  const better = rule === "min" ? value < base : value > base;
  if (inPercent(metric, value) && inPercent(metric, base)) {
    return {kind: "points", amount: value - base, better};
  }
  return base === 0 ? {kind: "none"} : {kind: "share", amount: (value - base) / Math.abs(base), better};
}

/**
 * Metrics of runs (answers of GET /api/runs/<key>) side by side:
 * [{metric, rule, best: [value per run], last: [...], neutral, starred: [indices]}],
 * those that most runs logged and that people look at first.
 */
export function metricRows(runs) {
  const found = new Map();
  runs.forEach((run, at) => {
    for (const {name, best, last} of run.metrics) {
      const row = found.get(name) || {
        metric: name,
        rule: best?.rule || null,
        best: Array(runs.length).fill(null),
        last: Array(runs.length).fill(null),
        count: 0,
      };
      row.rule ||= best?.rule || null;
      row.best[at] = best?.value ?? null;
      row.last[at] = last ?? null;
      row.count += 1;
      found.set(name, row);
    }
  });
  const order = groupMetrics([...found.keys()], "last").flatMap(({metrics}) => metrics);
  const validation = (name) => (/^(val|valid|validation|dev|eval|test)\b/i.test(name) ? 0 : 1);
  const rows = order.map((name, at) => ({...found.get(name), at}));
  rows.sort((a, b) => Number(b.count > 1) - Number(a.count > 1) || validation(a.metric) - validation(b.metric)
    || a.at - b.at);
  return rows.map((row) => ({
    ...row,
    neutral: NEUTRAL.test(row.metric),
    starred: NEUTRAL.test(row.metric) ? [] : bestOf(row.best, row.rule),
  }));
}

/**
 * Rows of named values: [{name, values: [per run], differs}], those that differ first. tables: one object of
 * values a run.
 */
export function valueRows(tables) {
  const names = [...new Set(tables.flatMap((table) => Object.keys(table)))];
  const rows = names.map((name) => {
    const values = tables.map((table) => table[name]);
    return {name, values, differs: new Set(values.map((value) => JSON.stringify(value) ?? "")).size > 1};
  });
  return [...rows.filter(({differs}) => differs), ...rows.filter(({differs}) => !differs)];
}

export const configRows = (runs) => valueRows(runs.map((run) => Object.fromEntries(flattened(run.config))));

/**
 * Where and with what each run was made. words: {git, gpu, attempts, tags, duration, host, python} -> its
 * label.
 */
export function environmentRows(runs, words, format) {
  const everywhere = (tag) => Number(runs.every(({tags}) => tags.includes(tag)));
  // a narrow cell shows those that differ
  const tagText = (tags) => [...tags].sort((a, b) => everywhere(a) - everywhere(b)).join(", ");
  return valueRows(runs.map((run) => {
    const meta = run.meta || {};
    return {
      [words.state]: format.state(run),
      [words.group]: run.group ?? undefined,
      [words.jobType]: run.job_type ?? undefined,
      [words.git]: meta.git?.commit ? meta.git.commit.slice(0, 8) + (meta.git.dirty ? " +" : "") : undefined,
      [words.gpu]: format.gpus(meta.gpus),
      [words.attempts]: run.attempts?.at(-1)?.n || 1,
      [words.tags]: tagText(run.tags) || undefined,
      [words.duration]: format.duration(run.duration),
      [words.host]: run.host || meta.hostname,
      [words.python]: meta.python,
    };
  }));
}
