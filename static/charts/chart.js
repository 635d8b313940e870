// One chart: axes, curves, crosshair, zoom. The only door to uPlot, which gives axes, scales, the cursor and
// its selection.

import {axisFor} from "./axis_text.js";
import {Head} from "./head.js";
import {hideTip, showTip, tipRows} from "./tooltip.js";
import {fill, fontFamily, h, own} from "../shared/dom.js";
import {Link} from "./crosshair.js";
import {learnMoments} from "./moments.js";
import {forgetColours, ink, paint} from "./paint.js";
import {extent, nearest, noisy, span, valuesAt} from "./curves.js";
import {fmt, t} from "../shared/words.js";

const PLOT = new URL("../uplot/uPlot.iife.min.js", import.meta.url).href;
const PLOT_CSS = new URL("../uplot/uPlot.min.css", import.meta.url).href;
// four times a second; less by what an answer may come sooner than the one before
const REPAINT_MS = 230;
const NEAR_ZERO = 0.05;          // steps that begin within this share of the last one are shown from zero
const FEW_STEPS = 50;            // of so few, lines would stand between two of them
const REACH = 14;                // px from the crosshair within which a curve's end still has a value

let loading = null;
const alive = new Set();         // charts on the page, for a change of the theme

/** uPlot asks Intl for the browser's language, which under the locale "C" is none that Intl takes. */
function nameLanguage() {
  try {
    Intl.getCanonicalLocales(navigator.language);
  } catch {                      // a RangeError
    Object.defineProperty(navigator, "language", {value: "en-US", configurable: true});
  }
}

/**
 * Load uPlot once; resolves to it, to null when this tree has none, to undefined when it does not run here.
 */
function loadPlot() {
  nameLanguage();
  loading ??= new Promise((resolve) => {
    document.head.append(
      h("link", {rel: "stylesheet", href: PLOT_CSS}),
      h("script", {src: PLOT, onload: () => resolve(globalThis.uPlot), onerror: () => resolve(null)}));
    watchTheme();
  });
  return loading;
}

function watchTheme() {
  const again = () => {
    forgetColours();
    alive.forEach((chart) => chart.plot?.redraw(false, true));
  };
  new MutationObserver(again).observe(document.documentElement,
    {attributes: true, attributeFilter: ["data-theme", "lang"]});
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}

/**
 * A chart in `host`. options, all may change later by set():
 *   title, sub: bold name and the faint word behind it; link: Link shared with other charts;
 *   x: "step" | "relative" | "wall" | "metric", then xName is its name; logY, logX: bool; marks: [{x,
 *   label}]; baseline: run key;
 *   include: [lo, hi], values always in view; actions: nodes at the right of the head;
 *   legend: false leaves the curves' names out; timed: false when its points belong to no step of the run;
 *   figure(value): how a value is written; else with the digits its axis tells apart.
 * setData(series): as in GET /api/series, each with {label, colour: 1…8 or 0 for ink, dash: [px], smoothed:
 * false to forbid}.
 *
 * @typedef {Object} ChartOptions
 * @property {string} [title] @property {string} [sub] @property {Link} [link]
 * @property {string} [x] @property {string} [xName]
 * @property {boolean} [logY] @property {boolean} [logX]
 * @property {{x: number, label: string}[]} [marks] @property {string | null} [baseline]
 * @property {[number, number] | null} [include] @property {Node[]} [actions]
 * @property {boolean} [legend] @property {boolean} [timed]
 * @property {(value: number) => string} [figure]
 */
export class Chart {
  /** @param {HTMLElement} host @param {ChartOptions} options */
  constructor(host, options = {}) {
    this.host = host;
    /** @type {ChartOptions} */
    this.options = {x: "step", marks: [], link: new Link(), ...options};
    /** @type {import("./curves.js").Series[]} */
    this.series = [];
    this.paintedAt = 0;
    this.build();
    this.relink();
    this.resized = new ResizeObserver(([{contentRect}]) => this.fit(contentRect));
    this.resized.observe(this.place);
    alive.add(this);
    loadPlot().then((Plot) => this.ready(Plot));
  }

  build() {
    this.head = new Head(this.options.actions);
    this.place = h("div.plot",
      {role: "img", tabindex: "0", onkeydown: (event) => this.keyed(event), onblur: () => this.leave()});
    this.host.classList.add("chart", "waiting");
    this.host.dataset.wait = t("charts.loading");
    fill(this.host, this.head.node, this.place);
    this.drawHead();
  }

  relink() {
    this.unlink = this.options.link.on((what, value, source) => this.linked(what, value, source));
  }

