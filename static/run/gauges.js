// What a machine is doing: figures of GPUs, CPU and memory, and how its curves are named and joined in
// charts.

import {h, svg} from "../shared/dom.js";
import {ago} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

const WIDTH = 48;
const HEIGHT = 16;
const FEW = 2;                   // GPUs; more of them stand as their mean, each behind a fold

/** A small area from 0 to `full`: the level says as much as the course. */
function course(series, full) {
  const node = svg("svg.course",
    {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true"});
  if (series?.x.length > 1 && full > 0) {
    const [lo, hi] = [series.x[0], series.x.at(-1)];
    const across = (x) => (((x - lo) / (hi - lo || 1)) * WIDTH).toFixed(1);
    const up = (value) => (HEIGHT - Math.max(0, Math.min(1, value / full)) * (HEIGHT - 1)).toFixed(1);
    const points = series.x.map((x, i) => `${across(x)} ${up(series.last[i])}`);
    node.append(
      svg("path.area", {d: `M0 ${HEIGHT}L${points.join("L")}L${WIDTH} ${HEIGHT}Z`}),
      svg("path.edge", {d: `M${points.join("L")}`}),
    );
  }
  return node;
}

const percent = (value) => [fmt.int(value), h("span.u", {}, "%")];
const size = (bytes) => {
  const [figure, unit] = fmt.size(bytes);
  return [figure.replace(/\.0$/, ""), h("span.u", {}, unit)];
};
const ofTotal = ([used, total]) => [size(used), h("span.m3", {}, " / "), size(total)];

/** The rows of one GPU. */
function gpuRows(gpu, several) {
  const n = several ? ` ${gpu.i}` : "";
  const heat = [
    gpu.temp == null ? null : [fmt.int(gpu.temp), h("span.u", {}, "°C")],
    gpu.power == null ? null : [" ", fmt.int(gpu.power), h("span.u", {}, "W")],
  ];
  return [
    gpu.util == null
      ? null
      : {label: t("sys.gpuUtil", {n}), title: gpu.name, curve: `gpu${gpu.i}.util`, full: 100,
        value: percent(gpu.util)},
    gpu.mem == null
      ? null
      : {label: t("sys.gpuMem", {n}), title: gpu.name, curve: `gpu${gpu.i}.mem`, full: gpu.mem[1],
        value: ofTotal(gpu.mem)},
    gpu.temp == null && gpu.power == null
      ? null
      : {label: t("sys.gpuHeat", {n}), title: gpu.name, curve: `gpu${gpu.i}.temp`, full: 100, value: heat},
  ];
}

/**
 * Rows of figures of the last sample, those of a GPU together: [[{label, title, curve: metric name, full,
 * value: nodes}]].
 */
function gpuDevices(gpus) {
  return gpus.map((gpu) => gpuRows(gpu, gpus.length > 1).filter(Boolean));
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The mean of all GPUs as rows; their titles say from where to where the single ones go. */
function meanRows(gpus) {
  const row = (name, what, read, full, written) => {
    const values = gpus.map(read).filter(Number.isFinite);
    return values.length
      ? {
          label: t(name, {n: gpus.length}),
          title: t("sys.spread", {lo: fmt.short(Math.min(...values)), hi: fmt.short(Math.max(...values))}),
          curve: `mean.${what}`,
          full,
          value: written(mean(values)),
        }
      : null;
  };
  const total = mean(gpus.map((gpu) => gpu.mem?.[1] || 0));
  const watts = gpus.map(({power}) => power).filter(Number.isFinite);
  return [
    row("sys.gpusUtil", "util", ({util}) => util, 100, percent),
    row("sys.gpusMem", "mem", ({mem}) => mem?.[0] / 1e9, total, (used) => ofTotal([used * 1e9, total])),
    row("sys.gpusHeat", "temp", ({temp}) => temp, 100, (temp) => [
      fmt.int(temp), h("span.u", {}, "°C"),
      watts.length ? [" ", fmt.int(mean(watts)), h("span.u", {}, "W")] : null,
    ]),
  ].filter(Boolean);
}

/** The mean of the GPUs' curves of one quantity, over the x they share. */
function meanCurve(series, what) {
  const all = series.filter(({metric}) => /^gpu\d+\./.test(metric) && metric.endsWith(`.${what}`));
  const longest = all.reduce((best, one) => (one.x.length > (best?.x.length ?? 0) ? one : best), null);
  const alike = all.filter((one) => one.x.length === longest.x.length);
  return longest && {metric: `mean.${what}`, x: longest.x,
    last: longest.x.map((_, i) => mean(alike.map(({last}) => last[i])))};
}

/** Rows of figures of the machine besides its GPUs. */
function machineRows(now) {
  return [
    now?.cpu == null ? null : {label: t("sys.cpu"), curve: "cpu", full: 100, value: percent(now.cpu)},
    now?.mem == null ? null : {label: t("sys.mem"), curve: "mem", full: now.mem[1], value: ofTotal(now.mem)},
    now?.disk == null
      ? null
      : {label: t("sys.disk"), curve: "disk", full: now.disk[1],
        value: [size(now.disk[0]), h("span.m3", {}, " / "), size(now.disk[1])]},
  ].filter(Boolean);
}

/**
 * The figures as rows with their course, those of a device in a box of their own; series: of GET /api/system.
 */
export function gauges({now, series}) {
  const curves = new Map(series.map((one) => [one.metric, one]));
  const row = ({label, title, curve, full, value}) =>
    h("div", {title: title || null}, h("span.g.cut", {}, label), course(curves.get(curve), full),
      h("span.num", {}, value));
  const gpus = now?.gpu || [];
  const single = gpuDevices(gpus).map((rows) => h("section", {}, rows.map(row)));
  const machine = h("section", {}, machineRows(now).map(row));
  if (gpus.length <= FEW) {
    return [...single, machine];
  }
  ["util", "mem", "temp"].forEach((what) => curves.set(`mean.${what}`, meanCurve(series, what)));
  return [h("section", {}, meanRows(gpus).map(row)), machine,
    h("details.each", {}, h("summary", {}, t("sys.each", {n: gpus.length})), h("div.gpus", {}, single))];
}

/** The figures in one line, for narrow windows. */
export function gaugeLine(now) {
  const gpus = now?.gpu || [];
  const rows = [...(gpus.length > FEW ? meanRows(gpus) : gpuDevices(gpus).flat()), ...machineRows(now)];
  const wanted = rows.filter(({curve}) => /^((gpu\d+|mean)\.(util|mem)|cpu|mem)$/.test(curve));
  return wanted.map(({label, value}) =>
    h("span.rowf.one", {}, h("span.m3", {}, label), h("span", {}, value)));
}

const KINDS = [["util", "sys.chartUtil"], ["mem", "sys.chartGpuMem"], ["temp", "sys.chartTemp"],
  ["power", "sys.chartPower"]];

/**
 * System curves in charts: all GPUs share one for each quantity; then CPU, memory, disk, whatever else there
 * is.
 */
export function systemGroups(names) {
  const groups = KINDS.map(([what, title]) => ({
    id: `system:gpu.${what}`,
    title: t(title),
    metrics: names.filter((name) => name.startsWith("gpu") && name.endsWith(`.${what}`)),
  }));
  const taken = new Set(groups.flatMap(({metrics}) => metrics));
  const words = {cpu: "sys.chartCpu", mem: "sys.chartMem", disk: "sys.chartDisk"};
  const rest = names
    .filter((name) => !taken.has(name))
    .map((name) => ({id: `system:${name}`, title: name in words ? t(words[name]) : name, metrics: [name]}));
  return [...groups, ...rest].filter(({metrics}) => metrics.length);
}

/** A system curve in the unit people read: bytes as GB. */
export function readable(series) {
  if (!/(^|\.)(mem|disk)$/.test(series.metric)) {
    return series;
  }
  const scaled = (values) => values?.map((value) => value / 1e9);
  return {...series, last: scaled(series.last), min: scaled(series.min), max: scaled(series.max)};
}

/** Values a system chart always shows: a share from 0 to 100, memory up to what there is. */
export function systemInclude(metric, now) {
  if (metric === "cpu" || metric.endsWith(".util")) {
    return [0, 100];
  }
  const total =
    metric === "mem" ? now?.mem?.[1] : metric.endsWith(".mem")
    ? now?.gpu?.find(({i}) => metric.startsWith(`gpu${i}.`))?.mem?.[1] : null;
  return [0, total ? total / 1e9 : 0];
}

const LABELS = {cpu: "sys.cpu", mem: "sys.mem", disk: "sys.disk"};

export const systemLabel = (metric) =>
  metric.startsWith("gpu") ? `GPU ${metric.slice(3).split(".")[0]}` : metric in LABELS ? t(LABELS[metric])
  : metric;

/** A value of a system chart as people say it: 95, 8.2, 240. */
export const systemValue = (value) => fmt.short(value);

/** How old the sample of GET /api/system is, which counts on; of a run that ended, when it was taken. */
export const sampleAge = ({now, came}) => (
  came ? ago(came) : now?.ts ? h("span", {title: fmt.full(now.ts)}, fmt.moment(now.ts)) : "");
