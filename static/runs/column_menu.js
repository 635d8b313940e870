// Choosing columns and grouping of the run list.

import * as api from "../shared/api.js";
import {offeredColumns} from "./columns.js";
import {fill, h} from "../shared/dom.js";
import {menu, popover} from "../shared/widgets.js";
import {fmt, known, t} from "../shared/words.js";

const GROUPS = ["project", "name", "group", "job_type", "connection", "state", "user", "tag"];
// ms after the last key before the viewer is asked for names that are not here
const PAUSE = 200;
const LOOK = 250;                // ms between looks whether the list has come, or has more names
const MOST = 300;                // boxes drawn at once; the search finds the others

/**
 * The column chooser at `anchor`. chosen: ids; columns() -> the newest answer's columns, undefined before the
 * first; pick(ids | null) is called at every change.
 */
export function chooseColumns(anchor, {chosen, columns, pick}) {
  let ids = [...chosen];
  let offered = columns();
  let all = offeredColumns(offered);
  const list = h("div.cols");
  const search = h("input.inp",
    {type: "search", placeholder: t("runs.findColumn"), "aria-label": t("runs.findColumn"),
      oninput: () => { draw(); findMore(); }});
  const change = (id, on) => {
    ids = on ? [...ids, id] : ids.filter((other) => other !== id && !(id === "main" && other === "spark"));
    if (on && id === "main" && !ids.includes("spark")) {
      ids.splice(ids.length - 1, 0, "spark");
    }
    pick(ids);
  };
  const name = (id) => (id.includes(".") ? id.slice(id.indexOf(".") + 1) : known(`runs.col.${id}`));
  const box = (id) => h("label", {},
    h("input.tick", {type: "checkbox", checked: ids.includes(id), disabled: id === "name",
    onchange: (event) => change(id, event.target.checked)}), h("span.cut", {title: name(id)}, name(id)));
  const part = (title, members) => (members.length ? [h("h3", {}, title), members.map(box)] : null);
  /** How many columns there are that are not drawn: the search finds them. */
  const unseen = (fits) => ["summary", "config"].reduce(
    (sum, side) => sum + Math.max(0, all[side].filter(fits).length - MOST)
    + (search.value ? 0 : offered?.more?.[side] || 0), 0);
  const draw = () => {
    const fits = (id) => name(id).toLowerCase().includes(search.value.toLowerCase());
    fill(list, part(t("runs.colsBasic"), all.basics.filter(fits)),
      part(t("runs.colsSummary"), all.summary.filter(fits).slice(0, MOST)),
      part(t("runs.colsConfig"), all.config.filter(fits).slice(0, MOST)),
      unseen(fits) ? h("p.m2.small", {}, t("runs.moreColumns", {n: fmt.int(unseen(fits))})) : null);
  };
  draw();
  let timer = 0;
  const count = (one) =>
    (one ? `${one.summary?.length}/${one.config?.length}/${JSON.stringify(one.more)}` : "");
  let shown = count(offered);
  const looking = setInterval(() => {
    if (!list.isConnected) {
      clearInterval(looking);
    } else if (!search.value && count(columns()) !== shown) {
      offered = columns();
      [all, shown] = [offeredColumns(offered), count(offered)];
      draw();
    }
  }, LOOK);
  /** Look among the names that the list's answer had no room for. */
  const findMore = () => {
    clearTimeout(timer);
    const sides = Object.keys(offered?.more || {}).filter((side) => side !== "metrics" && search.value);
    timer = setTimeout(async () => {
      const asked = search.value;
      const found = await Promise.all(
        sides.map((of) => api.get("/api/columns", {of, find: asked, limit: MOST})));
      sides.forEach((side, at) => {
        offered = {...offered, [side]: [...new Set([...offered[side], ...found[at].items])]};
      });
      all = offeredColumns(offered);
      if (sides.length && asked === search.value) {
        draw();
      }
    }, sides.length ? PAUSE : 0);
  };
  let close = () => null;
  close = popover(anchor,
    h("div.chooser", {}, search, list,
    h("div.rowf", {}, h("button.link", {type: "button", onclick: () => { close(); pick(null); }},
      t("runs.colsReset")), h("span.grow"),
    h("button.btn", {type: "button", onclick: () => close()}, t("common.done")))),
    {right: true, label: t("runs.columns")});
}

/** The words of a grouping. */
export function groupLabel(group) {
  return !group ? t("runs.groupNone") : group.includes(".") ? group.slice(group.indexOf(".") + 1)
    : known(`runs.col.${group}`);
}

/** The menu of groupings. */
export function chooseGroup(anchor, {group, offered, pick}) {
  const keys = (offered?.config || []).slice(0, 30).map((name) => `config.${name}`);
  const item = (one) => ({label: groupLabel(one), checked: one === group, run: () => pick(one)});
  menu(anchor, [item(""), null, ...GROUPS.map(item), ...(keys.length ? [null, ...keys.map(item)] : [])]);
}
