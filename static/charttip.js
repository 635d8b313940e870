// The box beside the crosshair: the values of every curve there, largest first. One for the whole page.

import {fill, h, own} from "./dom.js";
import {fmt, t} from "./words.js";

const GAP = 14;                  // px between crosshair and box
const ROWS = 16;                 // more curves than this: the rest is counted

let box = null;

/** A swatch as the curve is drawn. */
export function swatch(series, extra = "") {
  const kind = series.dash?.length ? (series.dash[0] < 4 ? "dots" : "dash") : "";
  return h(`i.sw.k${series.colour || 0}`, {class: `${kind} ${extra}`, "aria-hidden": "true"});
}

function difference(value, base) {
  if (base == null || !base) {
    return "";
  }
  const share = (value - base) / Math.abs(base);
  return share === 0 ? "=" : `${share > 0 ? "+" : "−"}${fmt.percent(Math.abs(share), Math.abs(share) < 0.1 ? 1 : 0)}`;
}

function rows(values, options) {
  const smooth = values.some((row) => row.smooth != null);
  const base = options.baseline && values.find((row) => row.series.run === options.baseline)?.value;
  const head = smooth
    ? h(
        "tr",
        {},
        h("th", {}, h("span.vh", {}, t("charts.series"))),
        h("th.num", {}, t("charts.smooth")),
        h("th.num", {}, t("charts.value")),
      )
    : null;
  return h("table", {}, head, values.slice(0, ROWS).map(({series, value, smooth: even}) => h("tr", {},
    h("td", {}, swatch(series), own(series.label || series.metric)),
    smooth ? h("td.num", {class: even == null ? "m3" : ""}, even == null ? "–" : fmt.value(even)) : null,
    h("td.num", {}, fmt.value(value)),
    base == null ? null : h("td.num.m3", {}, series.run === options.baseline ? t("charts.base") : difference(value, base)))));
}

function place(at, right) {
  const size = box.getBoundingClientRect();
  const beyond = at + GAP + size.width > innerWidth - 8;
  box.style.left = `${Math.max(8, beyond ? at - GAP - size.width : at + GAP)}px`;
  box.style.top = `${Math.max(8, Math.min(right, innerHeight - size.height - 8))}px`;
}

/** Show `values` (of series.valuesAt) under `title` beside the window's point (left, top). options: {baseline: run key}. */
export function showTip(title, values, left, top, options = {}) {
  if (!box?.isConnected) {
    box = h("div.tip.chart-tip", {role: "tooltip"});
    document.body.append(box);
  }
  const more = values.length - ROWS;
  fill(box, h("div.hd", {}, title), rows(values, options), more > 0 ? h("div.hd", {}, t("charts.moreCurves", {n: more})) : null);
  place(left, top);
}

export function hideTip() {
  box?.remove();
}
