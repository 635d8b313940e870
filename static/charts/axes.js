// Axes: how a value becomes a place, which range is shown, where the lines stand and what they say. Pure.

const FLAT = 0.05;               // half the range of a flat curve, as a share of its value
const PAD = 0.05;                // free above and below the curves, as a share of their height
// a curve that comes this near to zero (share of its height) is shown from zero
const NEAR_ZERO = 0.3;
const FIGURES = 9;               // characters of a label; longer ones say how far a line is from the first
// largest to smallest value of an axis, from which each line has a notation of its own
const GEOMETRIC = 30;
const MINUTE = 60;
const DAY = 86400;
const MONTH = 30.44 * DAY;
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, DAY,
  2 * DAY, 3 * DAY, 7 * DAY, 14 * DAY];
const MONTH_STEPS = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200];
const NEARER = 0.7;              // share of the distance wished for that lines may have at least
// lines further apart than this keep to the reader's clock when it is put forward or back
const SUMMER_TIME = 3600;

/**
 * The transform of a scale: {fwd, bwd}. Linear; or logarithmic: with `unit` 0 the plain logarithm, else one
 * that passes through zero and is mirrored below it, linear within `unit` (symlog: sign(v) log10(1 + |v| /
 * unit)).
 */
export function transform(log, unit = 0) {
  if (!log) {
    return {fwd: (v) => v, bwd: (v) => v};
  }
  if (!unit) {
    return {fwd: (v) => Math.log10(v > 0 ? v : Number.MIN_VALUE), bwd: (v) => 10 ** v};
  }
  return {fwd: (v) => Math.sign(v) * Math.log10(1 + Math.abs(v) / unit),
    bwd: (v) => Math.sign(v) * unit * (10 ** Math.abs(v) - 1)};
}

/**
 * The unit of a logarithmic scale for values between lo and hi, the smallest magnitude that is not zero being
 * `tiny`.
 */
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
  const height = Math.min(hi - lo, Number.MAX_VALUE);
  const bottom = lo >= 0 && lo <= height * NEAR_ZERO ? 0 : lo - height * PAD;
  return [Math.max(-Number.MAX_VALUE, bottom), Math.min(Number.MAX_VALUE, hi + height * PAD)];
}

/**
 * [min, max] of an x axis: the data's own range, widened only if it has no width: around a moment by a
 * minute, for it is no quantity.
 */
export function spanRange(lo, hi, kind = "step") {
  if (!(lo <= hi)) {
    return [0, 1];
  }
  if (lo < hi) {
    return [lo, hi];
  }
  const half = kind === "wall" ? MINUTE / 2 : Math.abs(lo) * FLAT || 0.5;
  return [kind === "relative" && lo >= 0 ? Math.max(0, lo - half) : lo - half, hi + half];
}

function multiples(lo, hi, step) {
  const first = Math.ceil(lo / step - 1e-9);
  const last = Math.floor(hi / step + 1e-9);
  const values = Array.from({length: Math.min(200, Math.max(0, last - first + 1))}, (_, i) => {
    const value = (first + i) * step;
    const figures = Math.ceil(Math.log10(Math.abs(value) / step)) + 3;
    return Math.abs(value) < step * 1e-9 ? 0 : figures > 12 ? value : Number(value.toPrecision(12));
  });
  return values.filter((value, i) => value !== values[i - 1]);           // steps finer than a double
}

/** The lines of the first of `steps`, coarsest first, that has two of them; lines(step) -> values. */
function atLeastTwo(steps, lines) {
  let values = [];
  for (const step of steps) {
    values = lines(step);
    if (values.length >= 2) {
      break;
    }
  }
  return values;
}

