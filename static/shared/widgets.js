// Small parts every page uses: menu, dialog, tooltip, segmented control, empty state, banner, states of runs
// and connections.

import {now} from "./clock.js";
import {fontFamily, h, icon, text} from "./dom.js";
import {tailOf} from "./run_names.js";
import {fmt, known, quoted, t} from "./words.js";

const TIP_DELAY = 250;           // ms: long enough not to flicker while the pointer crosses a table
const TAIL = 8;                  // characters of a name that stay at its end
const TAIL_WIDE = 5;             // … of Chinese, Japanese or Korean
const WIDE = /[\u2e80-\uffef]/;
// from left to right, a letter each
const ONE_WAY = /^[ -~\u00a0-\u02ff\u0370-\u052f\u2010-\u2027\u2e80-\ud7a3\uff00-\uffef]*$/;
const SLACK = 0.6;               // px a measured name may be wider than its own box by rounding
const EDGE = 8;                  // px kept free at the window's edges

/** Put a fixed element below (or, without room, above) its anchor, inside the window. */
export function place(node, anchor, {right = false} = {}) {
  const at = anchor.getBoundingClientRect();
  const size = node.getBoundingClientRect();
  const left = right ? at.right - size.width : at.left;
  const below = at.bottom + 3;
  const top = below + size.height > innerHeight - EDGE && at.top > size.height + EDGE
    ? at.top - size.height - 3 : below;
  node.style.left = `${Math.max(EDGE, Math.min(left, innerWidth - size.width - EDGE))}px`;
  node.style.top = `${Math.max(EDGE, Math.min(top, innerHeight - size.height - EDGE))}px`;
}

let closeOpen = null;

/**
 * Open a box at `anchor`; closed by Escape, a click elsewhere, or the function it returns. A second click on
 * the anchor closes it.
 */
export function popover(anchor, content, {right = false, role = "dialog", label = ""} = {}) {
  const again = closeOpen?.anchor === anchor;
  closeOpen?.();
  if (again) {
    return () => null;
  }
  const box = h("div.pop", {role, "aria-label": label || null}, content);
  const outside = (event) => !box.contains(event.target) && !anchor.contains(event.target) && close();
  const key = (event) => event.key === "Escape" && (event.stopPropagation(), close(), anchor.focus());
  function close() {
    box.remove();
    anchor.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside, true);
    document.removeEventListener("keydown", key, true);
    closeOpen = null;
  }
  document.body.append(box);
  anchor.setAttribute("aria-expanded", "true");
  place(box, anchor, {right});
  document.addEventListener("pointerdown", outside, true);
  document.addEventListener("keydown", key, true);
  closeOpen = Object.assign(close, {anchor});
  (box.querySelector("[autofocus], input, button, a, [tabindex]") || box).focus({preventScroll: true});
  return close;
}

/** Close whatever popover or menu is open (a page is left). */
export function closePopover() {
  closeOpen?.();
}

function moveFocus(event) {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (step) {
    const items = [...event.currentTarget.querySelectorAll("[role^=menuitem]:not([disabled])")];
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length]?.focus();
    event.preventDefault();
  }
}

/** A menu of [{label, icon, checked, href, danger, disabled, run}] or null (a line between). */
export function menu(anchor, items, options = {}) {
  let close = () => null;
  const entry = (item) => {
    if (!item) {
      return h("hr");
    }
    const role = item.checked === undefined ? "menuitem" : "menuitemradio";
    const attributes = {role, class: item.danger ? "bad" : "",
      "aria-checked": item.checked === undefined ? null : String(item.checked)};
    const mark = item.checked === undefined ? (item.icon ? icon(item.icon) : null)
      : h("span.mark", {}, item.checked ? icon("finished") : null);
    if (item.href) {
      return h("a.item", {...attributes, href: item.href, download: item.download, onclick: () => close()},
        mark, item.label);
    }
    return h("button.item", {...attributes, type: "button", disabled: Boolean(item.disabled),
      onclick: () => { close(); item.run(); }},
      mark, item.label);
  };
  close = popover(anchor, h("div.menu", {onkeydown: moveFocus}, items.map(entry)),
    {role: "menu", ...options});
  return close;
}

/**
 * Ask in a modal dialog; resolves to the value of the button pressed, null for Escape. buttons: [{label,
 * value, primary, danger}];
 * look: a class of its box.
 */
