// Before the first paint: the theme the reader chose, so that a dark page never flashes white; the first answers of this page and
// its modules are asked for at once, not one level of imports after the other, and the answers are read while those load.
(() => {
  const recall = (name) => {
    try {
      return localStorage.getItem(`runicorn.${name}`);
    } catch {                    // storage is forbidden
      return null;
    }
  };
  const theme = recall("theme");
  if (theme === "light" || theme === "dark") {
    document.documentElement.dataset.theme = theme;
  }

  const first = location.pathname.split("/")[1];
  const page = {"": "runs", runs: "run"}[first] ?? first;
  globalThis.early = {};         // address -> the answer on its way, for api.js to take
  const read = ({ok, status, statusText, headers}, body) => ({ok, status, statusText, headers, json: () => body,
    at: {wall: Date.now(), steady: performance.now()}});
  const fetchEarly = (path) => {
    const answer = fetch(path);
    const body = answer.then((found) => found.json());
    globalThis.early[path] = answer.then((found) => read(found, body));
    for (const one of [body, globalThis.early[path]]) {
      one.catch(() => null);     // whoever takes it is told
    }
  };
  if (page === "run") {
    fetchEarly(`/api${location.pathname}`);
  } else if (page === "runs" && !location.search) {
    fetchEarly(recall("listAsked") || "/api/runs?sort=-started&spark=1&partial=1&offset=0&limit=50");
  }

  fetchEarly("/api/settings");

  const plots = "axis chartaxes charthead charts charttip charttools difference feed grid link moments morph paint reorder rhythm series";
  const modules = {
    all: "address api clock dom foreign store topbar widgets words words-en words-zh",
    runs: "runs chooser columns curves filterbox flat list runnames selection side slices spark table views welcome",
    run: `run ${plots} ansi edit flat gauges loglines logs logsearch rail runcharts runfacts runhead system`,
    compare: `compare ${plots} comparetable comparetools flat runadder runnames`,
    settings: "settings browse connect connections keys question storage trial",
  };
  const here = document.currentScript.src.replace(/early\.js$/, "");
  const ask = (values) => document.head.append(Object.assign(document.createElement("link"), values));
  for (const name of `${modules.all} ${modules[page] ?? ""}`.trim().split(" ")) {
    ask({rel: "modulepreload", href: `${here}${name}.js`});
  }
  if (page === "run" || (page === "compare" && location.search)) {      // without runs nothing is drawn
    ask({rel: "preload", as: "script", href: `${here}uplot/uPlot.iife.min.js`});
  }
})();
