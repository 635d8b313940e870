// Draws the curves of one chart on its canvas: bands, raw behind smooth, superseded points, marks for what is
// no number.

import {colours} from "../shared/dom.js";

const CROWDED = 2;               // curves that are drawn strong; more of them are fainter
// opacity of the raw curve behind its smooth one; fainter where many runs overlap
const RAW = 0.3;
const RAW_CROWDED = 0.09;
const BAND = 0.13;
const BAND_CROWDED = 0.06;
const CROWD = 12;                // curves from which their bands are one fog: none is drawn
const SUPERSEDED = 0.45;
const DOT_SPACE = 7;             // px a point must have to itself to get a dot
const NAMES = ["ink", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"];
const OTHERS = ["ink-3", "line", "line-2", "bad", "bg"];

let known = null;

/** The colours as they are now; forgets them when the theme changes. */
export function ink(name) {
  known ??= colours([...NAMES, ...OTHERS]);
  return known[name];
}

export function forgetColours() {
  known = null;
}

/** The colour of a series: 1 to 8 is a colour of the palette, 0 or nothing is ink. */
const strokeOf = (series) => ink(NAMES[series.colour || 0] || "ink");

function line(g, count, X, Y, from = 0) {
  g.beginPath();
  for (let i = from; i < count; i += 1) {
    g.lineTo(X(i), Y(i));
  }
}

/** Through minimum, maximum and last of every bucket, in the order they came: no spike is lost. */
function rawPath(g, s, place) {
  if (s.exact || !s.min_x || !s.max_x) {
    line(g, s.x.length, (i) => place.x(s.x[i]), (i) => place.y(s.last[i]));
    return;
  }
  g.beginPath();
  for (let i = 0; i < s.x.length; i += 1) {
    const low = [s.min_x[i], s.min[i]];
    const high = [s.max_x[i], s.max[i]];
    for (const [x, y] of [...(low[0] <= high[0] ? [low, high] : [high, low]), [s.x[i], s.last[i]]]) {
      g.lineTo(place.x(x), place.y(y));
    }
  }
}

function band(g, s, place, crowded) {
  g.beginPath();
  for (let i = 0; i < s.x.length; i += 1) {
    g.lineTo(place.x(s.x[i]), place.y(s.max[i]));
  }
  for (let i = s.x.length - 1; i >= 0; i -= 1) {
    g.lineTo(place.x(s.x[i]), place.y(s.min[i]));
  }
  g.globalAlpha = crowded ? BAND_CROWDED : BAND;
  g.fill();
}

function dots(g, s, place) {
  g.globalAlpha = 1;
  for (let i = 0; i < s.x.length; i += 1) {
    g.beginPath();
    g.arc(place.x(s.x[i]), place.y(s.last[i]), 1.9 * place.scale, 0, 7);
    g.fill();
  }
}

function endDot(g, s, place) {
  const y = s.smoothed ? s.smooth.at(-1) : s.last.at(-1);
  g.globalAlpha = 1;
  g.beginPath();
  g.arc(place.x(s.x.at(-1)), place.y(y), 2.6 * place.scale, 0, 7);
  g.fill();
}

/** NaN and infinity as triangles standing on the axis. */
function badMarks(g, s, place) {
  g.fillStyle = ink("bad");
  g.globalAlpha = 1;
  const size = 4 * place.scale;
  for (const [x, kind] of s.nan || []) {
    const at = place.x(x);
    const [foot, tip] = kind === "Infinity" ? [place.top, place.top + 1.7 * size]
      : [place.bottom, place.bottom - 1.7 * size];
    g.beginPath();
    g.moveTo(at - size, foot);
    g.lineTo(at + size, foot);
    g.lineTo(at, tip);
    g.fill();
  }
}

function superseded(g, s, place, crowded) {
  const old = s.superseded;
  if (old?.x.length) {
    g.globalAlpha = s.smoothed ? (crowded ? RAW_CROWDED : RAW) * SUPERSEDED : SUPERSEDED;
    g.lineWidth = place.scale;
    g.setLineDash([]);
    line(g, old.x.length, (i) => place.x(old.x[i]), (i) => place.y(old.last[i]));
    g.stroke();
  }
}

function series(g, s, place, count) {
  if (!s.x.length) {
    return;
  }
  const crowded = count > CROWDED;
  const dash = (s.dash || []).map((length) => length * place.scale);
  if (!s.exact && s.min && count <= CROWD) {
    band(g, s, place, crowded);
  }
  if (s.smoothed) {
    g.globalAlpha = crowded ? RAW_CROWDED : RAW;
    g.lineWidth = place.scale;
    rawPath(g, s, place);
    g.stroke();
  }
  g.globalAlpha = 1;
  g.lineWidth = (s.smoothed || s.x.length < 400 || !s.noise ? 1.6 : 1.1) * place.scale;
  g.setLineDash(dash);
  if (s.smoothed) {
    line(g, s.x.length, (i) => place.x(s.x[i]), (i) => place.y(s.smooth[i]));
  } else {
    rawPath(g, s, place);
  }
  g.stroke();
  g.setLineDash([]);
  const wide = Math.abs(place.x(s.x.at(-1)) - place.x(s.x[0])) / s.x.length > DOT_SPACE * place.scale;
  if (s.x.length === 1 || (wide && !s.smoothed && s.dots !== false)) {
    dots(g, s, place);
  }
  endDot(g, s, place);
}

/** Dotted lines with a word at their foot: where an attempt began. marks: [{x, label}]. */
function markLines(g, marks, place) {
  g.font = `${11 * place.scale}px ${place.font}`;
  g.lineWidth = place.scale;
  for (const {x, label} of marks) {
    const at = Math.round(place.x(x)) + place.scale / 2;
    if (at < place.left || at > place.right) {
      continue;
    }
    g.globalAlpha = 1;
    g.strokeStyle = ink("ink-3");
    g.fillStyle = ink("ink-3");
    g.setLineDash([place.scale, 3 * place.scale]);
    g.beginPath();
    g.moveTo(at, place.top);
    g.lineTo(at, place.bottom);
    g.stroke();
    g.setLineDash([]);
    const room = place.right - at > 60 * place.scale;
    g.textAlign = room ? "left" : "right";
    g.textBaseline = "alphabetic";
    g.fillText(label, at + (room ? 4 : -4) * place.scale, place.bottom - 5 * place.scale);
  }
}

/**
 * Paint all series. place: {x(value), y(value): canvas px, left, right, top, bottom: the plot's box, scale:
 * canvas px per CSS px, font}. Of each series: colour, dash, smoothed (draw .smooth over a faint raw curve),
 * noise, dots.
 */
export function paint(g, list, marks, place) {
  g.save();
  g.beginPath();
  g.rect(place.left, place.top - 3 * place.scale, place.right - place.left + 4 * place.scale,
    place.bottom - place.top + 4 * place.scale);
  g.clip();
  g.lineJoin = "round";
  markLines(g, marks, place);
  for (const s of list) {
    g.strokeStyle = strokeOf(s);
    g.fillStyle = strokeOf(s);
    superseded(g, s, place, list.length > CROWDED);
    series(g, s, place, list.length);
  }
  for (const s of list) {
    badMarks(g, s, place);
  }
  g.restore();
}