  ready(Plot) {
    if (!this.host.isConnected || this.gone) {
      return;
    }
    if (!Plot) {
      fill(this.place, h("p.noplot.m2", {}, t(Plot === null ? "charts.noPlot" : "charts.plotBroken")));
      return;
    }
    this.Plot = Plot;
    this.make();
    this.drawHead();
  }

  /** Change options; a new kind of axis makes the plot anew. */
  set(options) {
    const before = this.options;
    this.options = {...before, ...options};
    if (before.link !== this.options.link) {
      this.unlink();
      this.relink();
    }
    if (["x", "logX", "logY"].some((name) => before[name] !== this.options[name])) {
      this.make();
    } else {
      this.refresh();
    }
    this.drawHead();
  }

  /**
   * Show `series` from now on; repaints at once, or when a quarter of a second has passed since the last
   * time. whole: no others are on their way.
   */
  setData(series, whole = false) {
    this.host.classList.toggle("waiting", !series.length && !whole);
    if (!series.length && !this.series.length) {
      return;                    // its points are on their way: an empty picture would hold up the first one
    }
    const first = !this.series.length;
    this.series = series.map((one) => {
      const noise = one.noise ?? noisy(one);
      return {...one, noise, smoothed: Boolean(one.smooth) && noise && one.smoothed !== false};
    });
    clearTimeout(this.timer);
    const wait = REPAINT_MS - (performance.now() - this.paintedAt);
    if (wait > 0 && !first) {
      this.timer = setTimeout(() => this.refresh(), wait);
    } else {
      this.refresh();
    }
  }

  /** Repaint at once what waits for its time. */
  settle() {
    if (this.timer) {
      this.refresh();
    }
  }

