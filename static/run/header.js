// The head of a run's page: what it is called, how it is, how far, how good, since when, until when.

import * as api from "../shared/api.js";
import {compareHref} from "../shared/address.js";
import {now} from "../shared/clock.js";
import {inPercent} from "../charts/difference.js";
import {copy, fill, h, icon, own, renew, svg, text} from "../shared/dom.js";
import {unverifiedWord} from "./files.js";
import {editRun} from "../shared/tag_editor.js";
import {isLive} from "../shared/states.js";
import {colourOf, state, stroke, tick, watch} from "../shared/store.js";
import {prefer} from "../shared/topbar.js";
import {ago, errorText, figure, linkLook, menu, reasonText, runState, tooltip} from "../shared/widgets.js";
import {fmt, known, t} from "../shared/words.js";

/** A moment less than a day away as its time, others as their day. */
const recent = (at) => (Math.abs(at - now()) < 86400 ? fmt.clock(at) : fmt.when(at));

/** A metric's value as it is written, with % where its name says that it is one. */
export function metricValue(name, value) {
  return inPercent(name, value) ? figure(fmt.value(value), "%") : fmt.value(value);
}

export class RunHead {
  /** saved(row): the viewer answered with changed tags or note. */
  constructor(saved) {
    this.saved = saved;
    this.node = h("div.rh");
    this.timer = setInterval(() => this.tickTimes(), 1000);
    this.times = {};             // name -> what it says now
    this.unwatch = watch(() => this.drawConnection());
  }

  show(row) {
    this.row = row;
    this.at = now();
    renew(this.node, this.title(), h("dl.facts", {}, this.facts()), this.note(), this.trouble(),
      this.lacks());
  }

  title() {
    const {row} = this;
    const look = stroke(colourOf(row.key));
    const pill = tooltip(
      h("span.pill", {tabindex: "0", class: `${row.state} ${row.stale || row.gone ? "stale" : ""}`,
        data: {state: row.state}},
        runState(row.state)),
      () => this.doubts(),
    );
    const edit = h(
      "button.btn.bare.sq",
      {type: "button", title: t("runs.edit"), "aria-label": t("runs.edit"), id: "edit",
        onclick: () => this.edit("tags")},
      icon("edit"),
    );
    return h(
      "div.l1",
      {},
      h("a.m2.cut.proj", {href: `/?project=${encodeURIComponent(row.project)}`, title: row.project},
        own(row.project)),
      h("span.m3", {}, "/"),
      h(`i.sw.dot.k${look.colour}`, {title: t("run.colour")}),
      h("h1.cut", {title: row.name}, own(row.name)),
      pill,
      h(
        "span.chips",
        {},
        [...(row.kinds || []).map((kind) => h("span.chip.kind", {title: t("run.kind")}, t(`kind.${kind}`))),
          ...row.tags.map((tag) => own(tag, {class: "chip", title: tag}))],
      ),
      edit,
      h("span.grow"),
      this.buttons(),
    );
  }

  /** Why the run is in its state, and whether that may have changed since. */
  doubts() {
    const {reason, stale, gone} = this.row;
    const lines = [reasonText(reason), stale ? t("run.stale") : "", gone ? t("run.gone") : ""]
      .filter(Boolean);
    return lines.length ? lines.map((line) => h("div", {}, line)) : null;
  }

  buttons() {
    const {row} = this;
    const more = h(
      "button.btn",
      {type: "button", "aria-haspopup": "menu",
        onclick: () => menu(more, this.exports(), {right: true, label: t("run.export")})},
      t("run.export"),
      icon("dn", "dn"),
    );
    const other = h("button.btn.sq",
      {type: "button", title: t("common.more"), "aria-label": t("common.more"), "aria-haspopup": "menu",
        onclick: () => menu(other, this.others(), {right: true, label: t("common.more")})}, icon("more"));
    const others = state.ticked.filter((key) => key !== row.key);
    const compare = h("a.btn",
      {href: compareHref([row.key, ...others]), title: t("run.compareTitle"),
        onclick: () => tick(row.key, true)},
      t("run.compareWith"), others.length ? h("span.m3", {}, fmt.int(others.length)) : null);
    return [more, compare, other];
  }

  exports() {
    const {row} = this;
    const link = (format, label) => ({
      label: t(label),
      icon: "save",
      href: `/api/export?run=${encodeURIComponent(row.key)}&format=${format}`,
      download: "",
    });
    return [
      link("csv", "run.exportCsv"),
      link("tensorboard", "run.exportTensorboard"),
      link("html", "run.exportHtml"),
    ];
  }

