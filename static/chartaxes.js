// The two axes of a chart: range, transform, lines and words for what x and y are.

import {durationTicks, linearTicks, logTicks, logUnit, spanRange, tickLabels, timeTicks, transform, valueRange} from "./axis.js";
import {fmt} from "./words.js";

const X_SPACE = 84;              // px a label on the x axis has to itself
const Y_SPACE = 54;
const MOST = 8;                  // lines of an axis, however long it is

const zone = (at) => -new Date(at * 1000).getTimezoneOffset() * 60;

function clockLabels(ticks) {
  const wide = ticks.length > 1 && ticks.at(-1) - ticks[0] >= 86400;
  const fine = ticks.length > 1 && ticks[1] - ticks[0] < 60;
  return ticks.map((at) => (fine ? fmt.seconds(at) : wide && (at + zone(at)) % 86400 === 0 ? fmt.day(at) : fmt.clock(at)));
}

function durationLabels(ticks) {
  return ticks.map((seconds) => (seconds === 0 ? "0" : Number.isInteger(seconds) ? fmt.span(seconds) : `${tickLabels([seconds])[0]}s`));
}

const WORDS = {
  relative: {ticks: durationTicks, labels: durationLabels, exact: (x) => fmt.duration(x)},
  wall: {
    ticks: (lo, hi, count) => timeTicks(lo, hi, count, zone(lo)),
    labels: clockLabels,
    exact: (x) => `${fmt.day(x)} ${fmt.seconds(x)}`,
  },
};

/**
 * An axis for {lo, hi, tiny}: {range, unit, fwd, bwd, ticks(px), labels(ticks), exact(value)}.
 * side: "x" or "y"; log: logarithmic; kind: what x is ("step", "relative", "wall", "metric").
 */
export function axisFor(side, limits, log, kind = "value") {
  const known = limits.lo <= limits.hi;
  const unit = log && known ? logUnit(limits) : 0;
  const range = side === "x" ? spanRange(limits.lo, limits.hi) : valueRange(limits, log, unit);
  if (log && !unit && range[0] <= 0) {
    range[0] = Math.min(range[1], 1) * 0.1;      // a flat x axis at zero
  }
  const special = side === "x" && !log ? WORDS[kind] : null;
  const ticks = special?.ticks || (log ? (lo, hi, count) => logTicks(lo, hi, count, unit) : linearTicks);
  return {
    range, unit, ...transform(log, unit),
    ticks: (px) => ticks(...range, Math.max(2, Math.min(MOST, Math.floor(px / (side === "x" ? X_SPACE : Y_SPACE))))),
    labels: special?.labels || tickLabels,
    exact: WORDS[kind]?.exact || fmt.value,
  };
}
