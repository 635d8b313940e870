// The Config tab of a run: everything it was started with; and what stands in place of a run that can't be
// shown.

import * as api from "../shared/api.js";
import {copy, fill, h, icon, own} from "../shared/dom.js";
import {flattened} from "../shared/flatten.js";
import {matcher} from "../charts/curves.js";
import {empty, reasonText} from "../shared/widgets.js";
import {fmt, known, t} from "../shared/words.js";

const PAUSE = 200;               // ms after the last key before the viewer is asked for what is not here
const PAGE = 1000;               // values asked for at a time

/** Moments as dates, everything else as it was given. */
const shown = (name, value) => (/_at$/.test(name) && value > 1e9 ? fmt.full(value) : fmt.given(value));

/** rest: what a line below says of rows that are not here, or null. */
function table(title, rows, more = null, rest = null) {
  if (!rows.length && !rest) {
    return null;
  }
  return h(
    "section",
    {},
    h("h2", {}, title, h("span.m3", {}, fmt.int(rows.length)), h("span.grow"), more),
    h(
      "table.facts-table",
      {},
      h(
        "tbody",
        {},
        rows.map(([name, value]) =>
          h("tr", {}, h("th", {scope: "row"}, own(name)),
            h("td", {class: value === "NaN" ? "bad" : ""}, own(shown(name, value)))),
        ),
      ),
    ),
    rest,
  );
}

function copyJson(values) {
  const button = h(
    "button.link.small",
    {
      type: "button",
      onclick: async () => fill(button,
        t((await copy(JSON.stringify(values, null, 2))) ? "common.copied" : "common.notCopied")),
    },
    t("run.copyJson"),
  );
  return button;
}

/**
 * What an answer left out of one part of a run: asked for a page at a time, by name where the reader filters.
 */
class PartRest {
  constructor(key, part, drawn) {
    this.key = key;
    this.part = part;
    this.drawn = drawn;
    this.told = new Set();
    this.begin("");
  }

  /** Learn what the answer told of the part. */
  know(values) {
    this.told = new Set(flattened(values).map(([name]) => name));
  }

  begin(text) {
    this.text = text;
    this.rows = [];
    this.next = 0;
    this.left = null;
  }

  find(text) {
    if (text !== this.text) {
      this.begin(text);
      text ? this.ask() : this.drawn();
    }
  }

  async ask() {
    const {text} = this;
    let page;
    do {                         // a page that only repeats what the answer told is no more
      page = await api.get("/api/part",
        {run: this.key, of: this.part, find: text, offset: this.next, limit: PAGE});
      if (text !== this.text) {
        return;
      }
      this.next += page.items.length;
      page.items = page.items.filter(([name]) => !this.told.has(name));
      this.rows.push(...page.items);
    } while (!page.items.length && this.next < page.matched);
    const fits = (name) => name.toLowerCase().includes(text.toLowerCase());
    this.left = page.matched - this.rows.length - [...this.told].filter(fits).length;
    this.drawn();
  }

  /** The line below the table; more: how many the answer left out. */
  line(more) {
    const left = this.left ?? more;
    return left > 0 ? h("p.m2.small.rest", {}, t("run.more", {n: fmt.int(left)}), " ",
      h("button.link", {type: "button", onclick: () => this.ask()}, t("run.showMore"))) : null;
  }
}

export class ConfigPart {
  constructor() {
    this.body = h("div.factsbody");
    this.filter = h("input.inp", {
      placeholder: t("run.filterKeys"),
      "aria-label": t("run.filterKeys"),
      spellcheck: "false",
      oninput: () => this.filtered(),
    });
    this.parts = new Map();      // part -> its PartRest, of those that the answer did not hold whole
    this.tools = h("div.rowf", {}, h("span.find.w-f", {}, icon("find"), this.filter));
    this.node = h("div.scroll.factspart", {tabindex: "0"}, this.body);
  }

  filtered() {
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.parts.forEach((rest) => rest.find(this.filter.value)), PAUSE);
  }

  show(row) {
    const drawn = JSON.stringify([row.config, row.meta, row.summary, row.status, row.more]);
    for (const part of Object.keys(row.more || {}).filter((part) =>
      part !== "metrics" && !this.parts.has(part))) {
      this.parts.set(part, new PartRest(row.key, part, () => this.draw()));
    }
    this.row = row;
    if (drawn !== this.drawn) {
      this.drawn = drawn;
      this.draw();
    }
  }

  draw() {
    const {config, meta, summary, status} = this.row;
    const accepts = matcher(this.filter.value) || (() => true);
    const some = (values, without = []) => flattened(values).filter(
      ([name]) => !without.includes(name) && accepts(name));
    const environment = Object.fromEntries(
      Object.entries(meta || {}).filter(([name]) => !["tags", "notes", "slurm", "torchrun", "kinds", "counts"].includes(name)),
    );
    const whole = (title, part, values, without) => {
      const rest = this.row.more?.[part] ? this.parts.get(part) : null;
      rest?.know(values);
      const rows =
        [...new Map([...some(values, without), ...(rest?.rows || []).filter(([name]) => accepts(name))])];
      return table(title, rows, part === "config" || part === "summary" ? copyJson(values) : null,
        rest?.line(this.row.more[part]));
    };
    fill(this.body,
      whole(t("run.config"), "config", config),
      whole(t("run.summary"), "summary", summary),
      whole(t("run.status"), "status", status, ["traceback"]),
      status?.traceback
        ? h("section", {}, h("h2", {}, t("run.traceback")), h("pre.code", {}, status.traceback)) : null,
      table("Slurm", some(meta?.slurm, ["config"])),
      table("torchrun", some(meta?.torchrun, ["config", "agent"])),
      whole(t("run.environment"), "meta", environment),
      meta?.counts && table(t("run.counts"), Object.entries(meta.counts).map(
        ([name, n]) => [known(`run.counted.${name}`, {}, name), n])));
    if (!this.body.children.length) {
      fill(this.body, empty(t(this.filter.value ? "charts.noneMatch" : "run.noConfig")));
    }
  }
}

/** What to say when a run can't be shown: not found, several of that name, or the viewer's own words. */
export function noRun(error) {
  if (error.code === "ambiguous") {
    return empty(
      t("run.ambiguous"),
      h(
        "ul",
        {},
        (error.body?.candidates || [])
          .map((key) => h("li", {}, h("a", {href: `/runs/${encodeURI(key)}`}, own(key)))),
      ),
    );
  }
  if (error.status === 404) {
    return empty(t("run.notFound"), h("p", {}, t("run.notFoundHow")),
      h("p", {}, h("a.btn", {href: "/"}, t("common.home"))));
  }
  return empty(
    t("run.failed"),
    h("p", {}, error.reason ? reasonText(error.reason) : error.message),
    h("p", {}, h("button.btn", {type: "button", onclick: () => location.reload()}, t("common.retry"))),
  );
}