  /** What can be done to the run besides. */
  others() {
    const {row} = this;
    const drop = row.connection.startsWith("local") ? []
      : [null, {label: t("run.drop"), icon: "x", danger: true, run: () => this.drop()}];
    return [
      {label: t(row.hidden ? "run.unhide" : "run.hide"), icon: row.hidden ? "eye" : "eyeoff",
        run: () => this.patch({hidden: !row.hidden})},
      ...drop,
    ];
  }

  async patch(values) {
    this.saved(await api.patch(api.runPath(this.row.key), values));
  }

  async drop() {
    await api.del(api.runPath(this.row.key));
    location.assign("/");
  }

  edit(first) {
    editRun(document.getElementById("edit"), this.row, this.saved, first);
  }

  note() {
    if (!this.row.note) {
      return h("div.note", {},
        h("button.link.small", {type: "button", onclick: () => this.edit("note")}, t("run.addNote")));
    }
    return h(
      "div.note",
      {},
      h("span.m3", {}, t("run.note")),
      own(this.row.note, {class: "cut", title: this.row.note}),
      h(
        "button.btn.bare.sq",
        {type: "button", title: t("run.editNote"), "aria-label": t("run.editNote"),
          onclick: () => this.edit("note")},
        icon("edit"),
      ),
    );
  }

  /** Why a run failed or is in doubt, without a hover. */
  trouble() {
    const {row} = this;
    const rank = row.reason?.ranks;
    if (!rank && !["failed", "lost", "stalled", "interrupted"].includes(row.state)) {
      return null;
    }
    const trace = row.status?.traceback, grade = [row.state, rank?.state].includes("failed") ? "bad" : "warn";
    return h("div.whybar", {class: grade},
      icon(grade === "bad" ? "failed" : row.state === "finished" ? "interrupted" : row.state, grade),
      h("span.cut", {}, own(reasonText(row.reason) || row.status?.error || t(`state.${row.state}`))),
      trace ? h("details", {}, h("summary.link", {}, t("run.traceback")), h("pre.code", {}, trace)) : null);
  }

  /** Files of the run's own that can't be shown, for they are not here. */
  lacks() {
    const lines = Object.entries(this.row.left_out || {})
      .map(([name, why]) => !name ? t("run.closed")
        : t(why.code === "unreadable" ? "run.unreadable" : "run.lacks",
          {name, why: known(`run.why.${why.code}`, {}, why.text)}));
    lines.push(...(this.row.error && !lines.length ? [errorText(this.row)] : []));
    return lines.length ? h("div.whybar.warn", {}, icon("lost", "warn"),
      h("span.cut", {title: lines.join("\n")}, own(lines.join(" · ")))) : null;
  }

  // -- facts ------------------------------------------------------------------------------------------------

  facts() {
    const {row} = this;
    const fact = (name, label, ...content) =>
      content[0] == null ? null : h("div", {data: {fact: name, key: name}}, h("dt", {}, label),
        h("dd", {}, content));
    return [
      fact("runtime", t("run.runtime"), ...this.runtime()),
      fact("step", t("run.step"), ...this.step()),
      fact("speed", t("run.speed"), ...this.speed()),
      fact("left", t("run.left"), ...this.left()),
      fact("best", ...this.best()),
      row.attempts?.length > 1 ? fact("attempt", t("run.attempt"), ...this.attempt()) : null,
      fact("connection", t("run.connection"), ...this.connection()),
      fact("verified", t("run.verifiedWord"), ...this.verified()),
      row.skipped ? fact("skipped", t("run.skipped"), t("run.skippedOf", {n: fmt.int(row.skipped)})) : null,
      row.more_files ? fact("files", t("run.files"), t("run.moreThanListed", {n: fmt.int(row.more_files)}))
        : null,
      fact("id", t("run.id"), h("span.mono", {}, own(row.id)), this.copyButton(row.id)),
    ];
  }

  /** A figure that goes on between two answers of the viewer. */
  counting(name, render) {
    this.times[name] = render;
    return h("span.num", {data: {time: name}}, render());
  }

  tickTimes() {
    if (!document.hidden) {
      this.node.querySelectorAll("[data-time]")
        .forEach((node) => text(node, this.times[node.dataset.time]()));
    }
  }

  runtime() {
    const {row} = this;
    const alive = isLive(row.state);
    const since = h("span.m2", {title: fmt.full(row.started)}, t("run.since", {time: recent(row.started)}));
    const duration = alive ? this.counting("runtime", () => fmt.duration(row.duration + now() - this.at))
      : fmt.duration(row.duration ?? 0);
    return [duration, " ", since];
  }

