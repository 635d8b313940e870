// What stands above charts and in their menus: filter, smoothing, x axis, grouping; what is remembered of
// them per project.

import {fill, h, icon} from "../shared/dom.js";
import {placed, splitName, toCsv} from "./curves.js";
import {state} from "../shared/store.js";
import {prefer} from "../shared/topbar.js";
import {menu, segmented} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

const EMPTY = {pinned: [], hidden: [], order: [], logY: [], linearY: []};
const SETTLE_MS = 150;           // a slider that moves is asked for its value when it rests so long

/** What the reader chose for the charts of a project: {pinned, hidden, order, logY: [ids], smooth, group}. */
export function chartChoices(project) {
  return {...EMPTY, ...state.settings?.preferences?.charts?.[project]};
}

export function chooseCharts(project, values) {
  const charts = {...state.settings?.preferences?.charts};
  charts[project] = {...charts[project], ...values};
  return prefer({charts});
}

/** Add or remove an id of a list. */
export const toggled = (list, id) => (list.includes(id) ? list.filter((one) => one !== id) : [...list, id]);

/** Hand `content` to the reader as a file. */
export function download(name, content) {
  const address = URL.createObjectURL(content);
  h("a", {href: address, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

const safeName = (title) => title.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 80) || "chart";

export function savePng(chart) {
  chart.picture().toBlob((blob) => download(`${safeName(chart.options.title)}.png`, blob));
}

export function saveCsv(title, series, names) {
  download(`${safeName(title)}.csv`, new Blob([toCsv(series, names)], {type: "text/csv"}));
}

/**
 * A slider for the smoothing; changed(value 0…0.99). The mark of the slider is nearly logarithmic: most
 * happens near 1.
 */
export function smoothing(value, changed) {
  const number = h("span.num.w-n", {}, value.toFixed(2));
  let timer = 0;
  const slider = h("input.range", {
    type: "range",
    min: 0,
    max: 99,
    step: 1,
    value: Math.round(value * 100),
    id: "smoothing",
    oninput: () => {
      number.textContent = (slider.value / 100).toFixed(2);
      clearTimeout(timer);
      timer = setTimeout(() => changed(slider.value / 100), SETTLE_MS);
    },
  });
  return h("label.lab.smoothing", {title: t("charts.smoothingTitle")},
    h("span.no-m", {}, t("charts.smoothing")), slider, number);
}

/** Choose what x is: "step", "relative", "wall" or "metric:NAME"; metrics(): the names there are. */
export function axisChoice(value, metrics, picked) {
  const kinds = [["step", t("charts.xStep")], ["relative", t("charts.xRelative")],
    ["wall", t("charts.xWall")]];
  const group = segmented(t("charts.xAxis"), kinds, value, (x) => pick(x));
  const more = h("button",
    {type: "button", role: "radio", "aria-haspopup": "menu", title: t("charts.xMetricTitle"),
    onclick: (event) => {
      event.stopPropagation();
      menu(more, metrics().slice(0, 300)
          .map((name) => ({label: name, checked: name === metric, run: () => pick(`metric:${name}`)})),
        {right: true, label: t("charts.xMetric")});
    }});
  let metric = "";
  const draw = (x) => {
    metric = x.startsWith("metric:") ? x.slice(7) : "";
    group.choose(x);
    more.setAttribute("aria-checked", String(Boolean(metric)));
    more.tabIndex = 0;
    fill(more, metric ? h("bdi.cut.w-m", {}, splitName(metric).last) : t("charts.xMetric"));
  };
  const pick = (x) => {
    draw(x);
    picked(x);
  };
  group.append(more);
  draw(value);
  return group;
}

export function groupChoice(value, picked) {
  const words = {last: t("charts.groupLast"), prefix: t("charts.groupPrefix"), one: t("charts.groupOne")};
  const button = h(
    "button.btn",
    {
      type: "button",
      title: t("charts.group"),
      "aria-haspopup": "menu",
      onclick: () =>
        menu(
          button,
          Object.entries(words)
            .map(([how, label]) => ({label, checked: how === value, run: () => picked(how)})),
          {right: true, label: t("charts.group")},
        ),
    },
    h("span.no-s", {}, t("charts.groupBy", {how: words[value]})),
    h("span.only-s", {}, words[value]),
    icon("dn", "dn"),
  );
  return button;
}

/** What a zoom says and how it ends; nothing when everything is shown. */
export function zoomChip(link, kind, behind) {
  if (!link.shown) {
    return null;
  }
  const word = kind === "wall" ? fmt.seconds : kind === "relative" ? fmt.duration
    : (x) => fmt.value(x > 1000 ? Math.round(x) : x);
  return h(
    "span.zoomed",
    {},
    behind ? h("button.btn.new", {type: "button", onclick: () => link.reset()}, t("charts.newPoints"),
      icon("rt")) : null,
    h(
      "button.btn",
      {type: "button", title: t("charts.zoomReset"), onclick: () => link.reset()},
      h("span.num", {}, `${word(link.shown.lo)} – ${word(link.shown.hi)}`),
      icon("x"),
    ),
  );
}

/** The menu of hidden charts, or nothing. */
export function hiddenChoice(hidden, show) {
  if (!hidden.length) {
    return null;
  }
  const button = h(
    "button.btn.bare.m2",
    {
      type: "button",
      "aria-haspopup": "menu",
      onclick: () =>
        menu(
          button,
          hidden.map((id) => ({label: id.slice(id.indexOf(":") + 1), icon: "eye", run: () => show(id)})),
          {right: true},
        ),
    },
    icon("eyeoff"),
    t("charts.hidden", {n: hidden.length}),
  );
  return button;
}

/**
 * What the menu of a chart offers of its place and axes. ids: all charts as they stand; choices: of this
 * project; choose(values) keeps changed ones; log: whether its y is logarithmic now.
 */
export function placeItems(id, ids, choices, choose, log) {
  const {pinned, hidden, logX, logY, linearY} = choices;
  const without = (list) => list.filter((one) => one !== id);
  const at = ids.indexOf(id);
  const move = (before) => choose(placed(ids, id, before, choices));
  return [
    {label: t("charts.logY"), checked: log, run: () =>
      choose(log ? {logY: without(logY), linearY: [...without(linearY), id]}
        : {logY: [...without(logY), id], linearY: without(linearY)})},
    {label: t("charts.logX"), checked: Boolean(logX), run: () => choose({logX: !logX})},
    null,
    {label: t(pinned.includes(id) ? "charts.unpin" : "charts.pin"), icon: "pin",
      run: () => choose({pinned: toggled(pinned, id)})},
    {label: t("charts.earlier"), icon: "up", disabled: at <= 0, run: () => move(ids[at - 1])},
    {label: t("charts.later"), icon: "down", disabled: at === ids.length - 1,
      run: () => move(ids[at + 2] ?? null)},
    {label: t("charts.hide"), icon: "eyeoff", run: () => choose({hidden: [...hidden, id]})},
  ];
}

/** Mark the words that keep a place while curves are on their way. */
export const waiting = () =>
  fill(
    h("div.charts", {"aria-hidden": "true"}),
    Array.from({length: 6}, () => h("figure.chart", {}, h("header", {}, h("span.bone.w3")))),
  );
