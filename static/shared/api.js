// Talks to the viewer: JSON in and out, one long poll for what changed. Knows no page.

import {encodeKey} from "./address.js";
import {setClock} from "./clock.js";
import {known, quoted, t} from "./words.js";

const WAIT_SECONDS = 25;         // the viewer answers a long poll at the latest after this
const BACKOFF = [0.5, 1, 2, 4, 8];   // seconds between tries while the viewer does not answer
// the head that says what status an answer to something half typed would have
const REFUSED = "Runicorn-Refused";
const VALUELESS = new Set(["offline", "short"]);      // codes whose sentence needs no values
const GRACE_SECONDS = 10;        // beyond WAIT_SECONDS: a poll that is still silent is taken for dead

/**
 * An answer that is not what was asked for. code: the API's word, or "unreachable" when nobody answered;
 * body: the answer's JSON.
 */
class ApiError extends Error {
  /** @param {string} code @param {string} message @param {number} status @param {any} body */
  constructor(code, message, status = 0, body = null) {
    super(message);
    this.code = code;
    this.status = status;
    this.body = body;
  }
}

/**
 * For catch() where what is shown stays as it is: a question that was overtaken by another or that nobody
 * answered is no failure (the bar above the page says so), and what the viewer refused is told in the
 * console. Anything else is a fault of ours: the browser reports it, and the page goes on.
 * @param {any} error
 */
export function quiet(error) {
  if (!(error instanceof ApiError)) {
    if (error.name !== "AbortError") {
      reportError(error);
    }
  } else if (error.code !== "unreachable") {
    console.info(`runicorn: ${error.message}`);
  }
}

let token = null;
let since = null;                // the smallest news that everything shown so far was read after
let polling = false;
let cut = () => null;            // ends the poll that is under way

/** What the page's head says under `name`. @param {ParentNode} root @param {string} name */
const meta = (root, name) => root.querySelector(`meta[name="runicorn-${name}"]`)
  ?.getAttribute("content") || "";

/** The version of Runicorn that the viewer runs. */
export const version = () => meta(document, "version");

/** A restarted viewer has a new token: fetch the page's head again for it (this also renews the cookie). */
async function renewToken() {
  const answer = await fetch("/", {cache: "no-store"});
  token = meta(new DOMParser().parseFromString(await answer.text(), "text/html"), "token");
}

/** Smallest of two news marks "BOOT.N"; another boot is left for the poll to find out. */
export function older(a, b) {
  const [bootA, countA] = [a.slice(0, a.lastIndexOf(".")), Number(a.slice(a.lastIndexOf(".") + 1))];
  const [bootB, countB] = [b.slice(0, b.lastIndexOf(".")), Number(b.slice(b.lastIndexOf(".") + 1))];
  return bootA === bootB && countB < countA ? b : a;
}

/** What is shown from now on was read after `news`. @param {string} news */
export function heard(news) {
  if (news && !polling) {
    since = since === null ? news : older(since, news);
  }
}

/**
 * Parameters as a query: arrays repeat, null and "" are left out.
 * @typedef {string | number | boolean | null | undefined} Value
 * @param {Object<string, Value | Value[]>} values
 */
export function parameters(values = {}) {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one != null && one !== "") {
        out.append(name, String(one));
      }
    }
  }
  const text = out.toString();
  return text && `?${text}`;
}

/** What an answer that is none says, as an error. @param {any} body of the answer; null where it is no JSON @param {string} [words] @param {number} [status] */
export function refusal(body, words = "", status = 0) {
  const told = body?.message || (typeof body?.error === "object" && body.error?.message) || words;
  const code = typeof body?.error === "string" ? body.error : "refused";
  const values = body?.values && Object.fromEntries(
    Object.entries(body.values).map(([name, value]) => [name, [value].flat().join(", ")]));
  const message = values || VALUELESS.has(code) ? known(`said.${values?.said ?? code}`, values, quoted(told))
    : quoted(told);
  return new ApiError(code, message, status, body);
}

const failure = async (answer) => refusal(await answer.json().catch(() => null),
  answer.statusText || `HTTP ${answer.status}`, Number(answer.headers?.get(REFUSED)) || answer.status);

/** What preload.js asked for already, once. */
function early(path) {
  const answer = globalThis.early?.[path];
  delete globalThis.early?.[path];
  return answer;
}

async function send(method, path, body, signal) {
  token ??= meta(document, "token");
  const headers = method === "GET" ? {} : {"Content-Type": "application/json", "X-Runicorn-Token": token};
  try {
    const answer = await (method === "GET" && early(path)
      || fetch(path,
        {method, headers, signal, body: method === "GET" ? undefined : JSON.stringify(body ?? {})}));
    setClock(Number(answer.headers.get("X-Runicorn-Time")), answer.at);
    return answer;
  } catch (error) {
    if (error.name === "AbortError" || error.name === "TimeoutError") {
      throw error;
    }
    throw new ApiError("unreachable", t("said.unreachable"));
  }
}