  step() {
    const {step, total, about, share} = this.row.progress || {};
    if (step == null) {
      return ["–"];
    }
    if (!total) {
      return [h("span.num", {}, fmt.int(step))];
    }
    const bar = svg(
      "svg.bar",
      {viewBox: "0 0 64 4", preserveAspectRatio: "none", "aria-hidden": "true",
        class: isLive(this.row.state) ? "on" : ""},
      svg("rect", {width: share * 64, height: 4}),
    );
    return [
      h("span.num", {}, fmt.int(step)),
      " ",
      h("span.m2", {}, t(about ? "run.ofAbout" : "run.of", {total: fmt.int(total)})),
      bar,
      h("span.m2", {}, figure(fmt.int(Math.floor(share * 100)), "%")),
    ];
  }

  speed() {
    const speed = this.row.progress?.speed;
    return speed
      ? figure(
          fmt
            .value(Number(speed.toPrecision(3)))
            .replace(/(\.\d*?)0+$/, "$1")
            .replace(/\.$/, ""),
          t("run.stepsPerSecond"),
        )
      : [null];
  }

  left() {
    const {eta} = this.row.progress || {};
    if (!(eta > 0) || !isLive(this.row.state)) {
      return [null];
    }
    return [
      this.counting("left", () => fmt.duration(Math.max(0, eta - (now() - this.at)))),
      " ",
      h(
        "span.m2",
        {title: fmt.full(this.at + eta)},
        t("run.until", {time: recent(this.at + eta)}),
      ),
    ];
  }

  best() {
    const {main, metrics} = this.row;
    if (!main) {
      return ["", null];
    }
    const best = metrics.find(({name}) => name === main.metric)?.best || main.best;
    const rule = best?.rule;
    const flip = h(
      "button.link.rule",
      {type: "button", title: t("run.ruleTitle", {rule: t(`run.${rule || "max"}`)}),
        onclick: () => this.flip()},
      t(`run.${rule || "max"}Word`),
    );
    return [
      [t("run.best"), " ", own(main.metric), " ", rule ? flip : null],
      metricValue(main.metric, best ? best.value : main.value),
      " ",
      best?.step != null ? h("span.m2", {}, t("run.at", {step: fmt.int(best.step)})) : null,
    ];
  }

  async flip() {
    const {metric} = this.row.main;
    const rule = this.row.metrics.find(({name}) => name === metric)?.best?.rule;
    await prefer({best_rule: {...state.settings?.preferences?.best_rule,
      [metric]: rule === "min" ? "max" : "min"}});
    this.saved(null);
  }

  attempt() {
    const last = this.row.attempts.at(-1);
    return [fmt.int(last.n), " ", last.from_step != null
      ? h("span.m2", {}, t("run.resumedAt", {step: fmt.int(last.from_step)})) : null];
  }

  /** Whether our copy is what the server had, and when. */
  verified() {
    const {verified, verified_at: when} = this.row;
    if (verified == null) {
      return [null];
    }
    const title = verified ? `${fmt.full(when)}\n${t("run.verifiedTitle")}`
      : `${t(unverifiedWord(this.row))}\n${t("run.verifiedTitle")}`;
    return [h("span", {title}, verified ? ago(when) : t("run.notYet"))];
  }

  connection() {
    const {row} = this;
    const link = state.connections?.connections.find(({slug}) => slug === row.connection);
    if (!link) {
      return [row.connection === "local" ? t("runs.local") : own(row.connection_name || row.connection)];
    }
    const [shape, kind] = state.down ? ["ring", ""] : linkLook(link, state.connections.offline);
    return [
      h("span", {class: kind}, icon(shape)),
      " ",
      own(link.name),
      " ",
      link.last_news ? h("span.m2", {}, ago(link.last_news)) : null,
    ];
  }

  /** The connection stands in the bar, too: both say the same at any time. */
  drawConnection() {
    const fact = this.row && this.node.querySelector("[data-fact=connection] dd");
    if (fact) {
      renew(fact, this.connection());
    }
  }

  copyButton(value) {
    const button = h("button.btn.bare",
      {type: "button", title: t("run.copyId"), "aria-label": t("run.copyId"), onclick: async () => {
        fill(button, icon(await copy(value) ? "finished" : "failed"));
        setTimeout(() => fill(button, icon("copy")), 1200);
      }}, icon("copy"));
    return button;
  }

  destroy() {
    clearInterval(this.timer);
    this.unwatch();
  }
}
