// The Files tab of a run: everything that lies in its folder. Of many files those around the view are asked
// for and stand in the document.

import * as api from "../shared/api.js";
import {fill, h, icon, own, place, renew} from "../shared/dom.js";
import {ago, bytes, empty} from "../shared/widgets.js";
import {fmt, known, passedTexts, t} from "../shared/words.js";

const MOST = 300;                // files in the document
const EDGE = 60;                 // files left beyond the view when others are asked for
const IMAGES = 300;              // images shown before somebody asks for more
const LEAST = 3000;              // ms between two looks at a run that goes on
// … and so many times what the last look took: a folder of many files costs no more than one of few
const SHARE = 30;
const LONGEST = 10_000;          // ms; what took long may have waited for something else

const address = (run, name) => `/api/file?run=${encodeURIComponent(run)}&name=${encodeURIComponent(name)}`;

export class FilesPart {
  constructor(key) {
    this.key = key;
    this.from = 0;               // index of the first file that is asked for
    this.images = IMAGES;
    this.pitch = 0;              // px of a line, once there are lines
    this.lines = new Map();      // name -> {sign, node} of the files in the document
    this.pause = LEAST;          // ms until it is worth looking again
    this.where = h("div.rowf.small.m2");
    this.count = h("span.m3");
    this.above = h("tr.gap", {"aria-hidden": "true"}, h("td", {colspan: 5}));
    this.above.hidden = true;
    this.below = this.above.cloneNode(true);
    this.rows = h("tbody");
    const head = ["run.fileName", "run.fileKind", "run.fileSize", "run.fileChanged", "run.fileHere"]
      .map((word, at) =>
        h("th", {scope: "col", class: at === 2 ? "num" : ""}, t(word)),
      );
    this.table = h("table.files-table", {}, h("thead", {}, h("tr", {}, head)), this.rows);
    this.listed = h("section", {}, h("h2", {}, t("run.files"), this.count), this.table);
    this.rest = h("div");
    this.body = h("div.factsbody");
    this.tools = h("div.rowf");
    this.node = h("div.scroll.factspart", {tabindex: "0", onscroll: () => this.scrolled()}, this.where,
      this.body);
  }

  /** Where the run lies, here and there. */
  show(row) {
    const where = (word, path) => (
      path ? h("span.rowf", {}, h("span.m3", {}, word), h("span.mono", {}, own(path))) : null);
    renew(this.where, where(t("run.folderHere"), row.path), where(t("run.folderThere"), row.remote_path),
      verifiedText(row));
  }

  /** Look at the files again; what changed is drawn. */
  async renew() {
    const asked = performance.now();
    const {from} = this;
    const answer = await api.get("/api/files",
      {run: this.key, offset: from, limit: MOST, images: this.images});
    this.pause = Math.max(LEAST, Math.min(LONGEST, SHARE * (performance.now() - asked)));
    // else the reader scrolled on meanwhile, and follow() asks for what is there
    if (from === this.from) {
      this.draw(answer);
    }
  }

  draw({files, offset, total, more, passed, images, more_images: moreImages}) {
    this.total = total;
    fill(this.count, fmt.int(total));
    this.drawLines(files, offset);
    renew(this.rest, more ? h("p.m2.small", {}, t("run.moreFiles", {n: fmt.int(more)})) : null,
      passedOver(passed), images.length ? this.pictures(images, moreImages) : null);
    if (this.body.firstChild !== (total ? this.listed : null) || !this.body.firstChild) {
      fill(this.body, total ? this.listed : empty(t("run.noFiles")), this.rest);
    }
    if (total > MOST) {
      requestAnimationFrame(() => this.measure());
    }
    if (total && !files.length) {          // so many went that there are none any more where the reader was
      this.from = Math.max(0, total - MOST);
      this.follow();
    }
  }

  /**
   * The lines of these files, the first of which is the `offset`-th of all; a line that says the same stays
   * as it is.
   */
  drawLines(files, offset) {
    const lines = new Map();
    for (const file of files) {
      const sign = JSON.stringify(file);
      const before = this.lines.get(file.name);
      lines.set(file.name, before?.sign === sign ? before : {sign, node: this.line(file)});
    }
    this.lines = lines;
    this.offset = offset;
    place(this.rows, [this.above, ...[...lines.values()].map(({node}) => node), this.below]);
    this.keepPlaces();
  }

  /** Lines that are not here keep their place by their height. */
  keepPlaces() {
    for (const [gap, count] of [[this.above, this.offset],
      [this.below, this.total - this.offset - this.lines.size]]) {
      const tall = `${Math.max(0, count) * this.pitch}px`;
      if (gap.style.height !== tall) {
        [gap.style.height, gap.hidden] = [tall, count <= 0];
      }
    }
  }