/**
 * Whether an answer is none; what was only typed so far (get with typed: 1) is refused without a fault for
 * the browser to report.
 */
const refused = (answer) => !answer.ok || answer.headers?.has(REFUSED);

async function call(method, path, body, signal) {
  let answer = await send(method, path, body, signal);
  if (answer.status === 403 || answer.status === 401) {
    await renewToken().catch(() => null);      // still refused below, with the viewer's own words
    answer = await send(method, path, body, signal);
  }
  if (refused(answer)) {
    throw await failure(answer);
  }
  const data = await answer.json().catch((error) => {
    // it ended in mid-answer
    throw error.name === "AbortError" ? error : new ApiError("unreachable", t("said.unreachable"));
  });
  heard(data?.news);
  return data;
}

/** @type {(path: string, values?: Object<string, any>, signal?: AbortSignal) => Promise<any>} */
export const get = (path, values, signal) => call("GET", path + parameters(values), null, signal);
/** @typedef {(path: string, body?: any, signal?: AbortSignal) => Promise<any>} Sender */
/** @type {Sender} */
export const post = (path, body, signal) => call("POST", path, body, signal);
/** @type {Sender} */
export const patch = (path, body, signal) => call("PATCH", path, body, signal);
/** @type {Sender} */
export const del = (path, body, signal) => call("DELETE", path, body, signal);

/** The API's address of a run. @param {string} key */
export const runPath = (key) => `/api/runs/${encodeKey(key)}`;
export const connectionPath = (name, what = "") =>
  `/api/connections/${encodeURIComponent(name)}${what && `/${what}`}`;

/** A streamed answer of one JSON object a line, as an async generator of objects. @returns {AsyncGenerator<any>} */
export async function* lines(path, values, signal) {
  const answer = await send("GET", path + parameters(values), null, signal);
  if (refused(answer)) {
    throw await failure(answer);
  }
  let rest = "";
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const complete = (rest + part.value).split("\n");
    rest = complete.pop();
    yield* complete.filter(Boolean).map((line) => JSON.parse(line));
  }
  if (rest.trim()) {
    yield JSON.parse(rest);
  }
}

export function sleep(seconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, {once: true});
  });
}

function visible(signal) {
  return new Promise((resolve) => {
    if (!document.hidden || signal.aborted) {
      resolve();
      return;
    }
    const look = () => {
      if (!document.hidden || signal.aborted) {
        document.removeEventListener("visibilitychange", look);
        resolve();
      }
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look, {once: true});
  });
}

/**
 * Do work(signal) that ends when `signal` does, or after so many seconds; not every browser of ours has
 * AbortSignal.any.
 */
async function within(seconds, signal, work) {
  const round = new AbortController();
  const end = () => round.abort();
  const timer = setTimeout(end, seconds * 1000);
  signal.addEventListener("abort", end);
  try {
    return await work(round.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}

async function ask(topics, signal, timeout) {
  polling = true;
  const path = `/api/news${parameters({since, topic: topics, timeout})}`;
  const answer = await within(timeout + GRACE_SECONDS, signal, (limited) => call("GET", path, null, limited));
  const first = since === null;
  since = answer.news;
  return {topics: new Set(answer.topics || []), reset: Boolean(answer.reset) || first};
}

/** Start a new poll at once: the page's topics changed, or somebody wants no waiting. */
export function pollAnew() {
  cut();
}

/**
 * What changed, for ever: yields {topics: Set, reset} for each answer, {error, retry: seconds} while the
 * viewer is away. topics() is asked before each poll. Only a visible page asks; a hidden one that returns
 * catches up from where it stopped.
 * @param {() => string[]} topics @param {AbortSignal} signal
 * @returns {AsyncGenerator<{topics?: Set<string>, reset?: boolean, back?: boolean, error?: Error & {code?: string}, retry?: number}>}
 */
export async function* news(topics, signal) {
  delete globalThis.early;       // from now on an answer from before could be old
  let failures = 0;
  while (!signal.aborted) {
    await visible(signal);
    const round = new AbortController();
    const end = () => round.abort();
    cut = end;
    const hide = () => document.hidden && round.abort();
    document.addEventListener("visibilitychange", hide);
    signal.addEventListener("abort", end);
    try {
      const found = await ask(topics(), round.signal, failures ? 0 : WAIT_SECONDS);
      yield {...found, back: failures > 0};
      failures = 0;
    } catch (error) {
      if (!round.signal.aborted && !signal.aborted) {
        const retry = BACKOFF[Math.min(failures, BACKOFF.length - 1)];
        failures += 1;
        yield {error, retry};
        await sleep(retry, round.signal);
      }
    } finally {
      document.removeEventListener("visibilitychange", hide);
      signal.removeEventListener("abort", end);
    }
  }
}
