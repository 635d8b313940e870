// What the reader chose lives in the address. Reads and writes it; knows no page.

/** Encode a run key for a path: each part by itself, ":" kept readable. */
export function encodeKey(key) {
  return key.split("/").map((part) => encodeURIComponent(part).replaceAll("%3A", ":")).join("/");
}

/** The key in a path such as "/runs/gpu1:vision/resnet/2025…". */
function decodeKey(path) {
  return path.split("/").map(decodeURIComponent).join("/");
}

/** Several values in one parameter: commas and percent signs inside a value are escaped. */
export function joinList(values) {
  return values.map((value) => value.replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");
}

export function splitList(text) {
  return text ? text.split(",").map((value) => value.replaceAll("%2C", ",").replaceAll("%25", "%")) : [];
}

/** Write a query with empty values left out; commas, slashes and colons stay readable. */
export function queryText(values) {
  const parts = [];
  for (const [name, value] of Object.entries(values)) {
    if (value !== "" && value != null && value !== false) {
      const text = value === true ? "1" : Array.isArray(value) ? joinList(value) : String(value);
      const safe = encodeURIComponent(text).replace(/%2C|%2F|%3A|%3C|%3E|%20/g,
        (code) => (code === "%20" ? "+" : decodeURIComponent(code)));
      if (text) {
        parts.push(`${encodeURIComponent(name)}=${safe}`);
      }
    }
  }
  return parts.length ? `?${parts.join("&")}` : "";
}

export function runHref(key, values = {}) {
  return `/runs/${encodeKey(key)}${queryText(values)}`;
}

export function compareHref(keys, values = {}) {
  return `/compare${queryText({runs: keys, ...values})}`;
}

/** {page: "runs" | "run" | "compare" | "settings" | "missing", key} for a path. */
export function route(path) {
  if (path === "/") {
    return {page: "runs"};
  }
  if (path.startsWith("/runs/")) {
    try {
      return {page: "run", key: decodeKey(path.slice(6).replace(/\/$/, ""))};
    } catch {                    // a malformed percent escape
      return {page: "missing"};
    }
  }
  const page = path.replace(/\/$/, "").slice(1);
  return {page: ["compare", "settings"].includes(page) ? page : "missing"};
}

/** The query as an object of strings. @returns {Object<string, string>} */
export function query() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

/**
 * Change some query values (null removes) and stay on the page. push: the change gets its own step in the
 * history.
 */
export function change(values, {push = false} = {}) {
  const wanted = {...query(), ...values};
  const href = `${location.pathname}${queryText(wanted)}`;
  if (href !== `${location.pathname}${location.search}`) {
    history[push ? "pushState" : "replaceState"](history.state, "", href);
  }
}

/**
 * Go to an address of ours; app.js listens and shows its page. replace: the present address leads nowhere any
 * more.
 */
export function go(href, {replace = false} = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", href);
  dispatchEvent(new Event("runicorn:go"));
}
