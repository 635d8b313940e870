// The Config and Files tabs of a run: everything it was started with, everything that lies in its folder.

import * as api from "../shared/api.js";
import {copy, fill, h, icon, own} from "../shared/dom.js";
import {flattened} from "../shared/flatten.js";
import {matcher} from "../charts/curves.js";
import {ago, bytes, empty, reasonText} from "../shared/widgets.js";
import {fmt, known, t} from "../shared/words.js";

const PAUSE = 200;               // ms after the last key before the viewer is asked for what is not here
const PAGE = 1000;               // values asked for at a time
const IMAGE = /\.(png|jpe?g|gif|webp|bmp)$/i;

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
          h("tr", {}, h("th", {scope: "row"}, own(name)), h("td", {class: value === "NaN" ? "bad" : ""}, own(shown(name, value)))),
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
      onclick: async () => fill(button, t((await copy(JSON.stringify(values, null, 2))) ? "common.copied" : "common.notCopied")),
    },
    t("run.copyJson"),
  );
  return button;
}

/** What an answer left out of one part of a run: asked for a page at a time, by name where the reader filters. */
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
      page = await api.get("/api/part", {run: this.key, of: this.part, find: text, offset: this.next, limit: PAGE});
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
    for (const part of Object.keys(row.more || {}).filter((part) => part !== "metrics" && !this.parts.has(part))) {
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
    const some = (values, without = []) => flattened(values).filter(([name]) => !without.includes(name) && accepts(name));
    const environment = Object.fromEntries(
      Object.entries(meta || {}).filter(([name]) => !["tags", "notes", "slurm", "torchrun"].includes(name)),
    );
    const whole = (title, part, values, without) => {
      const rest = this.row.more?.[part] ? this.parts.get(part) : null;
      rest?.know(values);
      const rows = [...new Map([...some(values, without), ...(rest?.rows || []).filter(([name]) => accepts(name))])];
      return table(title, rows, part === "config" || part === "summary" ? copyJson(values) : null, rest?.line(this.row.more[part]));
    };
    fill(this.body,
      whole(t("run.config"), "config", config),
      whole(t("run.summary"), "summary", summary),
      whole(t("run.status"), "status", status, ["traceback"]),
      status?.traceback ? h("section", {}, h("h2", {}, t("run.traceback")), h("pre.code", {}, status.traceback)) : null,
      table("Slurm", some(meta?.slurm, ["config"])),
      table("torchrun", some(meta?.torchrun, ["config", "agent"])),
      whole(t("run.environment"), "meta", environment));
    if (!this.body.children.length) {
      fill(this.body, empty(t(this.filter.value ? "charts.noneMatch" : "run.noConfig")));
    }
  }
}

const address = (run, name) => `/api/file?run=${encodeURIComponent(run)}&name=${encodeURIComponent(name)}`;

export class FilesPart {
  constructor(key) {
    this.key = key;
    this.body = h("div.factsbody");
    this.where = h("div.rowf.small.m2");
    this.tools = h("div.rowf");
    this.node = h("div.scroll.factspart", {tabindex: "0"}, this.where, this.body);
  }

  /** Where the run lies, here and there. */
  show(row) {
    const place = (word, path) => (path ? h("span.rowf", {}, h("span.m3", {}, word), h("span.mono", {}, own(path))) : null);
    fill(this.where, place(t("run.folderHere"), row.path), place(t("run.folderThere"), row.remote_path), verifiedText(row));
  }

  async renew() {
    const {files, more, passed} = await api.get("/api/files", {run: this.key});
    const images = files.filter(({name, here}) => here && IMAGE.test(name));
    const drawn = JSON.stringify([files, more, passed]);
    if (drawn === this.drawn) {
      return;
    }
    this.drawn = drawn;
    fill(this.body, files.length ? this.table(files) : empty(t("run.noFiles")),
      more ? h("p.m2.small", {}, t("run.moreFiles", {n: fmt.int(more)})) : null, this.passed(passed),
      images.length ? this.pictures(images) : null);
  }