export function ask(title, body, buttons, look = "") {
  return new Promise((resolve) => {
    const answers = buttons.map(({label, value, primary, danger}) =>
      h("button.btn",
        {class: primary ? "pri" : danger ? "bad" : "", type: "submit", value, autofocus: primary}, label));
    const form = h("form", {method: "dialog"}, h("h2", {}, title), h("div.body", {}, body),
      h("div.rowf.end", {}, answers));
    const box = h("dialog.ask-box",
      {class: look, "aria-label": title, onclose: () => { box.remove(); resolve(box.returnValue || null); }},
      form);
    document.body.append(box);
    box.showModal();
  });
}

/**
 * Show `content(part)` (nodes, or null for nothing) beside the part of `node` that matches `selector` while
 * the pointer rests on it.
 */
export function tooltip(node, content, selector) {
  let [timer, box, over] = [0, null, null];
  const hide = () => {
    clearTimeout(timer);
    box?.remove();
    [box, over] = [null, null];
  };
  const show = () => {
    const inside = over?.isConnected && content(over);
    if (inside) {
      box = h("div.tip", {role: "tooltip"}, inside);
      document.body.append(box);
      place(box, over);
    }
  };
  node.addEventListener("pointerover", (event) => {
    const part = event.target.closest(selector);
    if (part !== over) {
      hide();
      over = part;
      timer = part ? setTimeout(show, TIP_DELAY) : 0;
    }
  });
  node.addEventListener("pointerleave", hide);
  node.addEventListener("pointerdown", hide);
  node.addEventListener("wheel", hide, {passive: true});
  return node;
}

/** Two to four exclusive choices. choices: [[value, label, title?]]; pick(value) is called on a change. */
export function segmented(label, choices, value, pickOne) {
  const group = h("div.seg", {role: "radiogroup", "aria-label": label});
  const choose = (wanted) => {
    for (const button of group.children) {
      button.setAttribute("aria-checked", String(button.value === wanted));
      button.tabIndex = button.value === wanted ? 0 : -1;
    }
  };
  const pressed = (event) => {
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    if (step) {
      const all = [...group.children];
      const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
      next.focus();
      next.click();
      event.preventDefault();
    }
  };
  group.append(...choices.map(([one, words, title]) => h("button", {
    type: "button", role: "radio", value: one, title, onclick: () => { choose(one); pickOne(one); },
    onkeydown: pressed}, words)));
  choose(value);
  group.choose = choose;
  return group;
}

/** One column that says what is the matter and the next thing to do. commands: texts shown in boxes. */
export function empty(title, ...content) {
  return h("div.empty", {}, h("h2", {}, title), content);
}

/** A figure with its unit small behind it. */
export function figure(value, unit) {
  return [value, h("span.u", {}, unit)];
}

export function bytes(value) {
  return value == null ? "–" : figure(...fmt.size(value));
}

const RUN_CLASS = {running: "ok", stalled: "warn", lost: "warn", interrupted: "warn", failed: "bad"};

/** A run's state: shape, word, colour. */
export function runState(name) {
  return h("span.st", {class: RUN_CLASS[name] || ""}, icon(name), h("span", {}, t(`state.${name}`)));
}

/**
 * Why a run is in its state, in the reader's language; the server's own text where the page does not know the
 * code.
 */
export function reasonText(reason) {
  if (!reason) {
    return "";
  }
  const text = known(`reason.${reason.code}`, readable(reason), quoted(reason.text));
  return reason.ranks ? t("reason.with_rank", {text, rank: rankText(reason.ranks)}) : text;
}

/** What is wrong with a run of the list, in the reader's language. */
export const errorText = (row) => known(`run.error.${row.error_code}`, {format: row.format}, row.error);

/** What a rank other than 0 said of its end. */
function rankText({rank, state, more, why, text}) {
  const because = why.code === state ? "" : t("reason.rank_why", {why: reasonText(why)});
  const one = known(`reason.rank_${state}`, {rank, because}, text);
  return more ? t("reason.rank_more", {text: one, more}) : one;
}

/**
 * What a line of a test, a refusal or an error says, whole, in the reader's language; the server's own text
 * without a translation.
 */
export function said(told) {
  if (!told) {
    return "";
  }
  if (!told.said && !told.code) {
    return told.text;              // an address, a path, a key: no words
  }
  const otherwise = told.code === "refused" ? quoted(told.text)
    : known(`reason.${told.code}`, readable(told), quoted(told.text));
  return known(`said.${told.said ?? told.code}`, readable(told), otherwise);
}

/** What to do about a line of a test. */
export function advised(line) {
  return line.advice ? known(`advice.${line.said}`, readable(line), quoted(line.advice)) : "";
}

