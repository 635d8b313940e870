// The columns of the run list: which there are, how wide, how a row fills their cells.

import {runHref} from "../shared/address.js";
import {now} from "../shared/clock.js";
import {fill, h, icon, own, text} from "../shared/dom.js";
import {draw, sparkline} from "./sparkline.js";
import {isLive} from "../shared/states.js";
import {errorText, middle, reasonText, renameMiddle, runState} from "../shared/widgets.js";
import {current, fmt, known, t} from "../shared/words.js";

const BASICS = ["state", "name", "project", "group", "job_type", "connection", "user", "tags", "note",
  "started", "duration", "step", "spark", "main"];
const DEFAULTS = ["state", "name", "project", "connection", "tags", "started", "duration", "step", "spark",
  "main"];
const WIDTHS = {state: 92, name: 150, project: 104, group: 90, job_type: 78, connection: 78, user: 64,
  tags: 98, note: 160, started: 76, duration: 64, step: 57, spark: 57, main: 54};
const WIDER_IN_CHINESE = {duration: 84, started: 76};
const FIGURES = new Set(["started", "duration", "step", "main"]);
// first to go where it is narrow
const DROPPED = ["user", "job_type", "config", "tags", "note", "group", "project", "summary", "connection"];
const OFTEN = [/(^|[./_])(lr|learning_rate)$/i, /(^|[./_])(batch|batch_size|bs)$/i,
  /(^|[./_])(model|arch|optimizer|seed)$/i];
const GOOD = [/acc(uracy)?$/i, /(f1|auc|map|bleu|reward|score)$/i];
const SPARE = 40;                // px of the room left over that go to the names first
const [PADDING, FIGURE] = [12, 6.2];         // px: of a cell, of a figure in it
const NOT_FINITE = new Set(["NaN", "Infinity", "-Infinity"]);
const NO_CUTS = () => ({tails: new Map(), projects: new Set()});

/** Columns shown when the reader chose none: the basics (a connection only where there are several), one more summary value, two config
keys worth comparing. */
export function defaultColumns(offered, mainMetric, connections = 2) {
  const summaries = (offered?.summary || []).filter((name) => name !== mainMetric);
  const logged = [/^(val|eval|test|dev)/i, /\//,
    /^/].flatMap((form) => summaries.filter((name) => form.test(name)));     // validation first
  const good = GOOD.map((form) => logged.find((name) => form.test(name))).find(Boolean);
  const keys = OFTEN.map((form) => (offered?.config || []).find((name) => form.test(name))).filter(Boolean)
    .slice(0, 2);
  const basics = connections > 1 ? DEFAULTS : DEFAULTS.filter((id) => id !== "connection");
  return [...basics, ...(good ? [`summary.${good}`] : []), ...keys.map((name) => `config.${name}`)];
}

/** The metric all rows have as their main one, else null. */
export function sharedMetric(rows) {
  const names = new Set(rows.map((row) => row.main?.metric).filter(Boolean));
  return names.size === 1 ? [...names][0] : null;
}

/** All columns there are: {basics, summary, config} lists of ids. */
export function offeredColumns(offered) {
  return {basics: BASICS.filter((id) => id !== "spark"),
    summary: (offered?.summary || []).map((name) => `summary.${name}`),
    config: (offered?.config || []).map((name) => `config.${name}`)};
}

/** [small upper line, name] of a column's head. */
function columnTitle(id, mainMetric) {
  if (id === "main") {
    return mainMetric ? splitName(mainMetric) : [t("runs.mainSmall"), t("runs.mainName")];
  }
  if (id.startsWith("summary.")) {
    return splitName(id.slice(8));
  }
  if (id.startsWith("config.")) {
    return [t("runs.config"), id.slice(7)];
  }
  return ["", known(`runs.col.${id}`)];
}

function splitName(name) {
  const at = name.lastIndexOf("/");
  return at > 0 ? [name.slice(0, at), name.slice(at + 1)] : ["", name];
}

function columnWidth(id, widths) {
  return widths[id] || (current() === "zh" && WIDER_IN_CHINESE[id]) || WIDTHS[id]
    || (id.startsWith("config.") ? Math.max(50, Math.min(90, 12 + 6 * columnTitle(id)[1].length)) : 68);
}