/** Round values between lo and hi, about `count` of them; whole: none between two whole numbers. */
export function linearTicks(lo, hi, count, whole = false) {
  const rough = Math.max(hi / Math.max(1, count) - lo / Math.max(1, count), whole ? 1 : 0);
  if (!(rough > 0) || !Number.isFinite(rough)) {
    return [lo];
  }
  const power = 10 ** Math.floor(Math.log10(rough));
  const steps = [10, 5, 2.5, 2, 1, 0.5, 0.25].map((k) => k * power)
    .filter((step) => !whole || Number.isInteger(step));
  const wanted = steps.findLastIndex((step) => step >= rough * NEARER);
  const values = atLeastTwo(steps.slice(wanted), (step) => multiples(lo, hi, step));
  return values.length ? values : [lo];
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

/**
 * Powers of ten between lo and hi; 2 and 5 between them where there are few; plain round values below one
 * decade.
 */
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
  const values = [...below, ...(lo <= 0 && hi >= 0 ? [0] : []), ...above];
  return values.length >= 2 ? values : linearTicks(lo, hi, count);
}

/**
 * The steps of `all` (ascending) to try for lines that are `rough` apart: the next larger one, then the
 * smaller ones.
 */
function stepsFrom(all, rough) {
  const at = all.findIndex((step) => step >= rough * NEARER);
  return all.slice(0, (at < 0 ? all.length - 1 : at) + 1).reverse();
}

/** Round spans of seconds (an axis of durations), about `count` of them. */
export function durationTicks(lo, hi, count) {
  const rough = (hi - lo) / Math.max(1, count);
  if (rough < 0.5) {
    return linearTicks(lo, hi, count);
  }
  if (rough > TIME_STEPS.at(-1)) {
    return linearTicks(lo / DAY, hi / DAY, count).map((days) => days * DAY);
  }
  return atLeastTwo(stepsFrom(TIME_STEPS, rough), (step) => multiples(lo, hi, step));
}

/**
 * First days of months, every `months` of them, between two readings of a clock (seconds as if the clock
 * showed UTC).
 */
function monthStarts(lo, hi, months) {
  const date = new Date(lo * 1000);
  const first = Math.ceil((date.getUTCFullYear() * 12 + date.getUTCMonth()) / months) * months;
  const starts = Array.from({length: 64}, (_, i) => Date.UTC(0, first - 1900 * 12 + i * months) / 1000);
  return starts.filter((at) => at >= lo && at <= hi);
}

/**
 * Readings of a clock between lo and hi, round ones: seconds, minutes, hours, days, weeks from Monday,
 * months, years.
 */
function clockReadings(lo, hi, count) {
  const rough = (hi - lo) / Math.max(1, count);
  if (rough < 0.5) {
    return linearTicks(lo, hi, count);
  }
  const monday = 4 * DAY;        // the first one of 1970
  const even = () => atLeastTwo(stepsFrom(TIME_STEPS, rough),
    (step) => multiples(lo - monday, hi - monday, step).map((at) => at + monday));
  const months = rough > TIME_STEPS.at(-1)
    ? atLeastTwo(stepsFrom(MONTH_STEPS, rough / MONTH), (step) => monthStarts(lo, hi, step)) : [];
  return months.length >= 2 ? months : even();
}

/**
 * Round moments of the reader's clock. zone: seconds it is ahead of UTC, a number or a function of the
 * moment, for where it is put forward and back between lo and hi: its midnights are midnights on both sides.
 * @param {number} lo @param {number} hi @param {number} count @param {number | ((moment: number) => number)} zone
 * @returns {number[]}
 */
export function timeTicks(lo, hi, count, zone = 0) {
  const ahead = typeof zone === "function" ? zone : (/** @type {number} */ _) => zone;
  const readings = clockReadings(lo + ahead(lo), hi + ahead(hi), count);
  if (readings.length < 2 || readings[1] - readings[0] <= SUMMER_TIME) {
    return clockReadings(lo + ahead(lo), hi + ahead(lo), count).map((at) => at - ahead(lo));
  }
  const moments = readings.map((at) => at - ahead(at - ahead(lo)));
  return moments.filter((at, i) => at >= lo && at <= hi && at !== moments[i - 1]);
}

