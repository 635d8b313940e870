// Rules of one's own for logs of other tools: those that are set for a root, and a new one, tried on a log
// while it is written.

import * as api from "../shared/api.js";
import {fill, h, icon, own, svg} from "../shared/dom.js";
import {segmented} from "../shared/widgets.js";
import {fmt, t} from "../shared/words.js";

const PAUSE = 350;               // ms after the last key before the rule is tried
const WIDTH = 220;
const HEIGHT = 64;

/**
 * The rule that the fields say: {pattern, files} or {step, time, metrics, files}; null while they say none.
 * Pure.
 */
function ruleOf({kind, pattern, files, step, time, metrics}) {
  if (kind === "log") {
    return pattern ? {pattern, files} : null;
  }
  const names = metrics.split(",").map((name) => name.trim()).filter(Boolean);
  return step || names.length || files ? {step, time, metrics: names, files} : null;
}

/** The path of a curve in WIDTH by HEIGHT; values that are no finite numbers are gaps. Pure. */
function curvePath(steps, values) {
  const finite = values.filter((value) => Number.isFinite(value));
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const [first, last] = [steps[0], steps.at(-1)];
  const place = (value, from, to, size) => (
    to > from ? ((value - from) / (to - from)) * (size - 4) + 2 : size / 2);
  let [path, pen] = ["", "M"];
  values.forEach((value, i) => {
    if (Number.isFinite(value)) {
      path += `${pen}${place(steps[i], first, last, WIDTH).toFixed(1)} ${(HEIGHT - place(value, low, high, HEIGHT)).toFixed(1)}`;
      pen = "L";
    } else {
      pen = "M";
    }
  });
  return path;
}

/** A line with what of it is which group marked. */
function marked(line) {
  const pieces = [];
  let end = 0;
  const spans = line.spans.filter(([, from, to]) => from >= 0 && to > from).sort((a, b) => a[1] - b[1]);
  for (const [name, from, to] of spans) {
    if (from >= end) {
      pieces.push(line.text.slice(end, from), h("mark", {title: name}, line.text.slice(from, to)));
      end = to;
    }
  }
  return [...pieces, line.text.slice(end)];
}

/** A rule in one line. */
function shown(rule) {
  const files = rule.files ? [h("span.m2", {}, ` · ${t("rules.files")} `), own(rule.files, {class: "mono"})]
    : null;
  return rule.pattern ? [own(rule.pattern, {class: "mono"}), files]
    : [h("span.m2", {}, `${t("rules.json")} · ${t("rules.step")} `),
      rule.step ? own(rule.step, {class: "mono"}) : t("rules.stepHint"),
      h("span.m2", {}, ` · ${t("rules.metrics")} `),
      rule.metrics.length ? own(rule.metrics.join(", "), {class: "mono"}) : t("rules.metricsHint")
        .split(/[,，]/)[0], files];
}

export class Rules {
  /** at: {root: slug, file: path below it} to begin with, either may be missing. */
  constructor(at) {
    this.values = {kind: "log", pattern: "", files: "", step: "", time: "", metrics: ""};
    this.file = at.file || "";
    this.turn = 0;
    this.list = h("ul.rules");
    this.place = h("div.form");
    this.seen = h("div.preview", {"aria-live": "polite"});
    this.verdict = h("span.small.verdict", {role: "status"});
    this.rootPlace = h("div.form");
    this.node = h("section", {}, h("h1", {}, t("settings.tab.rules")), h("p.m2.lead", {}, t("rules.about")),
      this.rootPlace, this.list, h("h2", {}, t("rules.new")), this.place, this.seen);
    this.load(at.root);
  }

  async load(root) {
    try {
      this.take(await api.get(`/api/rules${root ? `?root=${encodeURIComponent(root)}` : ""}`));
    } catch (error) {
      fill(this.list, h("li.bad", {role: "alert"}, icon("failed"), own(error.message)));
    }
  }

  take(answer) {
    this.root = answer.root;
    this.rules = answer.rules;
    const roots = h("select.inp",
      {id: "r-root", onchange: (event) => { this.file = ""; this.load(event.target.value); }},
      answer.roots.map((one) => h("option", {value: one.slug, selected: one.slug === answer.root},
        one.local ? one.path : `${one.name}  ${one.path}`)));
    fill(this.rootPlace, h("label", {for: "r-root"}, t("rules.root")),
      answer.roots.length ? roots : t("rules.noRoot"));
    this.files = answer.files;
    this.file ||= (answer.files.find((one) => one.kind === null) || answer.files[0])?.path || "";
    this.showRules();
    this.showForm();
    this.tryIt();
  }

