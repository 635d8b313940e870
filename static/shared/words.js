// The two languages of the pages, and numbers, times and durations as each writes them. Pure but for
// setLanguage().

import * as time from "./clock.js";
import {inChinese, promptInChinese, wholeInChinese} from "./foreign.js";
import en from "./words-en.js";
import zh from "./words-zh.js";

const LANGUAGES = {en, zh};
const LOCALES = {en: "en-US", zh: "zh-CN"};
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
// values that are words of the system, its ssh or a library
const FOREIGN = new Set(["detail", "why", "message", "text"]);
const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

let language = "en";
let cache = {};                  // Intl objects are dear to make

export const current = () => language;

/**
 * "en" or "zh" for a wish ("auto", "en", "zh") and the browser's languages, best first.
 * @param {string} wish @param {readonly string[]} offered
 */
export function pick(wish, offered = []) {
  if (wish in LANGUAGES) {
    return wish;
  }
  const first = offered.map((tag) => tag.toLowerCase().split("-")[0]).find((tag) => tag in LANGUAGES);
  return first || "en";
}

/** Use a language from now on; "auto" follows the browser. */
export function setLanguage(wish) {
  language = pick(wish, globalThis.navigator?.languages);
  cache = {};
  if (globalThis.document) {
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  }
}

/**
 * A text cut at its placeholders: strings and values in turn, for texts with nodes in them. "{name}" is
 * replaced by values.name, "{n|run|runs}" by the first word when values.n is 1, else by the second.
 */
export function parts(key, values = {}) {
  const found = LANGUAGES[language][key] ?? en[key] ?? key;
  return found.split(/(\{[^{}]+\})/).filter(Boolean).map((piece) => {
    if (!piece.startsWith("{")) {
      return piece;
    }
    const [name, one, many] = piece.slice(1, -1).split("|");
    if (one !== undefined) {
      return Number(values[name]) === 1 ? one : many;
    }
    const value = values[name];
    return typeof value === "number" ? fmt.int(value)
      : FOREIGN.has(name) && language === "zh" && typeof value === "string"
      ? inChinese(value) : value ?? "";
  });
}

/** The text of a key in the present language. */
export function t(key, values) {
  return parts(key, values).join("");
}

/**
 * A sentence of somebody else's (the system, a server, a part of ours that has no words here) as this
 * language can show it.
 */
export function quoted(text) {
  if (language !== "zh" || !text) {
    return text;
  }
  const {text: words, own} = wholeInChinese(text);
  return own ? t("said.quoted", {words}) : words;
}

/** What a server or a key asks, as this language can show it. */
export const prompted = (text) => (
  language === "zh" && text ? promptInChinese(text) ?? t("said.prompted", {words: text.trim()}) : text);

/**
 * The text of a key when there is one, else `otherwise` (a code of the server's that this page does not know
 * yet).
 */
export function known(key, values, otherwise) {
  return key in en ? t(key, values) : otherwise ?? key;
}

/**
 * What was passed over and why, {reason: count}, as texts: "2 Python environments". A reason that names a
 * rule has it in its middle.
 */
export function passedTexts(counts) {
  return Object.entries(counts ?? {}).map(([reason, count]) => {
    const rule = /^text files on which the rule (.*) takes too long$/s.exec(reason)?.[1];
    return `${fmt.int(count)} ${rule === undefined ? known(`run.passed.${reason}`, {n: count}, quoted(reason)) : t("run.passed.rule", {rule, n: count})}`;
  });
}

function formatter(kind, options) {
  const name = kind + JSON.stringify(options);
  cache[name] ??= kind === "number" ? new Intl.NumberFormat(LOCALES[language], options)
    : new Intl.DateTimeFormat(LOCALES[language],
      options);
  return cache[name];
}

/**
 * Both languages write 1,234.5, and the first Intl object of a page costs as much as the first rows of the
 * list.
 */
function decimal(value, digits = 0) {
  const [whole, part] = Math.abs(value).toFixed(digits).split(".");
  return `${value < 0 ? "−" : ""}${whole.replace(/\B(?=(\d{3})+$)/g, ",")}${part ? `.${part}` : ""}`;
}