// -- what the lines say -------------------------------------------------------------------------------------

/** @type {[number, string][]} */
const LETTERS = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
/** @type {[number, string]} */
const UNIT = [1, ""];

const untailed = (text) => text.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");

const grouped = (text) => text.replace(/\d+/, (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ","));

function scientific(value, figures = 4) {
  if (value === 0 || !Number.isFinite(value)) {
    return String(value);
  }
  const [mantissa, power] = value.toExponential(Math.max(0, Math.min(16, figures - 1))).split("e");
  return untailed(mantissa) + (Number(power) ? `e${power.replace("+", "")}` : "");
}

/** Decimal places that tell multiples of `step` apart, those of 2.5 too. */
export function places(step) {
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const half = Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6;
  return Math.min(100, digits + (half ? 1 : 0));
}

/** How far lines are apart: two figures of it, for the rest is what a double of their size can't hold. */
export const finest = (values) => Number(
  Math.min(...values.slice(1).map((v, i) => Math.abs(v - values[i])).filter((v) => v > 0)).toPrecision(2));

/** What the lines of an axis say: no two the same, one notation for all of them, a real minus sign. */
export function tickLabels(values) {
  const sizes = values.filter((v) => v !== 0).map(Math.abs);
  const [largest, smallest] = [Math.max(...sizes, 0), Math.min(...sizes, Infinity)];
  const step = values.length > 1 ? finest(values) : Infinity;
  const labels = largest / smallest > GEOMETRIC || !Number.isFinite(step)
    ? values.map(largest >= 1e15 || smallest < 1e-3 ? (v) => scientific(v) : (v) => short(v, largest))
    : evenLabels(values, largest, step);
  return labels.map((label) => label.replaceAll("-", "−"));
}

/** A value beside others of other sizes: 0.1, 1, 10, 100, 1k. */
function short(value, largest) {
  const size = Math.abs(value);
  const [unit, letter] = (largest >= 1e4 && LETTERS.find(([one]) => size >= one)) || UNIT;
  return grouped(untailed((value / unit).toFixed(letter ? 6 : 10))) + letter;
}

/**
 * Labels of lines that are `step` apart: the shortest notation that has all the digits, else how far they are
 * from the first.
 */
function evenLabels(values, largest, step) {
  const figures = Math.floor(Math.log10(largest)) - Math.floor(Math.log10(step) + 1e-9) + 2;
  const notations = notationsFor(largest, step, figures);
  const fits = (labels) => labels.every((label) => label.length <= FIGURES)
    && new Set(labels).size === labels.length;
  const written = notations.map((notation) => values.map(notation));
  return written.find(fits) || fromTheFirst(values, step, written.map(([label]) => untailed(label)));
}

/** The notations for values up to `largest`, best first. */
function notationsFor(largest, step, figures) {
  const exact = (v) => scientific(v, figures);
  const plain = (v) => (v === 0 ? "0" : grouped(v.toFixed(places(step))));
  const [size, letter] = LETTERS.find(([one]) => largest >= one * 10 || (one > 1e3 && largest >= one))
    || UNIT;
  const lettered = (v) => (v === 0 ? "0" : untailed((v / size).toFixed(places(step / size))) + letter);
  if (largest >= 1e15 || largest < 1e-3) {
    return [exact];
  }
  return !letter ? [plain, exact] : places(step / size) <= 3 ? [lettered, plain] : [plain, lettered];
}

/**
 * 1,795,712,416, +5, +10: the first line in full, in the shortest of `firsts`, the others by their distance
 * from it.
 */
function fromTheFirst(values, step, firsts) {
  const first = firsts.reduce((best, one) => (one.length < best.length ? one : best));
  const away = values.map((v) => Math.round((v - values[0]) / step) * step);
  return [first, ...tickLabels(away).slice(1).map((label) => `+${label}`)];
}