  showRules() {
    fill(this.list,
    this.rules.map((rule, place) =>
      h("li", {}, h("b.num", {}, String(place + 1)), h("span.grow.cut", {}, shown(rule)),
        h("button.btn", {type: "button",
          onclick: () => this.set(this.rules.filter((_, other) => other !== place))}, t("rules.remove")))),
    this.rules.length ? null : h("li.m3", {}, t("rules.none")));
  }

  input(name, hint, attributes = {}) {
    return h("input.inp.mono",
      {id: `r-${name}`, value: this.values[name], placeholder: hint, spellcheck: "false", autocomplete: "off",
        maxlength: 1000, oninput: (event) => { this.values[name] = event.target.value.trim(); this.later(); },
        ...attributes});
  }

  showForm() {
    const row = (name, ...nodes) => [h("label", {for: `r-${name}`}, t(`rules.${name}`)), ...nodes];
    const kinds = [["log", t("rules.text")], ["json", t("rules.json")]];
    const choose = (kind) => { this.values.kind = kind; this.showForm(); this.later(); };
    this.addButton = h("button.btn.pri",
      {type: "button", id: "r-add", disabled: true,
        onclick: () => this.set([...this.rules, ruleOf(this.values)])},
      t("rules.add"));
    fill(this.place, h("span.l", {}, t("rules.kind")),
      segmented(t("rules.kind"), kinds, this.values.kind, choose), this.values.kind === "log"
        ? [row("pattern", this.input("pattern", "step (?P<step>\\d+) loss (?P<loss>\\S+)")), h("span"),
          h("p.m3.small", {}, t("rules.patternHint"))]
        : [row("step", this.input("step", t("rules.stepHint"))),
          row("metrics", this.input("metrics", t("rules.metricsHint"))),
          row("time", this.input("time", t("rules.timeHint")))],
      row("files", this.input("files", t("rules.filesHint"))),
      h("label", {for: "r-try"}, t("rules.try")),
      h("div.rowf", {}, h("input.inp.mono",
        {id: "r-try", list: "r-logs", value: this.file, placeholder: t("rules.fileHint"), spellcheck: "false",
          autocomplete: "off",
          oninput: (event) => { this.file = event.target.value.trim(); this.later(); }})),
      h("datalist", {id: "r-logs"},
        this.files.map((one) => h("option", {value: one.path}, fmt.bytes(one.size)))),
      h("span"), h("div.rowf", {}, this.addButton, this.verdict));
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tryIt(), PAUSE);
  }

  async tryIt() {
    const turn = ++this.turn;
    const rule = ruleOf(this.values);
    this.addButton.disabled = !rule;
    const tried = rule ? [...this.rules, rule] : this.rules;
    if (!this.file || !tried.length) {
      return fill(this.verdict) || fill(this.seen);
    }
    try {
      const seen = await api.post("/api/rules/preview",
        {root: this.root, file: this.file, rules: rule ? [rule] : tried});
      if (turn === this.turn) {
        this.show(seen);
      }
    } catch (error) {
      if (turn === this.turn) {
        this.addButton.disabled = error.code !== "not_found" || !rule;
        fill(this.verdict, h("span.bad", {role: "alert"}, icon("failed"), " ", own(error.message)));
        fill(this.seen);
      }
    }
  }

  show(seen) {
    const words = seen.slow ? t("rules.slow", {rule: seen.slow}) : seen.kind === null ? t("rules.notFor")
      : t("rules.fit", {n: seen.matched, of: seen.tried});
    const is_good = seen.matched > 0 && !seen.slow;
    this.addButton.disabled ||= Boolean(seen.slow);
    fill(this.verdict,
      h(is_good ? "span.ok" : "span.warn", {}, icon(is_good ? "finished" : "warn"), " ", words));
    fill(this.seen,
      seen.curves.length
        ? [h("h3", {}, t("rules.curves")), h("div.minis", {}, seen.curves.map((curve) => h("figure", {},
          h("figcaption", {}, own(curve.metric, {class: "mono cut"}),
            h("span.m3", {}, t("rules.points", {n: curve.points}))),
          svg("svg.mini", {viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": curve.metric},
            svg("path", {d: curvePath(curve.steps, curve.values)})))))] : null,
      seen.lines.length ? [h("h3", {}, t("rules.lines")), h("pre.tried", {tabIndex: 0},
        seen.lines.map((line) => h(line.fits ? "div.fits" : "div", {}, marked(line))))] : null);
  }

  async set(rules) {
    try {
      this.rules = (await api.post("/api/rules", {root: this.root, rules})).rules;
      Object.assign(this.values, {pattern: "", step: "", time: "", metrics: "", files: ""});
      this.showRules();
      this.showForm();
      await this.tryIt();
      fill(this.verdict, h("span.ok", {}, icon("finished"), " ", t("rules.saved")));
    } catch (error) {
      fill(this.verdict, h("span.bad", {role: "alert"}, icon("failed"), " ", own(error.message)));
    }
  }
}
