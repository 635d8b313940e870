// The head of a chart: its name, its curves with their last values, how many points there are. What has no
// room is counted, never cut in a number.

import {swatch} from "./tooltip.js";
import {fontFamily, h, own, renew} from "../shared/dom.js";
import {fmt, t} from "../shared/words.js";

const GAP = 12;                  // px between the parts of the head
const SWATCH = 22;               // px of a curve's swatch and of what stands around its value
const SHORT = 64;                // px of a curve's name where all of them in full are too long
const BUTTONS = 52;              // px of the buttons that come with the pointer
const TITLE = 0.58;              // most of the head that the chart's name takes

let context = null;
const widths = new Map();

/** Width of a text in px; measured without a layout of the page. */
function width(text, font) {
  const name = `${font} ${text}`;
  if (!widths.has(name)) {
    context ??= document.createElement("canvas").getContext("2d");
    context.font = `${font} ${fontFamily()}`;
    widths.set(name, context.measureText(text).width);
  }
  if (widths.size > 5000) {
    widths.clear();
  }
  return widths.get(name) ?? 0;
}

/**
 * How many of `entries` (each {name, value}: their widths in px) fit into `room` px, with their names in full
 * or short: {count, short}. At least one, for a lone value says more than "+3". more: px of the count of
 * those left out.
 */
export function fitting(entries, room, more = 30) {
  const taken = (list, short) =>
    list.reduce((sum, {name, value}) => sum + GAP + SWATCH + value + (short ? Math.min(name, SHORT) : name),
      0);
  for (const short of [false, true]) {
    if (taken(entries, short) <= room) {
      return {count: entries.length, short};
    }
  }
  let count = entries.length - 1;
  while (count > 1 && taken(entries.slice(0, count), true) + GAP + more > room) {
    count -= 1;
  }
  return {count, short: true};
}

function points(series) {
  if (!series.length) {
    return [];
  }
  const kinds = series.flatMap((s) => (s.nan || []).map(([, kind]) => kind));
  const bad = series.reduce((sum, s) => sum + (s.bad ?? s.nan?.length ?? 0), 0);
  const word = kinds.every((kind) => kind === "NaN") ? "charts.nan" : "charts.bad";
  const widest = series.reduce((a, b) => (b.m > a.m ? b : a));
  const doubts = [
    series.some((s) => s.approximate) ? h("span.warn", {}, t("charts.approximate")) : null,
    kinds.length ? h("span.bad", {}, t(word, {n: bad})) : null,
  ];
  return [...doubts.filter(Boolean), h("span.pts", {}, t("charts.count", {n: widest.n, m: widest.m}))];
}

export class Head {
  constructor(actions) {
    this.name = h("h2.cut");
    this.legend = h("span.lgd");
    this.count = h("span.n", {title: t("charts.countTitle")});
    this.node = h("header", {}, this.name, this.legend, this.count, h("span.act", {}, actions));
  }

  /**
   * Show {title, sub, logY, legend: whether curves are named} and `series`, written by figure(value), in
   * `room` px (0: not known yet).
   */
  draw({title = "", sub = "", logY = false, legend = true}, series, figure, room) {
    const words = [own(title), sub ? h("span.m3", {}, " ", own(sub)) : null,
      logY ? h("span.m3", {}, ` ${t("charts.log")}`) : null];
    this.name.title = title;
    renew(this.name, words);
    const counts = points(series);
    const entries = legend ? series.map((s) => [s, s.label || s.metric, figure(s.last.at(-1))]) : [];
    const text = (parts) => parts.map((part) => part.textContent).join(" ");
    const name = Math.min(room * TITLE,
      width([title, sub, logY ? t("charts.log") : ""].filter(Boolean).join(" "), "600 13px"));
    const left = (parts, least) => room - name - GAP - Math.max(least,
      width(text(parts), "12px") + (least ? BUTTONS : 8));
    const sizes = entries.map(([, label, value]) =>
      ({name: width(label, "12px"), value: width(value, "12px")}));
    const doubts = counts.slice(0, -1);
    // Beside the buttons where there is room for them, else below them; the number of points gives way to
    // values.
    /** @type {[string, any[], number][]} look, parts, px kept free for buttons */
  const ways = [["roomy", counts, BUTTONS], ["", counts, 0], ["bare", doubts, BUTTONS]];
    const fits = ([, parts, least]) => !room || fitting(sizes, left(parts, least)).count === sizes.length;
    const [look, parts, least] = ways.find(fits) || ways[2];
    const {count, short} = room ? fitting(sizes, left(parts, least)) : {count: sizes.length, short: false};
    this.node.dataset.look = look;
    renew(this.legend, entries.slice(0, count).map((entry) => this.entry(entry, short)),
      this.others(entries.slice(count)));
    renew(this.count, parts.flatMap((part) => [part, " "]).slice(0, -1));
  }

  entry([series, label, value], short) {
    return h("span", {title: series.metric}, swatch(series), own(label, {class: short ? "short" : ""}),
      h("b", {}, value));
  }

  /** The curves that had no room: how many, and what they are. */
  others(entries) {
    return entries.length
      ? [h("span.m3.others", {title: entries.map(([, label, value]) => `${label} ${value}`).join("\n")},
        `+${fmt.int(entries.length)}`)]
      : [];
  }
}