function exponent(value, digits) {
  const [mantissa, power] = value.toExponential(digits).split("e");
  return `${mantissa.replace(/\.?0+$/, "")}e${power.replace("+", "").replace("-", "−")}`;
}

function pad(value) {
  return String(value).padStart(2, "0");
}

function clockParts(at) {
  const then = new Date(at * 1000);
  return [then.getHours(), then.getMinutes(), then.getSeconds()].map(pad);
}

function dayText(date) {
  return language === "zh" ? `${date.getMonth() + 1}月${date.getDate()}日`
    : `${MONTHS[date.getMonth()]} ${date.getDate()}`;
}

/** GMT+8 */
function zoneText(date) {
  const minutes = -date.getTimezoneOffset();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `GMT${minutes ? (minutes < 0 ? "−" : "+") + hours : ""}${rest ? `:${pad(rest)}` : ""}`;
}

/** Jan 23, 2025, 18:30:45 GMT+8 */
function dateText(date, time) {
  const [day, zone] = [dayText(date), zoneText(date)];
  return language === "zh" ? `${date.getFullYear()}年${day} ${time} ${zone}`
    : `${day}, ${date.getFullYear()}, ${time} ${zone}`;
}

function durationText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24,
    Math.floor(whole / 60) % 60];
  if (days) {
    return t("time.dh", {d: days, h: pad(hours)});
  }
  if (hours) {
    return t("time.hm", {h: hours, m: pad(minutes)});
  }
  return minutes ? t("time.ms", {m: minutes, s: pad(whole % 60)}) : t("time.s", {s: whole});
}

const sameDay = (a, b) => a.getFullYear() === b.getFullYear() && a.getMonth() === b.getMonth()
  && a.getDate() === b.getDate();

