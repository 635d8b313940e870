// The single-file report: draws what stands in the page's data block. Asks nobody for anything. Its own small
// door to uPlot, because it travels alone.
(() => {
  "use strict";

  const WORDS = {
    en: {
      report: "Report", compared: "{n} runs compared", charts: "Charts", metrics: "Metrics",
      config: "Configuration", summary: "Summary", runs: "Runs",
      made: "made {when} by Runicorn {version}", log: "log y", smooth: "smoothed", metric: "metric",
      last: "last", best: "best", min: "min", max: "max", at: "at step {step}", none: "no values",
      points: "{n} of {m} points", state: "state", started: "started", duration: "duration", user: "user",
      host: "host", tags: "tags", note: "note", commit: "commit", id: "id",
      differs: "what differs comes first", other: "中文",
      running: "running", finished: "finished", failed: "failed", interrupted: "interrupted",
      stalled: "stalled", lost: "lost", quiet: "quiet", checking: "checking",
    },
    zh: {
      report: "报告", compared: "对比 {n} 个实验", charts: "图表", metrics: "指标", config: "配置", summary: "汇总",
      runs: "实验", made: "由 Runicorn {version} 生成于 {when}", log: "对数纵轴", smooth: "平滑", metric: "指标",
      last: "最新", best: "最佳", min: "最小", max: "最大", at: "第 {step} 步", none: "没有数值",
      points: "{n} / {m} 个点", state: "状态", started: "开始时间", duration: "时长", user: "用户", host: "主机",
      tags: "标签", note: "备注", commit: "提交", id: "编号", differs: "不同的项排在前面", other: "English",
      running: "运行中", finished: "已完成", failed: "失败", interrupted: "已中断", stalled: "停滞", lost: "失联",
      quiet: "静止", checking: "确认中",
    },
  };
  const LIGHT = ["#2a55d4", "#c45100", "#0c8d6e", "#903e90", "#b58a1c", "#4898d8", "#3b308f", "#a12151"];
  const DARK = ["#5abefb", "#f6a011", "#349461", "#d982ae", "#e3dc85", "#2b80f5", "#a18ade", "#d96227"];
  const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
  const HEIGHT = 230;

  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = {language: navigator.language.startsWith("zh") ? "zh" : "en", log: false, smooth: false};
  let plots = [];

  // a metric may be called "constructor"
  const own = (object, name) => (Object.hasOwn(object, name) ? object[name] : undefined);
  const t = (key, values = {}) => (own(WORDS[chosen.language], key) ?? key).replace(/\{(\w+)\}/g,
    (_, name) => values[name]);

  function h(tag, attrs, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attrs ?? {})) {
      if (name.startsWith("on")) {
        node.addEventListener(name.slice(2), value);
      } else {
        node.setAttribute(name, value);
      }
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  // -- numbers and times ------------------------------------------------------------------------------------

  function number(value) {
    if (typeof value !== "number") {
      return value === null || value === undefined ? "" : String(value);
    }
    const size = Math.abs(value);
    return size && (size < 1e-4 || size >= 1e7) ? value.toExponential(4).replace(/\.?0+e/, "e")
      : String(Number(value.toPrecision(6)));
  }

  const when = (seconds) => (seconds ? new Date(seconds * 1000)
    .toLocaleString(chosen.language === "zh" ? "zh-CN" : "en-GB") : "");

  function duration(seconds) {
    if (typeof seconds !== "number") {
      return "";
    }
    const [d, hrs, m, s] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60, seconds % 60]
      .map(Math.floor);
    return d ? `${d}d ${hrs}h` : hrs ? `${hrs}h ${m}m` : m ? `${m}m ${s}s` : `${s}s`;
  }

  // -- names ------------------------------------------------------------------------------------------------

  const NAMED_BY = 2;               // config values in a name …
  const LONGEST = 18;               // … and characters of one; as on the pages (runnames.js)

  /** [[key, texts of the runs]] of the config, what tells most of `runs` apart first, seeds before all. */
  function differing(runs) {
    const seed = (key) => Number(/(^|[._])(random_?)?seed$/i.test(key));
    const given = (value) => (typeof value === "number" && value && Math.abs(value) < 1e-4
      ? value.toExponential() : String(value));
    const text = (run, key) => (Object.hasOwn(run.config, key) ? given(run.config[key]) : "–");
    return [...new Set(runs.flatMap((run) => Object.keys(run.config)))]
      .map((key) => [key, runs.map((run) => text(run, key))])
      .map(([key, texts]) => ({key, texts, kinds: new Set(texts).size}))
      .filter(({kinds}) => kinds > 1)
      .sort((a, b) => seed(b.key) - seed(a.key) || b.kinds - a.kinds || a.key.length - b.key.length)
      .map(({key, texts}) => [key, texts]);
  }

  /**
   * The words that tell runs of one name apart: their projects, else what their configs differ in, else the
   * ends of their ids.
   */
  function toldApart(runs) {
    const unique = (texts) => new Set(texts).size === runs.length;
    const projects = runs.map((run) => run.project ?? "");
    if (runs.length === 1 || unique(projects)) {
      return runs.length === 1 ? [""] : projects;
    }
    let texts = runs.map(() => "");
    for (const [key, values] of differing(runs).slice(0, NAMED_BY)) {
      const cut = values.map((value) => (value.length > LONGEST ? `${value.slice(0, LONGEST - 1)}…` : value));
      texts = texts.map((words, at) =>
        `${words}${words && " "}${key.slice(key.lastIndexOf(".") + 1)}=${cut[at]}`);
      if (unique(texts)) {
        return texts;
      }
    }
    return texts.map((words, at) => `${words}${words && " "}${String(runs[at].id ?? "").slice(-6)}`);
  }

  const plainName = (run) => run.name ?? run.id ?? "";
  const names = new Map([...new Set(data.runs.map(plainName))].flatMap((name) => {
    const alike = data.runs.filter((run) => plainName(run) === name);
    return toldApart(alike).map((words, at) => [alike[at], words ? `${name} ${words}` : name]);
  }));
  const runName = (run) => names.get(run);

  // -- charts -----------------------------------------------------------------------------------------------

  const lastPart = (metric) => metric.slice(metric.lastIndexOf("/") + 1);

  /**
   * Curves that share a chart: of one run those of one last name part (train/loss, val/loss), of several runs
   * one metric's.
   */
  function grouped() {
    const groups = new Map();
    for (const curve of data.curves) {
      const title = data.runs.length > 1 ? curve.metric : lastPart(curve.metric);
      groups.set(title, [...(groups.get(title) ?? []), curve]);
    }
    return groups;
  }

  function labelOf(curve) {
    const label = data.runs.length > 1 ? runName(data.runs[curve.run]) : curve.metric;
    return curve.rank ? `${label} · rank ${curve.rank}` : label;
  }

  function look(curve, place) {
    const slot = data.runs.length > 1 ? curve.run : place;
    return {stroke: (dark.matches ? DARK : LIGHT)[slot % 8],
      dash: DASHES[(Math.floor(slot / 8) + curve.rank) % DASHES.length]};
  }

  function axis(extra) {
    const ink = dark.matches ? "#909aa7" : "#5d6773";
    const grid = {stroke: dark.matches ? "#2a3037" : "#e1e5ea", width: 1};
    return {stroke: ink, grid, ticks: grid, values: (plot, splits) => lineLabels(splits), ...extra};
  }

  /**
   * Labels of an axis' lines with the digits that tell them apart; null lines (of a logarithmic axis) have
   * none.
   */
  function lineLabels(splits) {
    const values = splits.filter((value) => value !== null);
    const apart = Math.min(...values.slice(1).map((value, i) => Math.abs(value - values[i]))
      .filter((gap) => gap > 0));
    const largest = Math.max(...values.map(Math.abs));
    const digits = Math.ceil(Math.log10(largest / apart)) + 2;
    const close = digits > 5 && Number.isFinite(digits);
    const exact = (value) => (largest < 1e15 && largest >= 1e-4
      ? String(Number(value.toPrecision(Math.min(17, digits))))
      : value.toExponential(Math.min(16, digits - 1)).replace(/\.?0+e/, "e"));
    return splits.map((value) => (value === null ? null : close ? exact(value) : number(value)));
  }

  /** Small marks along the upper edge where a curve is NaN or infinite. */
  function drawMarks(plot, curves) {
    curves.forEach((curve, place) => {
      plot.ctx.fillStyle = look(curve, place).stroke;
      for (const [x] of curve.nan) {
        const at = plot.valToPos(x, "x", true);
        if (at >= plot.bbox.left && at <= plot.bbox.left + plot.bbox.width) {
          plot.ctx.fillRect(at - 1, plot.bbox.top, 2, 8);
        }
      }
    });
  }

  /**
   * The range shown for values from lo to hi; uPlot's own takes a range of a millionth of the value for none.
   */
  function around(plot, lo, hi) {
    const free = hi > lo ? (hi - lo) * 0.05 : Math.abs(lo) * 0.05 || 1;
    return lo === null ? [0, 1] : [lo >= 0 && lo <= (hi - lo) * 0.3 ? 0 : lo - free, hi + free];
  }

  function drawPlot(host, curves, legend) {
    const lines = curves.flatMap((curve, place) => {
      const {stroke, dash} = look(curve, place);
      const smooth = chosen.smooth && curve.smooth;
      const raw = {stroke: smooth ? `${stroke}40` : stroke, dash, width: 1.5,
        points: {show: curve.x.length < 2}, xy: [curve.x, curve.y]};
      return smooth ? [raw, {stroke, dash, width: 2, points: {show: false}, xy: smooth}] : [raw];
    });
    const drawn = lines.map(({xy: [x, y]}) =>
      [x, chosen.log ? y.map((value) => (value > 0 ? value : null)) : y]);
    const options = {
      width: Math.max(host.clientWidth, 200), height: HEIGHT, legend: {show: false},
      cursor: {drag: {x: true, y: false}, sync: {key: "report"}},
      scales: {x: {time: false}, y: {distr: chosen.log ? 3 : 1, ...(chosen.log ? {} : {range: around})}},
      axes: [axis({space: 60}),
        axis({size: (plot, labels) => Math.max(64,
          14 + 6.5 * Math.max(0, ...(labels ?? []).map((label) => label?.length ?? 0)))})],
      series: [{}, ...lines.map(({xy, ...line}) => line)],
      hooks: {draw: [(plot) => drawMarks(plot, curves)],
        setCursor: [(plot) => legend(plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, "x") : null)]},
    };
    plots.push(new uPlot(options, uPlot.join(drawn), host));
  }

  /** The last value at or before x, by halving. */
  function valueAt(curve, x) {
    let [low, high] = [0, curve.x.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      [low, high] = curve.x[middle] <= x ? [middle + 1, high] : [low, middle];
    }
    return low ? curve.y[low - 1] : null;
  }

  function chart(title, curves) {
    const place = h("div", {class: "plot"});
    const values = curves.map(() => h("b", {}));
    const legend = h("div", {class: "legend"}, ...curves.map((curve, index) => {
      const swatch = h("span", {class: "swatch"});
      swatch.style.background = look(curve, index).stroke;
      return h("span", {title: t("points", curve)}, swatch, `${labelOf(curve)} `, values[index]);
    }));
    const tell = (x) => curves.forEach((curve, index) => {
      values[index].textContent = number(x === null ? curve.y.at(-1) : valueAt(curve, x));
    });
    tell(null);
    return {node: h("section", {class: "chart"}, h("h3", {}, title), place, legend),
      draw: () => drawPlot(place, curves, tell)};
  }

  // -- tables -----------------------------------------------------------------------------------------------

  const table = (head, rows) => h("div", {class: "wide"}, h("table", {},
    h("thead", {}, h("tr", {}, ...head.map((text) => h("th", {}, text)))), h("tbody", {}, ...rows)));

  const row = (cells, attrs) => h("tr", attrs,
    ...cells.map((cell) => (cell instanceof Node ? cell : h("td", {}, cell))));

  function bestTable() {
    const names = [...new Set(data.runs.flatMap((run) => Object.keys(run.metrics)))];
    return table([t("metric"), ...data.runs.map(runName)], names.map((name) => {
      const found = data.runs.map((run) => own(run.metrics, name));
      const rule = found.find(Boolean).rule === "min" ? "min" : "max";
      const values = found.map((metric) => metric?.best?.[0]).filter((value) => typeof value === "number");
      const winner = values.length > 1 ? Math[rule](...values) : null;
      return row([name,
        ...found.map((metric) => h("td", {class: metric?.best && metric.best[0] === winner ? "best" : ""},
          ...told(metric, rule)))]);
    }));
  }

  function told(metric, rule) {
    if (!metric) {
      return [""];
    }
    const best = metric.best
      ? `${t("best")} (${t(rule)}) ${number(metric.best[0])} ${t("at", {step: number(metric.best[1])})}`
      : t("none");
    return [`${number(metric.last)} `, h("span", {class: "faint"}, best)];
  }

  /** A row for each name of `field`; rows in which the runs differ come first and are marked. */
  function fieldTable(field) {
    const names = [...new Set(data.runs.flatMap((run) => Object.keys(run[field])))].sort();
    const differs = (name) => new Set(data.runs.map((run) => JSON.stringify(own(run[field], name)))).size > 1;
    const ordered = [...names.filter(differs), ...names.filter((name) => !differs(name))];
    return table([t(field), ...data.runs.map(runName)], ordered.map((name) =>
      row([name, ...data.runs.map((run) => number(own(run[field], name)))],
        differs(name) ? {class: "differs"} : {})));
  }

  function runTable() {
    const facts = {
      id: (run) => run.id, state: (run) => t(run.state ?? ""), started: (run) => when(run.started),
      duration: (run) => duration(run.duration), user: (run) => run.user, host: (run) => run.host,
      tags: (run) => (run.tags ?? []).join(", "), note: (run) => run.note, commit: (run) => run.git?.commit,
    };
    const rows = Object.entries(facts)
      .map(([name, tell]) => [t(name), ...data.runs.map((run) => number(tell(run)))]);
    return table(["", ...data.runs.map((run) => `${run.project ?? ""} / ${runName(run)}`)],
      rows.filter((cells) => cells.slice(1).some(Boolean)).map((cells) => row(cells)));
  }

  // -- the page ---------------------------------------------------------------------------------------------

  function update(change) {
    Object.assign(chosen, change);
    plots.forEach((plot) => plot.destroy());
    plots = [];
    document.documentElement.lang = chosen.language === "zh" ? "zh-CN" : "en";
    const one = data.runs.length === 1;
    const charts = [...grouped()].map(([title, curves]) => chart(title, curves));
    const sections = ["config", "summary"]
      .filter((field) => data.runs.some((run) => Object.keys(run[field]).length));
    document.getElementById("report").replaceChildren(
      h("header", {},
        h("h1", {}, one ? `${data.runs[0].project ?? ""} / ${runName(data.runs[0])}`
          : t("compared", {n: data.runs.length})),
        h("span", {class: "faint"}, t("made", {when: when(data.made), version: data.version})),
        h("span", {class: "space"}),
        h("button", {id: "smooth", "aria-pressed": String(chosen.smooth),
          onclick: () => update({smooth: !chosen.smooth})}, t("smooth")),
        h("button", {id: "log", "aria-pressed": String(chosen.log),
          onclick: () => update({log: !chosen.log})}, t("log")),
        h("button",
          {id: "language", onclick: () => update({language: chosen.language === "zh" ? "en" : "zh"})},
          t("other"))),
      h("h2", {}, t("charts")), h("div", {class: "charts"}, ...charts.map((each) => each.node)),
      h("h2", {}, t("metrics")), bestTable(),
      ...sections.flatMap((field) =>
        [h("h2", {}, t(field), one ? null : h("span", {class: "faint"}, `  ${t("differs")}`)),
          fieldTable(field)]),
      h("h2", {}, t("runs")), runTable());
    charts.forEach((each) => each.draw());
  }

  let waiting = null;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() =>
      plots.forEach((plot) =>
        plot.setSize({width: Math.max(plot.root.parentNode.clientWidth, 200), height: HEIGHT})), 100);
  });
  dark.addEventListener("change", () => update({}));
  update({});
})();
