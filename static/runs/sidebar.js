// The tree beside the run list: views, projects with their experiments, connections, tags. Links only; the
// address does the rest.

import {queryText} from "../shared/address.js";
import {h, icon, own, renew} from "../shared/dom.js";
import {recall, remember, state} from "../shared/store.js";
import {alike, tails} from "../shared/run_names.js";
import {ending, linkLook, middle, popover} from "../shared/widgets.js";
import {current, fmt, t} from "../shared/words.js";
import {forgetView, savedViews, saveView} from "./saved_views.js";

const NAMES = 12;                // experiments shown of an open project before "n more"
const TAGS = 20;
const known = new WeakMap();     // projects of a tree -> their cuts
const drawn = new WeakMap();     // a part of the sidebar -> what it was drawn of
const wide = new Set();          // projects whose experiments are all shown
const FACETS = ["project", "name", "connection", "tag", "hidden", "filter", "ticked"];

function link(href, here, content, count, extra) {
  return h("a", {href, "aria-current": here ? "page" : null, class: extra}, content,
    count == null ? null : h("span.n", {}, fmt.int(count)));
}

/**
 * How names are cut where they have no room, reckoned once for each answer: {tails, of experiments that begin
 * and end alike (runnames.tails); projects, those that begin alike: only these are cut in their middle}.
 */
export function cuts(tree) {
  if (!tree) {
    return {tails: new Map(), projects: new Set()};
  }
  const {projects} = tree;
  if (!known.has(projects)) {
    known.set(projects, {tails: tails(projects.flatMap(({names}) => names.map(({name}) => name)), ending),
      projects: alike(projects.map((one) => one.project))});
  }
  return known.get(projects);
}

/** The address of the list with some of its facets changed; sort, columns and grouping stay. */
function address(query, values, {clean = false} = {}) {
  const kept = {...query};
  if (clean) {
    FACETS.forEach((name) => delete kept[name]);
  }
  return `/${queryText({...kept, ...values})}`;
}

function views(query, answer, saved, forget) {
  const states = answer.tree?.states || {};
  const plain = !query.filter && !query.project && !query.connection && !query.tag && !query.hidden;
  const view = (key, filter, count) => link(address(query, {filter}, {clean: true}),
    query.filter === filter && !query.project, t(key), count);
  return [
    h("h2", {}, t("runs.views")),
    link(address(query, {}, {clean: true}), plain, t("runs.allRuns"), answer.total),
    view("runs.runningNow", "state:running", states.running ?? answer.running),
    view("runs.failed", "state:failed", states.failed),
    query.hidden ? link(address(query, {hidden: 1}, {clean: true}), true, t("runs.hidden"), answer.total)
      : link(address(query, {hidden: 1}, {clean: true}), false, t("runs.hidden")),
    saved.map((one) => h("div.saved", {},
      link(`/${one.query}`, location.search === one.query, own(one.name, {class: "cut"})),
      h("button.btn.bare.sq",
        {type: "button", title: t("runs.forgetView"), "aria-label": t("runs.forgetViewOf", {name: one.name}),
          onclick: () => forget(one)}, icon("x")))),
  ];
}

/**
 * `list` with the chosen one, which stands in it in any case: it is let go there. same(one) -> is it; made()
 * -> how it is shown.
 */
const withChosen = (list, chosen, same, made) => (chosen && !list.some(same) ? [...list, made()] : list);

/** How many more there are, and the way to them: a click begins such a condition in the filter box. */
const rest = (count, field, find, extra = "") => (count ? h(`button.link.rest${extra}`, {type: "button",
  title: t("runs.findRest", {what: `${field}:…`}), data: {rest: field}, onclick: () => find(field)},
    t("runs.moreOf", {n: fmt.int(count)})) : null);

function project(query, one, {open, toggle, all, inside, find}) {
  const here = query.project === one.slug;
  const shown = withChosen(all ? one.names : one.names.slice(0, NAMES), here && query.name,
    ({slug}) => slug === query.name,
    () => one.names.find(({slug}) => slug === query.name) || {slug: query.name, name: query.name});
  const experiment = (child) => link(address(query, {project: one.slug, name: child.slug}),
    here && query.name === child.slug,
    h("span.cell", {title: child.name}, middle(child.name, 13, inside.tails.get(child.name))), child.count,
    "in");
  return [
    h("div.node", {},
      h("button.btn.bare.tw", {type: "button", "aria-expanded": String(open),
        "aria-label": t("runs.experimentsOf", {name: one.project}),
        data: {slug: one.slug}, onclick: toggle}, icon(open ? "dn" : "rt")),
      link(address(query, {project: here && !query.name ? null : one.slug, name: null}), here && !query.name,
        inside.projects.has(one.project) ? h("span.cell", {title: one.project}, middle(one.project))
          : own(one.project, {class: "cut", title: one.project}), one.count)),
    open ? shown.map(experiment) : null,
    open && one.names.length > shown.length
      ? h("button.link.in", {type: "button", data: {slug: one.slug, all: "1"}, onclick: toggle},
        t("runs.moreNames", {n: fmt.int(one.names.length - shown.length + (one.more || 0))})) : null,
    open && one.names.length <= shown.length ? rest(one.more, "name", find, ".in") : null,
  ];
}