export const fmt = {
  /** A whole number with its thousands apart. */
  int: (value) => (value == null ? "–" : decimal(value)),

  /** A metric's value, five figures at most, of one width within a column: 0.3871, 85.62, 41,200, 1.4e−4. */
  value(value) {
    if (value == null || value === "") {
      return "–";
    }
    if (!Number.isFinite(value)) {
      return {"Infinity": "∞", "-Infinity": "−∞"}[value] || String(value);
    }
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e9) {
      return decimal(value);
    }
    if (size !== 0 && (size < 1e-3 || size >= 1e9)) {
      return exponent(value, 3).replace(/^-/, "−");
    }
    const digits = size >= 1000 ? 1 : size >= 10 ? 2 : 4;
    return decimal(value, digits);
  },

  /**
   * A metric's value with the digits that tell it from one `step` away, and never fewer than everywhere else.
   */
  fine(value, step) {
    const size = Math.abs(value);
    const figures = Math.floor(Math.log10(size)) - Math.floor(Math.log10(step)) + 1;
    if (typeof value !== "number" || !(figures > 4) || !Number.isFinite(figures)
        || (Number.isInteger(value) && size < 1e9)) {
      return fmt.value(value);
    }
    if (size < 1e-3 || size >= 1e15) {
      return exponent(value, Math.min(16, figures - 1)).replace(/^-/, "−");
    }
    const digits = Math.max(0, -Math.floor(Math.log10(step)));
    const [written, usual] = [decimal(value, Math.min(16, digits)), fmt.value(value)];
    return written.length > usual.length || usual.includes("e") ? written : usual;
  },

  /**
   * A measured quantity in three figures: 8.2, 95, 240; nobody needs more of a percentage or of gigabytes.
   */
  short: (value) => (Number.isFinite(value)
    ? formatter("number", {maximumSignificantDigits: Math.abs(value) >= 100 ? 4 : 3}).format(value)
    : fmt.value(value)),

  /** A config or summary value as the user wrote it: nothing rounded, nested values as JSON. */
  given(value) {
    if (value == null) {
      return value === null ? "null" : "–";
    }
    if (typeof value === "number" && value !== 0 && Math.abs(value) < 1e-4) {
      return value.toExponential();
    }
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  },

  /**
   * The same; a number that takes more than `room` characters gets fewer figures and a ≈ before them: one cut
   * at its end would be another. Where just that sign has no room, what reckoning in binary left behind
   * (0.0014999999999999998) is not worth it.
   */
  within(value, room) {
    const whole = fmt.given(value);
    if (typeof value !== "number" || whole.length <= room) {
      return whole;
    }
    const clean = fmt.given(Number(value.toPrecision(15)));
    if (clean.length === room) {
      return clean;
    }
    for (let figures = 16; ; figures -= 1) {
      const plain = fmt.given(Number(value.toPrecision(figures)));
      const power = value.toExponential(figures - 1).replace(/\.?0*e/, "e");
      const shorter = plain.length <= power.length ? plain : power;
      if (shorter.length < room || figures === 1) {
        return `≈${shorter}`;
      }
    }
  },

  /** [figure, unit] of a number of bytes, decimal units. */
  size(bytes) {
    let [value, unit] = [bytes, 0];
    while (value >= 999.5 && unit < UNITS.length - 1) {
      value /= 1000;
      unit += 1;
    }
    const digits = unit && value < 9.95 ? 1 : 0;
    return [decimal(value, digits), UNITS[unit]];
  },

  bytes: (bytes) => (bytes == null ? "–" : fmt.size(bytes).join(" ")),

  percent: (share, digits = 0) => formatter("number",
    {style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits}).format(share),

  /** Seconds as two figures: 42s, 4m 12s, 2h 28m, 1d 02h. */
  duration: (seconds) => (seconds == null ? "–" : durationText(seconds)),

  /** An age or a wait in its largest unit: 0.8 s, 42 s, 5 min, 3 h, 2 d. */
  age(seconds) {
    const value = Math.max(0, seconds);
    if (value < 9.95) {
      return t("time.age.s", {n: decimal(value, 1)});
    }
    const [unit, size] = value < 99.5 ? ["s", 1] : value < 5970 ? ["m", 60] : value < 172800 ? ["h", 3600]
      : ["d", 86400];
    return t(`time.age.${unit}`, {n: fmt.int(Math.round(value / size))});
  },

  /** 18:41 */
  clock: (at) => clockParts(at).slice(0, 2).join(":"),

  /** 18:41:07, 18:41:07.25 */
  seconds(at, digits = 0) {
    // .9996 in three digits is the next second
    const near = digits ? Math.round(at * 10 ** digits) / 10 ** digits : at;
    return clockParts(near).join(":") + (digits ? (near - Math.floor(near)).toFixed(digits).slice(1) : "");
  },

  /** How the reader's clock goes then: GMT+8. */
  zone: (at) => zoneText(new Date(at * 1000)),

  /** Today's times as 18:41, this year's days as Jan 22, others as 2024-11-05. now: for tests. */
  when(at, now = time.now()) {
    if (at == null) {
      return "–";
    }
    const [then, today] = [new Date(at * 1000), new Date(now * 1000)];
    if (sameDay(then, today)) {
      return fmt.clock(at);
    }
    if (then.getFullYear() === today.getFullYear()) {
      return dayText(then);
    }
    return fmt.date(at);
  },

  /** 2024-11-05 */
  date(at) {
    const then = new Date(at * 1000);
    return `${then.getFullYear()}-${pad(then.getMonth() + 1)}-${pad(then.getDate())}`;
  },

  /** A moment to the second: 18:41:07 today, else with its day. now: for tests. */
  moment: (at, now = time.now()) =>
    (sameDay(new Date(at * 1000), new Date(now * 1000)) ? "" : `${fmt.when(at, now)} `) + fmt.seconds(at),

  /** A day: Jan 22. */
  day: (at) => dayText(new Date(at * 1000)),

  /** Seconds on an axis, in their `most` largest units: 30s, 5m, 1h 30m, 2d; digits: behind the second. */
  span(seconds, most = 2, digits = 0) {
    let rest = Number(Math.abs(seconds).toFixed(digits));
    const units = Object.entries({d: 86400, h: 3600, m: 60, s: 1}).map(([unit, size]) => {
      const count = size === 1 ? rest.toFixed(digits) : Math.floor(rest / size);
      rest -= Number(count) * size;
      return Number(count) ? t(`time.span.${unit}`, {n: String(count)}) : "";
    });
    return (seconds < 0 ? "−" : "") + (
      units.filter(Boolean).slice(0, most).join(" ") || t("time.span.s", {n: "0"}));
  },

  /** The whole date, for a title. */
  full: (at) => (at == null ? "" : dateText(new Date(at * 1000), fmt.seconds(at))),
};
