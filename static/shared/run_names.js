// Runs that are called the same, told apart: by project, else by what their configs differ in, else by their
// ids. Pure.

import {flattened} from "./flatten.js";
import {fmt} from "./words.js";

const KEYS = 2;                  // config values in a name
const LONG = 18;                 // characters of a value; longer ones are cut

const lastPart = (key) => key.slice(key.lastIndexOf(".") + 1);

const cut = (words) => (words.length > LONG ? `${words.slice(0, LONG - 1)}…` : words);

/** The config values that a row of the list has in its columns. */
const columnValues = ({values}) =>
  Object.entries(values || {}).filter(([name]) => name.startsWith("config.")).map(
    ([name, value]) => [name.slice(7), value]);

/** [[key, texts of the runs]] of the config, what tells most of them apart first, seeds before all. */
function differing(runs) {
  const tables = runs.map((run) =>
    Object.fromEntries(run.config ? flattened(run.config) : columnValues(run)));
  const seed = (key) => Number(/(^|[._])(random_?)?seed$/i.test(key));
  return [...new Set(tables.flatMap((table) => Object.keys(table)))]
    .map((key) => [key, tables.map((table) => (key in table ? fmt.given(table[key]) : "–"))])
    .map(([key, texts]) => ({key, texts, kinds: new Set(texts).size}))
    .filter(({kinds}) => kinds > 1)
    .sort((a, b) => seed(b.key) - seed(a.key) || b.kinds - a.kinds || a.key.length - b.key.length)
    .map(({key, texts}) => [key, texts]);
}

function toldApart(runs) {
  const unique = (texts) => new Set(texts).size === runs.length;
  const projects = runs.map(({project}) => project);
  if (unique(projects)) {
    return projects;
  }
  let texts = runs.map(() => "");
  for (const [key, values] of differing(runs).slice(0, KEYS)) {
    texts = texts.map((text, at) => `${text}${text && " "}${lastPart(key)}=${cut(values[at])}`);
    if (unique(texts)) {
      return texts;
    }
  }
  return texts.map((text, at) => `${text}${text && " "}${runs[at].id.slice(-6)}`);
}

/**
 * Map of run key to the words that tell it from the other `runs` of its name; those with a name of their own
 * have none.
 */
export function distinctions(runs) {
  const named = new Map();
  runs.forEach((run) => named.set(run.name, [...(named.get(run.name) || []), run]));
  const alike = [...named.values()].filter((group) => group.length > 1);
  return new Map(alike.flatMap((group) => toldApart(group).map((words, at) => [group[at].key, words])));
}

const shared = (one, other) => [...one].findIndex((letter, at) => letter !== other[at]);

/**
 * Map of run key to the run's name, or where a place for `room` characters would show others the same, what
 * follows their common beginning.
 */
export function heads(runs, room) {
  const names = [...new Set(runs.map(({name}) => name))];
  const head = (name) => {
    const alike = names.filter((other) =>
      other !== name && name.length > room && other.slice(0, room) === name.slice(0, room));
    const end = Math.min(...alike.map((other) => shared(name, other)).filter((at) => at > 0));
    const joint = Number.isFinite(end)
      ? Math.max(...[..."_./- "].map((sign) => name.lastIndexOf(sign, end - 1))) : -1;
    return alike.length && end > room / 4 && Number.isFinite(end)
      ? `…${name.slice(joint > end - room / 2 ? joint + 1 : end)}` : name;
  };
  return new Map(runs.map(({key, name}) => [key, head(name)]));
}

/** Those of `names` that begin with the same `room` letters as another (Set). */
export function alike(names, room = 12) {
  const begun = new Map();
  new Set(names)
    .forEach((name) => begun.set(name.slice(0, room), [...(begun.get(name.slice(0, room)) || []), name]));
  return new Set([...begun.values()].filter((group) => group.length > 1).flat());
}

/**
 * What is laid over a name's cut: "…" and its last `letters`; a separator before them would only double the
 * dots.
 */
export function tailOf(name, letters) {
  return `…${name.slice(-letters).replace(/^[._/\s-]+(?=.)/u, "")}`;
}

function sharedLength(one, other) {
  let at = 0;
  while (at < one.length && one[at] === other[at]) {
    at += 1;
  }
  return at;
}

/**
 * Map of name to what is shown behind a cut in its middle, of those whose ends would show others the same
 * though they begin alike: the letters in which they differ. kept(name) -> how many letters stay at a name's
 * end, 0 where it is not cut in its middle.
 */
export function tails(names, kept) {
  const ends = new Map(), found = new Map();
  for (const name of new Set(names)) {
    const end = kept(name) && tailOf(name, kept(name));
    if (end) {
      ends.set(end, [...(ends.get(end) || []), name]);
    }
  }
  for (const alike of [...ends.values()].filter((group) => group.length > 1)) {
    alike.sort();
    const letters = kept(alike[0]);
    const first = sharedLength(alike[0], alike.at(-1));
    const piece = (name, from) => `…${name.slice(from, from + letters - 1)}…`;
    const apart = new Set(alike.map((name) => piece(name, first))).size === alike.length;
    alike.forEach((name, at) => {
      const nearest = Math.max(...[alike[at - 1], alike[at + 1]]
        .map((other) => (other === undefined ? 0 : sharedLength(name, other))));
      if (nearest >= letters) {
        found.set(name, piece(name, apart ? first : nearest));
      }
    });
  }
  return found;
}

/** Map of run key to the run's name, with what tells it from others of that name. */
export function fullNames(runs) {
  const words = distinctions(runs);
  return new Map(runs.map(({key, name}) => [key, words.has(key) ? `${name} ${words.get(key)}` : name]));
}