/** Widths with the room that is left over given to what is cut most: the project and the tags. */
export function roomy(ids, room, widths) {
  let left = room - ids.reduce((sum, id) => sum + columnWidth(id, widths), 28) - SPARE;
  const wider = {};
  for (const [id, most] of Object.entries({project: 40, tags: 24, connection: 30})) {
    const more = Math.max(0, Math.min(most, left));
    if (ids.includes(id) && !widths[id] && more) {
      wider[id] = columnWidth(id, widths) + more;
      left -= more;
    }
  }
  return {...widths, ...wider};
}

/** Leave out columns, the least needed first, until `room` px suffice. */
export function fitting(ids, room, widths) {
  const kept = [...ids];
  const size = () => kept.reduce((sum, id) => sum + columnWidth(id, widths), 28);
  for (const kind of DROPPED) {
    while (size() > room) {
      const at = kept.findLastIndex((id) => id === kind || id.startsWith(`${kind}.`));
      if (at < 0) {
        break;
      }
      kept.splice(at, 1);
    }
  }
  return kept;
}

/** Seconds a run has taken by now; a live one goes on counting from when its row was read. */
export function runtime(row) {
  return isLive(row.state) && row.readAt ? row.duration + now() - row.readAt : row.duration;
}

function once(cell, sign, build) {
  if (cell.sign !== sign) {
    cell.sign = sign;
    fill(cell, build());
  }
}

const runsOf = new WeakMap();    // tags of an answer -> Map of tag -> how many runs have it

function countsOf(tags) {
  if (!runsOf.has(tags)) {
    runsOf.set(tags, new Map(tags.map(({tag, count}) => [tag, count])));
  }
  return runsOf.get(tags);
}

/**
 * One tag and how many more: the one that the fewest runs have, for what all of them have tells nothing
 * apart. tags() -> [{tag, count}]
 */
function tagsCell(tags) {
  return (cell, row) => {
    const count = row.tags.length > 1 ? countsOf(tags()) : new Map();
    const shown = row.tags.reduce(
      (best, tag) => ((count.get(tag) ?? 0) < (count.get(best) ?? 0) ? tag : best), row.tags[0]);
    once(cell, JSON.stringify([shown, row.tags]), () => {
      const rest = row.tags.length - 1;
      return h("div.chips", {title: row.tags.join("\n")},
        shown === undefined ? null : h("span.chip", {}, own(shown)),
        rest > 0 ? h("span.plus", {}, `+${rest}`) : null);
    });
  };
}

function valueCell(cell, value, format, title = null) {
  const words = value === undefined || value === null ? "–" : format(value);
  cell.classList.toggle("none", words === "–");
  cell.classList.toggle("bad", value === "NaN");
  const whole = words === "–" ? t("runs.notLogged") : typeof value === "object"
    ? JSON.stringify(value, null, 1) : String(value);
  cell.title = title ?? whole;   // set once: each change costs the cell a new style
  text(cell, words);
}

function mainCell(cell, row) {
  const best = row.main?.best
    ? `\n${t("runs.best", {value: fmt.value(row.main.best.value), step: row.main.best.step})}` : "";
  valueCell(cell, row.main?.value, fmt.value,
    row.main ? `${row.main.metric} ${row.main.value}${best}` : null);
}

function sparkCell(cell, row) {
  const share = isLive(row.state) && row.total ? row.step / row.total : 1;
  const sign = `${row.spark?.join()}|${share.toFixed(2)}|${row.state}`;
  if (cell.sign !== sign) {
    cell.sign = sign;
    const node = cell.firstElementChild || cell.appendChild(sparkline());
    draw(node, row.spark, {share, live: row.state === "running"});
  }
}