function connections(query, list, store) {
  const rows = new Map((store.connections?.connections || []).map((row) => [row.slug, row]));
  return list.map((one) => {
    const row = rows.get(one.slug);
    const [shape, colour] = row ? linkLook(row, store.connections.offline) : ["", ""];
    const here = query.connection === one.slug;
    const name = one.slug === "local" ? t("runs.local") : one.name;
    return link(address(query, {connection: here ? null : one.slug}), here,
      [shape ? icon(shape, `st-ic ${colour}`) : h("span.no-ic"),
        own(name, {class: "cut", title: name})], one.count);
  });
}

/** Draw a part, unless it was drawn of just these values. make() -> nodes */
function drawPart(part, of, make) {
  if (drawn.get(part)?.some((one, at) => one !== of[at]) ?? true) {
    drawn.set(part, of);
    renew(part, make());
  }
}

/**
 * Draw the tree into `node`. answer: the last GET /api/runs; forget(view) removes a saved view; again()
 * redraws; find(field) begins a condition in the filter box.
 */
function drawTree(node, parts) {
  const {query, answer, store, saved, forget} = parts;
  if (!node.firstChild) {
    node.append(h("div.part"), h("div.part"));
  }
  const [above, below] = node.children;
  const {projects, connections: links, tags, states} = answer.tree || {};
  const asked = [location.search, queryText(query), current()].join(" ");
  drawPart(above, [asked, JSON.stringify([states, answer.total, answer.running, saved])],
    () => views(query, answer, saved, forget));
  drawPart(below,
    [asked, projects, links, tags, store.connections, JSON.stringify([recall("openProjects", []), [...wide]]),
      query.project && answer.runs?.[0]?.project], () => tree(parts));
}

/** Projects with their experiments, connections, tags. */
function tree({query, answer, store, again, find}) {
  const open = new Set(recall("openProjects", []));
  const toggle = (event) => {
    const {slug, all} = event.currentTarget.dataset;
    const before = recall("openProjects", []);
    if (all) {
      wide.add(slug);
    } else {
      remember("openProjects", before.includes(slug) ? before.filter((other) => other !== slug)
        : [...before, slug]);
    }
    again();
  };
  const {projects, connections: links, tags, more = {}} = answer.tree
    || {projects: [], connections: [], tags: []};
  const inside = cuts(answer.tree);
  return [
    h("h2", {}, t("runs.projects")),
    withChosen(projects, query.project, ({slug}) => slug === query.project,
      () => ({slug: query.project, project: answer.runs?.[0]?.project || query.project, names: []}))
      .map((one) => project(query, one,
      {open: open.has(one.slug) || query.project === one.slug, toggle, all: wide.has(one.slug), inside,
        find})),
    rest(more.projects, "project", find),
    links.length ? [h("h2", {}, t("runs.connections")), connections(query, links, store),
      rest(more.connections, "connection", find)] : null,
    tags.length ? [h("h2", {}, t("runs.tags")),
      withChosen(tags.slice(0, TAGS), query.tag, ({tag}) => tag === query.tag,
        () => tags.find(({tag}) => tag === query.tag) || {tag: query.tag}).map((one) =>
        link(address(query, {tag: query.tag === one.tag ? null : one.tag}), query.tag === one.tag,
          own(one.tag, {class: "cut", title: one.tag}), one.count)),
      rest(Math.max(0, tags.length - TAGS) + (more.tags || 0), "tag", find)] : null,
  ];
}

/** The tree beside the list, and, where the page is narrow, in a box that a button opens. */
export class Sidebar {
  /** query: list_query.ListQuery; find(field): begin a condition in the filter box. */
  constructor(query, find) {
    this.query = query;
    this.find = find;
    this.answer = {};
    this.node = h("nav.side", {"aria-label": t("runs.projects")});
  }

  /** answer: the last of GET /api/runs. */
  draw(answer = this.answer) {
    this.answer = answer;
    const parts = {query: this.query.values, answer, store: state, saved: savedViews(), find: this.find,
      again: () => this.draw(), forget: (view) => { forgetView(view); this.draw(); }};
    drawTree(this.node, parts);
    if (this.popped?.isConnected) {
      drawTree(this.popped, parts);
    }
  }

  open(anchor) {
    this.popped = h("nav.side.popped", {"aria-label": t("runs.projects")});
    popover(anchor, this.popped, {label: t("runs.projects")});
    this.draw();
  }

  /** Offer to save what the address asks as a view. */
  save(anchor) {
    saveView(anchor, () => this.draw());
  }
}