  /** How tall a line is; the columns keep the widths they have, whichever lines come. */
  measure() {
    const [first] = this.lines.values();
    const tall = first?.node.getBoundingClientRect().height;
    if (tall && tall !== this.pitch) {
      this.pitch = tall;
      const cells = [...this.table.rows[0].cells];
      const widths = cells.map((cell) => cell.getBoundingClientRect().width);
      const wide = widths.reduce((sum, width) => sum + width, 0);
      cells.forEach((cell, at) => { cell.style.width = `${(100 * widths[at]) / wide}%`; });
      this.table.classList.add("fixed");
      this.keepPlaces();
    }
  }

  /** The view came near the edge of what is here: ask for what is around it. */
  scrolled() {
    if (!this.pitch || !this.total || this.total <= MOST) {
      return;
    }
    const first = Math.max(0, Math.floor((this.node.scrollTop - this.listed.offsetTop) / this.pitch));
    const count = Math.ceil(this.node.clientHeight / this.pitch);
    const end = this.offset + this.lines.size;
    if ((this.offset > 0 && first - this.offset < EDGE) || (end < this.total && end - first - count < EDGE)) {
      this.from = Math.max(0, Math.min(this.total - MOST, first - Math.floor((MOST - count) / 2)));
      this.follow();
    }
  }

  /** Ask for what the reader scrolled to, one question at a time. */
  follow() {
    this.following ??= (async () => {
      while (this.from !== this.offset) {
        await this.renew();
      }
    })().catch(api.quiet).finally(() => { this.following = null; });
  }

  line({name, kind, size, mtime, here, why, copy}) {
    const label = [icon("file"), " ", own(name)];
    return h(
      "tr",
      {},
      h(
        "td.cut",
        {title: name},
        here ? h("a", {href: address(this.key, name), download: name.split("/").at(-1)}, label)
          : h("span.m2", {}, label),
      ),
      h("td.m2", {}, t(`run.kind.${kind}`)),
      h("td.num", {}, bytes(size)),
      h("td.m2", {title: fmt.full(mtime)}, mtime == null ? "–" : `${fmt.day(mtime)} ${fmt.clock(mtime)}`),
      h("td", {class: here && copy !== "changed" && !why ? "m2" : "warn", title: why ? why.text : ""},
        here && !why ? t(copy ? `run.copy.${copy}` : "run.isHere")
        : !why ? t("run.notHere") : here
        ? t("run.copy.held", {why: known(`run.why.${why.code}`, {}, why.text)})
        : known(`run.why.${why.code}`, {}, why.text)),
    );
  }


  pictures(images, more) {
    return h("section", {}, h("h2", {}, t("run.images"), h("span.m3", {}, fmt.int(images.length + more))),
      h("div.pictures", {},
        images.map((name) =>
          h("a", {href: address(this.key, name), target: "_blank", rel: "noopener", data: {key: name}},
            h("img", {src: address(this.key, name), alt: name, loading: "lazy"}),
            own(name.split("/").at(-1), {class: "cut tiny"})))),
      more ? h("p.m2.small.rest", {}, t("run.more", {n: fmt.int(more)}), " ",
        h("button.link", {type: "button", onclick: () => this.moreImages()}, t("run.showMore"))) : null);
  }

  moreImages() {
    this.images += IMAGES;
    this.renew().catch(api.quiet);
  }
}

/** A line on what is in the run's folder and not among its files, such as names that are no UTF-8. */
function passedOver(counts) {
  const reasons = passedTexts(counts);
  return reasons.length ? h("p.m2.small", {}, t("run.passed", {reasons: reasons.join(", ")})) : null;
}

/** The word for why a run's copy is not verified. */
export function unverifiedWord(row) {
  return row.no_times ? "run.noTimes" : row.unhashed ? "run.unhashed" : "run.unverified";
}

/**
 * Whether our copy is what the server had, when that was, and how often it is looked at; nothing for a run of
 * this computer.
 */
function verifiedText(row) {
  if (row.verified == null) {
    return null;
  }
  const every = row.verified_every ? t("run.verifiedEvery", {time: fmt.duration(row.verified_every)}) : "";
  return h("span.rowf.verified",
    {class: row.verified ? "" : "warn", title: row.verified_at ? fmt.full(row.verified_at) : ""},
    row.verified ? [icon("finished"), ago(row.verified_at, "run.verified")] : t(unverifiedWord(row)), " ",
    h("span.m3", {}, every));
}
