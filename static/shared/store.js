// What the pages share: connections, settings, ticked runs, a run's colour. One state, one repaint per frame.

const COLOURS = 8;               // the palette's curves; beyond, the order repeats dashed, then dotted
const SLOTS = COLOURS * 3;
const REMEMBERED = 500;          // runs whose colour is kept
const DASHES = [[], [6, 4], [2, 3]];

/** @type {{settings: any, connections: any, ticked: string[], down: {since: number, retryAt: number, why: string} | null, heard: number}} */
export const state = {
  settings: null,                // the last GET /api/settings
  connections: null,             // the last GET /api/connections
  ticked: [],                    // run keys, in the order they were ticked
  down: null,                    // {since: s, retryAt: s, why: what it said} while the viewer does not answer
  heard: 0,                      // when the viewer last answered, by the viewer's clock, s
};

const watchers = new Set();
let asked = false;

/** Call `watcher` (at most once a frame) after every change; returns a function that stops it. */
export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

function repaint() {
  asked = false;
  watchers.forEach((watcher) => watcher(state));
}

/** Change the state; those who watch are called in the next frame. @param {Partial<typeof state>} values */
export function change(values) {
  Object.assign(state, values);
  if (!asked && watchers.size) {
    asked = true;
    requestAnimationFrame(repaint);
  }
}

/**
 * What this browser remembers; storage may be full or forbidden, then it is only remembered until the page
 * closes.
 */
const memory = {};
export function remember(name, value) {
  memory[name] = value;
  try {
    localStorage.setItem(`runicorn.${name}`, JSON.stringify(value));
  } catch {                      // forbidden or full: `memory` holds it
  }
}

export function recall(name, otherwise) {
  if (name in memory) {
    return memory[name];
  }
  try {
    return JSON.parse(localStorage.getItem(`runicorn.${name}`)) ?? otherwise;
  } catch {                      // forbidden, or written by hand
    return otherwise;
  }
}

/** Words that preload.js reads before any module is here; without storage it goes without them. */
export function keepText(name, words) {
  try {
    localStorage.setItem(`runicorn.${name}`, words);
  } catch {                      // forbidden or full
  }
}

let slots = null;

function free(taken) {
  for (let slot = 0; slot < SLOTS; slot += 1) {
    if (!taken.has(slot)) {
      return slot;
    }
  }
  return taken.size % SLOTS;
}

function keep(key, slot) {
  slots.delete(key);
  slots.set(key, slot);
  if (slots.size > REMEMBERED) {
    slots.delete(slots.keys().next().value);
  }
  remember("colours", [...slots]);
}

/**
 * The colour slot of a run, 0 to 23: the same on every page. A run without one gets the first that no ticked
 * run has.
 * @param {string} key @returns {number}
 */
export function colourOf(key) {
  slots ??= new Map(recall("colours", []));
  if (!slots.has(key)) {
    keep(key,
      free(new Set(state.ticked.filter((other) => slots.has(other)).map((other) => slots.get(other)))));
  }
  return slots.get(key);
}

/** Give runs that are shown together different slots; the first ones keep theirs. */
export function spreadColours(keys) {
  const taken = new Set();
  for (const key of keys) {
    if (taken.has(colourOf(key))) {
      keep(key, free(taken));
    }
    taken.add(slots.get(key));
  }
}

/** How a slot is drawn: the number of its CSS variable --c1 … --c8, and the dashes of its line. @param {number} slot */
export function stroke(slot) {
  return {colour: (slot % COLOURS) + 1, dash: DASHES[Math.floor(slot / COLOURS) % DASHES.length]};
}

/** Tick or untick a run everywhere. @param {string} key @param {boolean} [on] */
export function tick(key, on = !state.ticked.includes(key)) {
  const others = state.ticked.filter((other) => other !== key);
  setTicked(on ? [...others, key] : others);
}

/** @param {string[]} keys */
export function setTicked(keys) {
  spreadColours(keys);
  try {
    sessionStorage.setItem("runicorn.ticked", JSON.stringify(keys));
  } catch {                      // forbidden: ticks then end with the page
  }
  change({ticked: keys});
}

/** The ticks this tab had before a reload. */
export function recallTicked() {
  try {
    return JSON.parse(sessionStorage.getItem("runicorn.ticked")) || [];
  } catch {                      // forbidden, or written by hand
    return [];
  }
}
