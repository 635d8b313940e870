// Axes: how a value becomes a place, which range is shown, where the lines stand and what they say. Pure.

const FLAT = 0.05;               // half the range of a flat curve, as a share of its value
const PAD = 0.05;                // free above and below the curves, as a share of their height
const NEAR_ZERO = 0.3;           // a curve that comes this near to zero (share of its height) is shown from zero
const TIME_STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000,
];

/**
 * The transform of a scale: {fwd, bwd}. Linear; or logarithmic: with `unit` 0 the plain logarithm, else one that passes
 * through zero and is mirrored below it, linear within `unit` (symlog: sign(v) log10(1 + |v| / unit)).
 */
export function transform(log, unit = 0) {
  if (!log) {
    return {fwd: (v) => v, bwd: (v) => v};
  }
  if (!unit) {
    return {fwd: (v) => Math.log10(v > 0 ? v : Number.MIN_VALUE), bwd: (v) => 10 ** v};
  }
  return {fwd: (v) => Math.sign(v) * Math.log10(1 + Math.abs(v) / unit), bwd: (v) => Math.sign(v) * unit * (10 ** Math.abs(v) - 1)};
}

/** The unit of a logarithmic scale for values between lo and hi, the smallest magnitude that is not zero being `tiny`. */
export function logUnit({lo, hi, tiny}) {
  const largest = Math.max(Math.abs(lo), Math.abs(hi));
  return lo > 0 ? 0 : Math.max(tiny || 1, largest * 1e-9) || 1;
}

/** [min, max] to show for the extent {lo, hi} of values, 0 to 1 without any. */
export function valueRange({lo, hi}, log = false, unit = 0) {
  if (!(lo <= hi)) {
    return log ? [0.1, 10] : [0, 1];
  }
  if (log) {
    const {fwd, bwd} = transform(true, unit);
    const [a, b] = [fwd(lo), fwd(hi)];
    const room = (b - a) * PAD || 0.5;
    return [unit && lo === 0 ? 0 : bwd(a - room), bwd(b + room)];
  }
  if (lo === hi) {
    const half = Math.abs(lo) * FLAT || 1;
    return [lo - half, hi + half];
  }
  const height = hi - lo;
  const bottom = lo >= 0 && lo <= height * NEAR_ZERO ? 0 : lo - height * PAD;
  return [bottom, hi + height * PAD];
}

/** [min, max] of an x axis: the data's own range, widened only if it has no width. */
export function spanRange(lo, hi) {
  if (!(lo <= hi)) {
    return [0, 1];
  }
  return lo === hi ? [lo - (Math.abs(lo) * FLAT || 0.5), hi + (Math.abs(hi) * FLAT || 0.5)] : [lo, hi];
}

function multiples(lo, hi, step) {
  const first = Math.ceil(lo / step - 1e-9);
  const last = Math.floor(hi / step + 1e-9);
  return Array.from({length: Math.min(200, Math.max(0, last - first + 1))}, (_, i) => {
    const value = (first + i) * step;
    return Math.abs(value) < step * 1e-9 ? 0 : Number(value.toPrecision(12));
  });
}

/** Round values between lo and hi, about `count` of them. */
export function linearTicks(lo, hi, count) {
  const rough = (hi - lo) / Math.max(1, count);
  if (!(rough > 0) || !Number.isFinite(rough)) {
    return [lo];
  }
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((k) => k >= rough * 0.7);
  return multiples(lo, hi, step);
}

function powersBetween(lo, hi, count) {
  const [first, last] = [Math.ceil(Math.log10(lo) - 1e-9), Math.floor(Math.log10(hi) + 1e-9)];
  const every = Math.max(1, Math.ceil((last - first + 1) / Math.max(2, count)));
  const out = [];
  for (let power = Math.ceil(first / every) * every; power <= last; power += every) {
    out.push(Number(`1e${power}`));
  }
  return out;
}

/** Powers of ten between lo and hi; 2 and 5 between them where there are few; plain round values below one decade. */
export function logTicks(lo, hi, count, unit = 0) {
  if (unit) {
    return symlogTicks(lo, hi, count, unit);
  }
  const powers = powersBetween(lo, hi, count);
  if (powers.length >= 2) {
    return powers;
  }
  const fine = [];
  for (let power = Math.floor(Math.log10(lo)); power <= Math.log10(hi); power += 1) {
    fine.push(...[1, 2, 5].map((k) => Number(`${k}e${power}`)));
  }
  const inside = fine.filter((v) => v >= lo && v <= hi);
  return inside.length >= 2 ? inside : linearTicks(lo, hi, count);
}

function symlogTicks(lo, hi, count, unit) {
  const half = Math.max(2, Math.ceil(count / (lo < 0 && hi > 0 ? 2 : 1)));
  const above = hi > unit ? powersBetween(Math.max(unit, lo), hi, half) : [];
  const below = lo < -unit ? powersBetween(Math.max(unit, -hi), -lo, half).map((v) => -v).reverse() : [];
  return [...below, ...(lo <= 0 && hi >= 0 ? [0] : []), ...above];
}

/** Round spans of seconds (an axis of durations), about `count` of them. */
export function durationTicks(lo, hi, count) {
  const rough = (hi - lo) / Math.max(1, count);
  const step = TIME_STEPS.find((one) => one >= rough);
  return step && rough >= 0.5 ? multiples(lo, hi, step) : linearTicks(lo, hi, count);
}

/** Round moments of the reader's clock; offset: seconds his zone is ahead of UTC. */
export function timeTicks(lo, hi, count, offset = 0) {
  return durationTicks(lo + offset, hi + offset, count).map((at) => at - offset);
}

function trimmed(value, digits) {
  return value.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

function decimals(values) {
  const steps = values.slice(1).map((v, i) => Math.abs(v - values[i])).filter((v) => v > 0);
  const step = steps.length ? Math.min(...steps) : Math.abs(values[0]) || 1;
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const half = Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6;     // steps of 2.5
  return Math.min(12, digits + (half ? 1 : 0));
}

function scientific(value) {
  if (value === 0) {
    return "0";
  }
  const [mantissa, power] = value.toExponential(3).split("e");
  return `${mantissa.replace(/\.?0+$/, "")}e${power.replace("+", "")}`;
}

/** What the lines of an axis say: one notation for all of them, a real minus sign. */
export function tickLabels(values) {
  const largest = Math.max(...values.map(Math.abs), 0);
  const smallest = Math.min(...values.filter((v) => v !== 0).map(Math.abs), Infinity);
  const label = notation(largest, smallest, values);
  return values.map((v) => label(v).replaceAll("-", "−"));
}

function notation(largest, smallest, values) {
  if (largest >= 1e15 || (largest > 0 && largest < 1e-3) || (smallest < 1e-3 && largest / smallest > 1e3)) {
    return scientific;
  }
  const [size, letter] = [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ].find(([one]) => largest >= one * 10 || (one > 1e3 && largest >= one)) || [1, ""];
  if (letter) {
    return (v) => (v === 0 ? "0" : trimmed(v / size, 6) + letter);
  }
  const digits = decimals(values);
  const even = values.length < 2 || largest / smallest < 100;
  const grouped = (text) => text.replace(/^(-?\d+)(\d{3})(?=$|\.)/, "$1,$2");
  return (v) => grouped(even ? v.toFixed(v === 0 ? 0 : digits) : trimmed(v, 10));
}
