// The box beside the crosshair: the values of every curve there, largest first. One for the whole page.

import {fill, h, own} from "../shared/dom.js";
import {momentOf} from "./moments.js";
import {fmt, t} from "../shared/words.js";

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
  return share === 0 ? "="
    : `${share > 0 ? "+" : "−"}${fmt.percent(Math.abs(share), Math.abs(share) < 0.1 ? 1 : 0)}`;
}

/**
 * The rows of `values` the box tells the time of: all it shows of several runs, else one (`first`: the point
 * under the crosshair).
 */
export function tipRows(values, first) {
  const several = values.some(({series}) => series.run !== values[0].series.run);
  return several ? values.slice(0, ROWS) : values.length ? [first ?? values[0]] : [];
}

/**
 * Step, epoch and time of day of the point under the crosshair; a blank keeps their place until they are
 * known.
 */
function whenLine(row, kind) {
  const moment = momentOf(row, kind);
  const {step, epoch, ts} = moment || {};
  const words = [
    kind === "step" || step == null ? "" : t("charts.atStep", {x: fmt.value(step)}),
    epoch == null ? "" : t("charts.epoch", {n: fmt.value(epoch)}),
    kind === "wall" || ts == null ? "" : fmt.moment(ts),
  ];
  return h("div.hd.when", {}, words.filter(Boolean).join(" · ") || "\u00a0");
}

/**
 * The columns behind a curve's name.
 * @returns {{head: string, cell: (row: any) => any, faint?: boolean, wide?: boolean}[]}
 */
function columns(values, {baseline, x, timed, figure}, several) {
  const found = [];
  if (values.some((row) => row.smooth != null)) {
    found.push({head: t("charts.smooth"), cell: (row) => (row.smooth == null ? "–" : figure(row.smooth))});
  }
  found.push({head: t("charts.value"), cell: (row) => figure(row.value)});
  const base = baseline && values.find((row) => row.series.run === baseline)?.value;
  if (base != null) {
    found.push({head: "±", faint: true,
      cell: (row) => (row.series.run === baseline ? t("charts.base") : difference(row.value, base))});
  }
  if (several && timed && x !== "metric") {
    const moments = values.map((row) => momentOf(row, x));
    if (moments.some((moment) => moment?.epoch != null)) {
      found.push({head: t("charts.epochHead"), faint: true,
        cell: (row) => fmt.value(momentOf(row, x)?.epoch)});
    }
    found.push({head: t("charts.xWall"), faint: true, wide: true, cell: (row) => {
      const moment = momentOf(row, x);
      return moment?.ts == null ? "" : fmt.moment(moment.ts);
    }});
  }
  return found;
}

function table(values, options, several) {
  const all = columns(values, options, several);
  const kind = ({faint = false, wide = false}) => `num${faint ? " m3" : ""}${wide ? " wide" : ""}`;
  const head = all.length > 1
    ? h("tr", {}, h("th", {}, h("span.vh", {}, t("charts.series"))),
      all.map((one) => h("th", {class: kind(one)}, one.head)))
    : null;
  return h("table", {}, head, values.slice(0, ROWS).map((row) => h("tr", {},
    h("td", {}, swatch(row.series), own(row.series.label || row.series.metric)),
    all.map((one) => h("td", {class: kind(one)}, one.cell(row))))));
}

function place(at, right) {
  const size = box.getBoundingClientRect();
  const beyond = at + GAP + size.width > innerWidth - 8;
  box.style.left = `${Math.max(8, beyond ? at - GAP - size.width : at + GAP)}px`;
  box.style.top = `${Math.max(8, Math.min(right, innerHeight - size.height - 8))}px`;
}

/**
 * Show `values` (of series.valuesAt) under `title` beside the window's point (left, top).
 * options: {x: what it is, figure(value) -> text, baseline: run key, first: the row under the crosshair,
 * timed: whether its rows were logged at a step}.
 */
export function showTip(title, values, left, top, options = {}) {
  if (!box?.isConnected) {
    box = h("div.tip.chart-tip", {role: "tooltip"});
    document.body.append(box);
  }
  const more = values.length - ROWS;
  const several = tipRows(values).length > 1;
  const timed = options.timed && options.x !== "metric" && !several && values.length;
  const when = timed ? whenLine(options.first ?? values[0], options.x) : null;
  fill(box, h("div.hd", {}, title), when, table(values, options, several),
    more > 0 ? h("div.hd", {}, t("charts.moreCurves", {n: more})) : null);
  place(left, top);
}

export function hideTip() {
  box?.remove();
}