  refresh() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.paintedAt = performance.now();
    this.drawPlot();
    this.drawHead();
  }

  /** How a value of the curves is written. */
  figure(value) {
    return (this.options.figure || this.axes?.y.exact || fmt.value)(value);
  }

  drawPlot() {
    if (!this.plot) {
      this.make();
      return;
    }
    if (this.measure()) {
      this.make();               // another unit of the logarithm: the transform is fixed when a plot is made
      return;
    }
    this.plot.setData(this.corners());
    this.moveCrosshair();
  }

  /** Find the ranges of both axes; returns whether the transform of one changed. */
  measure() {
    const {link, logX, logY, x} = this.options;
    const all = link.widen(span(this.series));
    const shown = link.shown || (x === "step" && all.lo > 0 && all.lo < all.hi * NEAR_ZERO
      ? {lo: 0, hi: all.hi} : all);
    const whole = x === "step" && shown.hi - shown.lo < FEW_STEPS
      && this.series.every((series) => series.x.every(Number.isInteger));
    const axes = {
      x: axisFor("x", {...shown, tiny: 1, whole}, logX, x),
      y: axisFor("y", this.widened(extent(this.series, link.shown?.lo, link.shown?.hi)), logY),
    };
    const changed = this.axes && (axes.x.unit !== this.axes.x.unit || axes.y.unit !== this.axes.y.unit);
    this.axes = axes;
    return changed;
  }

  /** Values that are always in view, such as 0 and 100 of a percentage. */
  widened(limits) {
    const {include} = this.options;
    return include && limits.lo <= limits.hi
      ? {...limits, lo: Math.min(limits.lo, include[0]), hi: Math.max(limits.hi, include[1])}
      : limits;
  }

  corners() {
    return [this.axes.x.range, this.axes.y.range];
  }

  make() {
    const {box} = this;
    if (!this.Plot || !box?.width || !box.height) {
      return;
    }
    this.plot?.destroy();
    this.measure();
    fill(this.place);
    this.plot = new this.Plot(this.setup(box), this.corners(), this.place);
    this.crosshair = h("div.xline", {hidden: true}, h("span.xlab"));
    this.spots = h("div.spots");
    this.plot.over.append(this.crosshair, this.spots);
    this.listen(this.plot.over);
    this.moveCrosshair();
  }

  setup(box) {
    const scale = (name) => ({
      time: false,
      distr: 100,
      fwd: (v) => this.axes[name].fwd(v),
      bwd: (v) => this.axes[name].bwd(v),
      range: () => this.axes[name].range,
    });
    const axis = (name, more) => ({
      scale: name, font: `11px ${fontFamily()}`, stroke: () => ink("ink-3"),
      splits: (u) => this.axes[name]
        .ticks((name === "x" ? u.bbox.width : u.bbox.height) / devicePixelRatio || box.width),
      values: (u, ticks) => this.axes[name].labels(ticks), filter: (u, ticks) => ticks,
      grid: {show: name === "y", stroke: () => ink("line"), width: 1}, ticks: {show: false}, ...more});
    return {
      width: Math.floor(box.width), height: Math.floor(box.height), padding: [8, 10, 0, 0],
      legend: {show: false}, pxAlign: 1, scales: {x: scale("x"), y: scale("y")}, series: [{}, {show: false}],
      axes: [axis("x", {size: 20, gap: 4, border: {show: true, stroke: () => ink("line-2"), width: 1}}),
        axis("y",
          {size: (u, labels) => Math.max(34,
            12 + 6.3 * Math.max(0, ...(labels || []).map((label) => label.length))), gap: 5})],
      cursor: {x: false, y: false, points: {show: false}, drag: {x: true, y: false, setScale: false, dist: 4},
        bind: {dblclick: () => () => this.options.link.reset(this)}},
      hooks: {draw: [() => this.paint()], setSelect: [(u) => this.selected(u)]},
    };
  }

  paint() {
    const {ctx, bbox} = this.plot;
    if (this.options.x === "step" && this.series.length) {
      this.host.dataset.lastStep = String(span(this.series).hi);
    }
    const along = (axis, from, length) => {
      const [lo, hi] = axis.range.map(axis.fwd);
      return (value) => from + ((axis.fwd(value) - lo) / (hi - lo)) * length;
    };
    paint(ctx, this.series, this.options.x === "step" ? this.options.marks : [], {
      x: along(this.axes.x, bbox.left, bbox.width),
      y: along(this.axes.y, bbox.top + bbox.height, -bbox.height),
      left: bbox.left, right: bbox.left + bbox.width, top: bbox.top, bottom: bbox.top + bbox.height,
      scale: devicePixelRatio, font: fontFamily()});
  }

  /** The browser has laid the plot's place out; asked for at any other time, its size would cost a layout. */
  fit(box) {
    const before = this.box?.width;
    this.box = box;
    if (box.width !== before) {
      this.drawHead();
    }
    if (!this.plot) {
      this.make();
    } else if (box.width && box.height
        && (Math.floor(box.width) !== this.plot.width || Math.floor(box.height) !== this.plot.height)) {
      this.plot.setSize({width: Math.floor(box.width), height: Math.floor(box.height)});
      this.moveCrosshair();
    }
  }

  // -- head -------------------------------------------------------------------------------------------------

  drawHead() {
    this.place.setAttribute("aria-label", this.spoken());
    this.head.draw(this.options, this.series, (value) => this.figure(value), this.box?.width || 0);
  }

  spoken() {
    return [this.options.title,
      ...this.series.map((s) => `${s.label || s.metric} ${this.figure(s.last.at(-1))}`)].join(", ");
  }

  // -- crosshair, zoom --------------------------------------------------------------------------------------

  listen(over) {
    over.addEventListener("mousemove", (event) => this.hoverAt(event.offsetX, event));
    over.addEventListener("mouseleave", () => this.leave());
    over.addEventListener("click", () => this.pick());
  }

  hoverAt(left, event) {
    const box = this.plot.over.getBoundingClientRect();
    const wanted = this.plot.posToVal(event ? event.clientX - box.left : left, "x");
    let best = null;
    for (const {x} of this.series) {
      const at = nearest(x, wanted);
      if (at >= 0 && (best === null || Math.abs(x[at] - wanted) < Math.abs(best - wanted))) {
        best = x[at];
      }
    }
    this.pointer = event ? event.clientY : box.top + 8;
    this.options.link.hover(best, this);
  }

  leave() {
    hideTip();
    this.options.link.hover(null, this);
  }

  pick() {
    const {link} = this.options;
    if (this.dragged) {
      this.dragged = false;
      return;
    }
    link.pin(link.pinned !== null && link.hovered === link.pinned ? null : link.hovered, this);
  }

  selected(plot) {
    const {left, width} = plot.select;
    if (width < 4) {
      return;
    }
    const lo = plot.posToVal(left, "x");
    // to the very end
    const hi = left + width >= plot.over.clientWidth - 1 ? this.axes.x.range[1]
      : plot.posToVal(left + width, "x");
    plot.setSelect({left: 0, top: 0, width: 0, height: 0}, false);
    this.dragged = true;
    setTimeout(() => { this.dragged = false; }, 0);
    this.options.link.zoom(lo, hi, this);
  }

  linked(what, value, source) {
    if (what === "zoom") {
      this.refresh();
    }
    this.moveCrosshair(source);
  }

  moveCrosshair(source) {
    if (!this.plot) {
      return;
    }
    const {link} = this.options;
    const x = link.hovered ?? link.pinned;
    const left = x === null ? NaN : this.plot.valToPos(x, "x");
    // its width only where it matters: asking lays the page out
    const inside = left >= -1 && left <= this.plot.over.clientWidth + 1;
    this.crosshair.hidden = !inside;
    if (!inside) {
      fill(this.spots);
      return;
    }
    this.crosshair.style.transform = `translateX(${left}px)`;
    this.crosshair.style.setProperty("--before", `${left + this.plot.bbox.left / devicePixelRatio}px`);
    // less the line
    this.crosshair.style.setProperty("--behind",
      `${this.plot.width - left - this.plot.bbox.left / devicePixelRatio - 2}px`);
    this.crosshair.firstChild.textContent = this.axes.x.exact(x);
    const values = valuesAt(this.series, x, this.reach());
    this.drawSpots(values);
    if (source === this && link.hovered !== null) {
      const box = this.plot.over.getBoundingClientRect();
      this.tip(x, values, box.left + left, this.pointer ?? box.top);
    }
  }

  /**
   * The box beside the crosshair at x; when its points were logged follows as soon as the viewer has said so.
   */
  tip(x, values, left, top) {
    const {x: kind, link, timed = true} = this.options;
    const first = this.series.map((series) => values.find((row) => row.series === series))
      .find((row) => row?.x === x);
    const show = () => showTip(this.tipTitle(kind, x), values, left, top,
      {...this.options, figure: (value) => this.figure(value), first, timed});
    show();
    if (timed) {
      learnMoments(tipRows(values, first), kind, () => link.hovered === x && this.plot && show());
    }
  }

  reach() {
    const [lo, hi] = this.axes.x.range;
    return ((hi - lo) * REACH) / Math.max(1, this.plot.over.clientWidth);
  }

  tipTitle(kind, x) {
    const {xName} = this.options;
    return kind === "step"
      ? t("charts.atStep", {x: this.axes.x.exact(x)})
      : [kind === "metric" && xName ? [own(xName), " "] : null, this.axes.x.exact(x)];
  }

  drawSpots(values) {
    while (this.spots.children.length < values.length) {
      this.spots.append(h("i"));
    }
    while (this.spots.children.length > values.length) {
      this.spots.lastChild.remove();
    }
    values.forEach((row, i) => {
      const [left, top] = [this.plot.valToPos(row.x, "x"), this.plot.valToPos(row.smooth ?? row.value, "y")];
      this.spots.children[i].className = `k${row.series.colour || 0}`;
      this.spots.children[i].style.transform = `translate(${left}px, ${top}px)`;
    });
  }

  /** Arrow keys walk the crosshair from point to point; Enter pins it. */
  keyed(event) {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    const longest = this.series.reduce((a, b) => (b.x.length > (a?.x.length ?? 0) ? b : a), null);
    if (event.key === "Enter") {
      this.pick();
    } else if (step && longest && this.plot) {
      const from = this.options.link.hovered ?? this.options.link.pinned ?? longest.x.at(-1);
      const at = Math.max(0,
        Math.min(longest.x.length - 1, nearest(longest.x, from) + step * (event.shiftKey ? 10 : 1)));
      this.pointer = null;
      this.options.link.hover(longest.x[at], this);
      event.preventDefault();
    }
  }

  /** The picture of the chart with its name and legend, as a canvas. */
  picture() {
    const source = this.plot.ctx.canvas;
    const scale = devicePixelRatio;
    const canvas = h("canvas", {width: source.width, height: source.height + 26 * scale});
    const g = canvas.getContext("2d");
    g.fillStyle = ink("bg");
    g.fillRect(0, 0, canvas.width, canvas.height);
    g.drawImage(source, 0, 26 * scale);
    g.scale(scale, scale);
    g.font = `600 13px ${fontFamily()}`;
    g.fillStyle = ink("ink");
    g.fillText(this.options.title, 10, 18);
    let left = 24 + g.measureText(this.options.title).width;
    g.font = g.font.replace("600 13px", "12px");
    for (const s of this.series) {
      g.fillStyle = ink(s.colour ? `c${s.colour}` : "ink");
      g.fillRect(left, 12, 12, 3);
      g.fillText(s.label || s.metric, left + 16, 18);
      left += 30 + g.measureText(s.label || s.metric).width;
    }
    return canvas;
  }

  destroy() {
    this.gone = true;
    alive.delete(this);
    this.unlink();
    this.resized.disconnect();
    clearTimeout(this.timer);
    this.plot?.destroy();
    hideTip();
    fill(this.host);
  }
}