/** Values of a reason ready for a sentence: times and durations written out, several in a row. */
function readable(reason) {
  const out = {...reason};
  for (const [name, value] of Object.entries(reason)) {
    if (name === "others") {            // how many runs of each kind of another logger
      out[name] = Object.entries(value)
        .map(([kind, n]) => t("said.of_kind", {n, kind: known(`kind.${kind}`, {}, kind)}))
        .join(t("said.between"));
    } else if (Array.isArray(value)) {
      out[name] = value.map((one) => known(`cause.${one}`, {}, String(one))).join(", ");
    } else if (typeof value === "number" && /(^|_)(at|since|until)$/.test(name)) {
      out[name] = fmt.when(value);
    } else if (typeof value === "number" && /(seconds|age|silent|ago)$/.test(name)) {
      out[name] = fmt.duration(value);
    }
  }
  return out;
}

const LINKS = {live: ["running", "ok", "live"], syncing: ["ring", "ok", "syncing"],
  connecting: ["ring", "", "connecting"], waiting: ["ask", "warn", "waiting"],
               paused: ["paused", "", "paused"], blocked: ["warn", "warn", "blocked"],
  offline: ["cut", "bad", "offline"], refused: ["cut", "bad", "refused"]};

/** [icon, class, word key] of a connection; offline: this viewer was started with --offline. */
export function linkLook(row, offline = false) {
  return offline ? ["paused", "warn", "viewing"]
    : LINKS[isBlocked(row) ? "blocked" : row.state] || ["ring", "", "connecting"];
}

/** Whether this machine, and nobody's wish, is what a connection waits for. */
export const isBlocked = (row) => row.state === "paused" && ["disk", "disk_full", "short"].includes(
  row.reason?.code);

/** A bar under the top bar. kind: "bad" or "warn". */
export function banner(kind, content, ...actions) {
  return h("div.banner", {class: kind, role: kind === "bad" ? "alert" : "status"},
    icon(kind === "bad" ? "failed" : "warn", kind), h("span.grow", {}, content), actions);
}

/** Keep the place of what is coming; nothing is drawn within the first 150 ms (CSS delays it). */
export function bones(count, widths = ["62%", "78%", "46%", "70%"]) {
  return Array.from({length: count}, (_, i) => {
    const bone = h("span.bone", {"aria-hidden": "true"});
    bone.style.width = widths[i % widths.length];
    return bone;
  });
}

let pen = null;                  // measures text without asking the document for a layout

function widthOf(words, size) {
  pen ??= document.createElement("canvas").getContext("2d");
  pen.font = `${size}px ${fontFamily()}`;
  return pen.measureText(words).width;
}

/** How many letters stay at the end of a name that is cut in its middle; 0: it is short, or of a script that may run from right to left
or join its letters, and is cut at its end. */
export function ending(name) {
  const letters = WIDE.test(name) ? TAIL_WIDE : TAIL;
  return name.length >= 2 * letters && ONE_WAY.test(name) ? letters : 0;
}

/**
 * A name that is cut in its middle where it has no room: sweeps differ at the end. The text stays whole for
 * search, copy and readers; style.css lays its tail over the cut. size: px of the font; tail: what to lay
 * there instead of the name's end.
 */
export function middle(name, size = 13, tail = undefined) {
  return renameMiddle(h("bdi", {translate: "no"}), name, size, tail);
}

/** Give another name to what middle() made; returns it. */
export function renameMiddle(node, name, size = 13, given = undefined) {
  const cut = ending(name);
  const tail = given ?? tailOf(name, cut);
  node.className = cut ? "midcut name" : "cut name";
  text(node, name);
  if (cut) {
    node.removeAttribute("dir");
    node.dataset.tail = tail;
    node.style.setProperty("--w", `${widthOf(name, size) - SLACK}px`);
    node.style.setProperty("--tail", `${Math.ceil(widthOf(tail, size)) + 1}px`);
  } else {
    node.dir = "auto";
  }
  return node;
}

// the time by which all ages in the page are reckoned: of one moment they say the same
let counted = 0;

/**
 * How long ago a moment (Unix s of the viewer's clock) was, in words; within: key of a sentence that says it
 * with {age}.
 */
function agoText(at, within) {
  if (at > counted) {
    counted = now();
  }
  const age = t("run.ago", {age: fmt.age(counted - at)});
  return within ? t(within, {age}) : age;
}

/** The same as a node that counts on while it stands in the page. */
export function ago(at, within = "") {
  return h("span.ago.num", {data: {ago: at, within}}, agoText(at, within));
}

/** Let the ages in the page count on; called every second. */
export function countAges() {
  counted = now();
  document.querySelectorAll("[data-ago]").forEach((/** @type {HTMLElement} */ node) => text(node, agoText(Number(node.dataset.ago), node.dataset.within)));
}
