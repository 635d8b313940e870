// The two axes of a chart: range, transform, lines and words for what x and y are.

import {durationTicks, finest, linearTicks, logTicks, logUnit, places, spanRange, tickLabels, timeTicks,
  transform, valueRange} from "./axes.js";
import {now} from "../shared/clock.js";
import {fmt, t} from "../shared/words.js";

const X_SPACE = 84;              // px a label on the x axis has to itself
const Y_SPACE = 54;
const MOST = 8;                  // lines of an axis, however long it is
const GAP = 8;                   // px between two labels of the x axis at least
const FIGURE = 6.3;              // px of a figure at the size of labels; of a Chinese character twice as many
const FINE = 1000;               // parts of a range that are told apart where a value is read off
const YEAR = 360 * 86400;        // lines further apart than this are the first days of years
const TWICE = [-3600, 3600, -1800, 1800];     // s by which clocks are put back
const LONG = 12;                 // characters of a duration; longer ones say how far a line is from the first

const zone = (at) => -new Date(at * 1000).getTimezoneOffset() * 60;

const year = (at) => new Date(at * 1000).getFullYear();

/** A day beside `other`: Oct 22, or 2025-10-22 where that one is of another year. */
const dayBeside = (at, other) => (year(at) === year(other) ? fmt.day(at) : fmt.date(at));

/** Digits behind the second that tell moments `seconds` apart. */
const secondDigits = (seconds) => Math.max(0, Math.min(6, Math.ceil(-Math.log10(seconds) - 1e-9)));

/** Which of two the moment is, where the clock is put back and shows the same twice: " GMT+1", else "". */
const whichOfTwo = (at) => (TWICE.some((away) => fmt.clock(at + away) === fmt.clock(at))
  ? ` ${fmt.zone(at)}` : "");

/** Times of day; the first line of a day says which day, unless all of them are of today. */
function clockLabels(ticks, today = now()) {
  const step = ticks.length > 1 ? finest(ticks) : Infinity;
  const digits = step < 60 ? Math.min(6, places(step)) : 0;
  const days = ticks.map(fmt.date);
  const dated = new Set([...days, fmt.date(today)]).size > 1;
  return ticks.map((at, i) => {
    const clock = (step < 60 ? fmt.seconds(at, digits) : fmt.clock(at)) + whichOfTwo(at);
    if (!dated || days[i] === days[i - 1]) {
      return clock;
    }
    const day = step > YEAR ? String(year(at)) : dayBeside(at, ticks[i - 1] ?? today);
    return (at + zone(at)) % 86400 === 0 ? day : `${day} ${clock}`;
  });
}

/**
 * 0, 30s, 1m; where those take too much room or two lines would say the same, the first one and how far the
 * others are from it.
 */
function durationLabels(ticks) {
  if (ticks.length > 1 && finest(ticks) < 1 || ticks.some((seconds) => !Number.isInteger(seconds))) {
    return tickLabels(ticks).map((label) => (label === "0" ? label : t("time.span.s", {n: label})));
  }
  const labels = ticks.map((seconds) => (seconds === 0 ? "0" : fmt.span(seconds)));
  const clear = new Set(labels).size === labels.length && labels.every((label) => label.length <= LONG);
  return clear ? labels : [fmt.span(ticks[0], 4),
    ...ticks.slice(1).map((seconds) => `+${fmt.span(seconds - ticks[0])}`)];
}

const WORDS = {
  relative: {ticks: durationTicks, labels: durationLabels, exact: (x, digits) => fmt.span(x, 4, digits)},
  wall: {
    ticks: (lo, hi, count) => timeTicks(lo, hi, count, zone),
    labels: clockLabels,
    exact: (x, digits) => `${dayBeside(x, now())} ${fmt.seconds(x, digits)}${whichOfTwo(x)}`,
  },
};

/**
 * How a value of this range is read off: with the digits that tell a thousandth of the range, at least those
 * it has everywhere.
 */
function readOff(range, kind) {
  const fine = (range[1] - range[0]) / FINE;
  if (kind in WORDS) {
    return (x) => WORDS[kind].exact(x, secondDigits(fine));
  }
  return (value) => (kind === "step" && Number.isSafeInteger(value) ? fmt.int(value) : fmt.fine(value, fine));
}

/** About how wide a label is, in px. */
const width = (label) => [...label].reduce((sum, letter) => sum + (letter > "\u2e80" ? 2 : 1), 0) * FIGURE;

/** Whether labels at these places (px) leave room between them. */
const clear = (labels, places) => labels.slice(1).every((label, i) =>
  Math.abs(places[i + 1] - places[i]) >= (width(label) + width(labels[i])) / 2 + GAP);

/**
 * An axis for {lo, hi, tiny, whole}: {range, unit, fwd, bwd, ticks(px), labels(ticks), exact(value)}.
 * side: "x" or "y"; log: logarithmic; kind: what x is ("step", "relative", "wall", "metric"); whole: there is
 * nothing between two whole numbers.
 */
export function axisFor(side, limits, log, kind = "value") {
  const known = limits.lo <= limits.hi;
  const unit = log && known ? logUnit(limits) : 0;
  const range = side === "x" ? spanRange(limits.lo, limits.hi, kind) : valueRange(limits, log, unit);
  if (log && !unit && range[0] <= 0) {
    range[0] = Math.min(range[1], 1) * 0.1;      // a flat x axis at zero
  }
  const special = side === "x" && (!log || kind === "wall") ? WORDS[kind] : null;
  const lines = special?.ticks || (log
    ? (lo, hi, count) => logTicks(lo, hi, count, unit)
    : (lo, hi, count) => linearTicks(lo, hi, count, limits.whole));
  const labels = special?.labels || tickLabels;
  const {fwd, bwd} = transform(log, unit);
  const [lo, hi] = range;
  const place = (px) => (value) => ((fwd(value) - fwd(lo)) / (fwd(hi) - fwd(lo))) * px;
  const ticks = (px) => {
    let count = Math.max(2, Math.min(MOST, Math.floor(px / (side === "x" ? X_SPACE : Y_SPACE))));
    let values = lines(lo, hi, count);
    while (side === "x" && count > 2 && !clear(labels(values), values.map(place(px)))) {
      count -= 1;
      values = lines(lo, hi, count);
    }
    return values;
  };
  return {range, unit, fwd, bwd, ticks, labels, exact: readOff(range, kind)};
}