function nameCell(cell, row, tail) {
  const sign = `${row.key}|${row.name}|${tail || ""}|${row.error_code || ""}`;
  if (cell.sign !== sign) {
    cell.sign = sign;
    const link = cell.querySelector("a") || cell.appendChild(h("a", {tabIndex: -1}, middle(row.name)));
    cell.querySelector(".flaw")?.remove();
    if (row.error_code) {
      cell.prepend(h("span.flaw", {role: "img", title: errorText(row), "aria-label": errorText(row)},
        icon("warn")));
    }
    link.setAttribute("href", runHref(row.key));
    link.setAttribute("aria-label", row.name);
    link.title = `${row.project}/${row.name}\n${row.id}`;
    renameMiddle(link.firstElementChild, row.name, 13, tail);
  }
}

/** inside: whether it is cut in its middle, for others begin alike. */
function projectCell(cell, project, inside) {
  const sign = `${inside} ${project}`;
  if (cell.sign !== sign) {
    [cell.sign, cell.title] = [sign, project];
    fill(cell, inside ? middle(project, 12) : own(project));
  }
}

function plain(value) {
  return (cell, row) => {
    const words = value(row) || "";
    if (cell.sign !== words) {
      cell.sign = words;
      cell.title = words;
      text(cell.firstElementChild || cell.appendChild(own("")), words);
    }
  };
}

const CELLS = {
  state: (cell, row) => once(cell, `${row.state}|${row.stale}|${reasonText(row.reason)}`, () => {
    const node = runState(row.state);
    node.classList.toggle("stale", Boolean(row.stale) && isLive(row.state));
    node.append(h("span.vh", {}, `: ${reasonText(row.reason)}`));
    return node;
  }),
  connection: plain((row) => (row.connection === "local" ? t("runs.local") : row.connection_name)),
  group: plain((row) => row.group),
  job_type: plain((row) => row.job_type),
  user: plain((row) => row.user),
  note: plain((row) => row.note),
  started: (cell, row) => { text(cell, fmt.when(row.started)); cell.title = fmt.full(row.started); },
  duration: (cell, row) => { text(cell, fmt.duration(runtime(row))); },
  step: (cell, row) => { text(cell, fmt.int(row.step)); },
  spark: sparkCell,
  main: mainCell,
};

/** One column as the table wants it: {id, width, numeric, sort, edge, title, small, paint(cell, row)}. */
export function column(id, {mainMetric, widths, rows = [], tags = () => [], cuts = NO_CUTS}) {
  const [small, title] = columnTitle(id, mainMetric);
  const given = id.startsWith("config.") || id.startsWith("summary.");
  const width = columnWidth(id, widths);
  const format = id.startsWith("config.")
    ? (value) => fmt.within(value, Math.floor((width - PADDING) / FIGURE)) : fmt.value;
  const cells = {
    name: (cell, row) => nameCell(cell, row, cuts().tails.get(row.name)),
    project: (cell, row) => projectCell(cell, row.project, cuts().projects.has(row.project)),
    tags: tagsCell(tags),
  };
  const words = given && rows.some(
    (row) => typeof row.values?.[id] === "string" && !NOT_FINITE.has(row.values[id]));
  return {
    id, small, title, width, numeric: (given && !words) || FIGURES.has(id), sort: id === "spark" ? null : id,
    paint: cells[id] || CELLS[id] || ((cell, row) => valueCell(cell, row.values?.[id], format)),
  };
}

/** What the state of a run says when it is pointed at. */
export function stateTip(row) {
  const step = row.step == null ? null : t("runs.atStep", {n: row.step});
  const facts = [t(`state.${row.state}`), row.ended ? fmt.full(row.ended) : null, step].filter(Boolean);
  return [h("div.hd", {}, facts.join(" · ")), h("div", {}, reasonText(row.reason)),
    row.stale ? h("div.warn", {}, t("runs.stale")) : null,
    row.error ? h("div.bad", {}, errorText(row)) : null];
}

/**
 * What stands over a group of rows, [what it is grouped by, its value]; with `more`, over the groups that are
 * not shown.
 */
export function groupTitle(group, {value, more}) {
  if (more) {
    return t("runs.moreGroups", {n: more});
  }
  const words = group === "state" ? known(`state.${value}`, {}, value)
    : group === "connection" && value === "local" ? t("runs.local")
    : value;
  return [group.includes(".") ? `${columnTitle(group)[1]} ` : "",
    words === "" || words == null ? t("runs.groupEmpty") : String(words)];
}
