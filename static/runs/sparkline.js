// A run's sparkline: 54 by 18, logarithmic where all values are positive, as wide as the run is far. Pure but
// for draw().

import {svg} from "../shared/dom.js";

export const WIDTH = 54;
export const HEIGHT = 18;
const MARGIN = 2.5;
const SHORTEST = 0.12;           // of the width: a run that has just begun is still a line

/**
 * Points of the line. values: floats or null (NaN) in order; share: how far the run is, 0 to 1.
 * Returns {path, end: [x, y] | null, broken: whether it ends in NaN}.
 */
export function sparkPath(values, share = 1) {
  const finite = values.filter((value) => typeof value === "number" && Number.isFinite(value));
  if (!finite.length) {
    return {path: "", end: null, broken: values.length > 0};
  }
  const scale = Math.min(...finite) > 0 ? Math.log : (value) => value;
  const [low, high] = [scale(Math.min(...finite)), scale(Math.max(...finite))];
  const width = (WIDTH - 2 * MARGIN) * Math.max(SHORTEST, Math.min(1, share));
  const x = (i) => MARGIN + (values.length > 1 ? (i / (values.length - 1)) * width : 0);
  const y = (value) => (high > low
    ? HEIGHT - MARGIN - ((scale(value) - low) / (high - low)) * (HEIGHT - 2 * MARGIN) : HEIGHT / 2);
  let [path, pen, end] = ["", "M", null];
  values.forEach((value, i) => {
    if (typeof value === "number" && Number.isFinite(value)) {
      end = [x(i), y(value)];
      path += `${pen}${end[0].toFixed(1)} ${end[1].toFixed(1)}`;
      pen = "L";
    } else {
      pen = "M";
    }
  });
  return {path, end, broken: values.at(-1) === null};
}

/** An empty sparkline. */
export function sparkline() {
  return svg("svg.spark", {"aria-hidden": "true"}, svg("path"), svg("circle", {r: 2}));
}

/** Draw values into a sparkline; live: with a green dot at its end. */
export function draw(node, values, {share = 1, live = false} = {}) {
  const [line, dot] = node.children;
  const {path, end, broken} = sparkPath(values || [], share);
  line.setAttribute("d", path);
  dot.setAttribute("class", broken ? "nan" : live ? "live" : "none");
  if (end) {
    dot.setAttribute("cx", end[0]);
    dot.setAttribute("cy", end[1]);
  }
}