  /** A line on what is in the run's folder and not among its files, such as names that are no UTF-8. */
  passed(counts) {
    const reasons = Object.entries(counts ?? {}).map(([reason, count]) => `${fmt.int(count)} ${known(`run.passed.${reason}`, {}, reason)}`);
    return reasons.length ? h("p.m2.small", {}, t("run.passed", {reasons: reasons.join(", ")})) : null;
  }

  table(files) {
    const head = ["run.fileName", "run.fileKind", "run.fileSize", "run.fileChanged", "run.fileHere"].map((word, at) =>
      h("th", {scope: "col", class: at === 2 ? "num" : ""}, t(word)),
    );
    return h("section", {}, h("h2", {}, t("run.files"), h("span.m3", {}, fmt.int(files.length))),
      h("table.files-table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, files.map((file) => this.row(file)))));
  }

  row({name, kind, size, mtime, here, why, copy}) {
    const label = [icon("file"), " ", own(name)];
    return h(
      "tr",
      {},
      h(
        "td.cut",
        {title: name},
        here ? h("a", {href: address(this.key, name), download: name.split("/").at(-1)}, label) : h("span.m2", {}, label),
      ),
      h("td.m2", {}, t(`run.kind.${kind}`)),
      h("td.num", {}, bytes(size)),
      h("td.m2", {title: fmt.full(mtime)}, mtime == null ? "–" : `${fmt.day(mtime)} ${fmt.clock(mtime)}`),
      h("td", {class: here && copy !== "changed" && !why ? "m2" : "warn", title: why ? why.text : ""}, here && !why ? t(copy ? `run.copy.${copy}` : "run.isHere")
        : !why ? t("run.notHere") : here ? t("run.copy.held", {why: known(`run.why.${why.code}`, {}, why.text)}) : known(`run.why.${why.code}`, {}, why.text)),
    );
  }

  pictures(images) {
    return h("section", {}, h("h2", {}, t("run.images"), h("span.m3", {}, fmt.int(images.length))),
      h("div.pictures", {}, images.map(({name}) => h("a", {href: address(this.key, name), target: "_blank", rel: "noopener"},
        h("img", {src: address(this.key, name), alt: name, loading: "lazy"}), own(name.split("/").at(-1), {class: "cut tiny"})))));
  }
}

/** Whether our copy is what the server had, when that was, and how often it is looked at; nothing for a run of this computer. */
function verifiedText(row) {
  if (row.verified == null) {
    return null;
  }
  const every = row.verified_every ? t("run.verifiedEvery", {time: fmt.duration(row.verified_every)}) : "";
  return h("span.rowf.verified", {class: row.verified ? "" : "warn", title: row.verified_at ? fmt.full(row.verified_at) : ""},
    row.verified ? [icon("finished"), ago(row.verified_at, "run.verified")] : t(row.no_times ? "run.noTimes" : "run.unverified"), " ",
    h("span.m3", {}, every));
}

/** What to say when a run can't be shown: not found, several of that name, or the viewer's own words. */
export function noRun(error) {
  if (error.code === "ambiguous") {
    return empty(
      t("run.ambiguous"),
      h(
        "ul",
        {},
        (error.body?.candidates || []).map((key) => h("li", {}, h("a", {href: `/runs/${encodeURI(key)}`}, own(key)))),
      ),
    );
  }
  if (error.status === 404) {
    return empty(t("run.notFound"), h("p", {}, t("run.notFoundHow")), h("p", {}, h("a.btn", {href: "/"}, t("common.home"))));
  }
  return empty(
    t("run.failed"),
    h("p", {}, error.reason ? reasonText(error.reason) : error.message),
    h("p", {}, h("button.btn", {type: "button", onclick: () => location.reload()}, t("common.retry"))),
  );
}
