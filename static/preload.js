// Before the first paint: the theme the reader chose, so that a dark page never flashes white; the first
// answers of this page and its modules are asked for at once, not one level of imports after the other, and
// the answers are read while those load.
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
  const read = ({ok, status, statusText, headers}, body) =>
    ({ok, status, statusText, headers, json: () => body,
      at: {wall: Date.now(), steady: performance.now()}});
  const fetchEarly = (path) => {
    const answer = fetch(path);
    const body = answer.then((found) => found.json());
    globalThis.early[path] = answer.then((found) => read(found, body));
    for (const one of [body, globalThis.early[path]]) {
      one.catch(() => null);     // whoever takes it is told
    }
  };
  const [compared] = (page === "compare" && new URLSearchParams(location.search).get("runs") || "")
    .split(",");
  if (page === "run") {
    fetchEarly(`/api${location.pathname}`);
  } else if (compared) {
    const path =
      `/api/details?${new URLSearchParams({run: compared.replaceAll("%2C", ",").replaceAll("%25", "%")})}`;
    globalThis.early[path] = fetch(path);      // read as it comes
    globalThis.early[path].catch(() => null);
  } else if (page === "runs" && !location.search) {
    fetchEarly(recall("listAsked") || "/api/runs?sort=-started&spark=1&partial=1&offset=0&limit=50");
  }

  fetchEarly("/api/settings");

  const plots =
    "charts/axes charts/axis_text charts/board charts/head charts/chart charts/tooltip charts/toolbar charts/difference "
    + "charts/curve_cache charts/turns charts/grid charts/grid_window charts/crosshair charts/moments charts/paint charts/reorder shared/throttle "
    + "shared/states charts/curves";
  const modules = {
    all: "shared/address shared/api shared/clock shared/dom shared/flatten shared/foreign shared/run_names shared/store shared/topbar shared/widgets "
      + "shared/words shared/words-en shared/words-zh",
    runs: "runs/page runs/bar runs/column_menu runs/columns runs/curve_panel runs/filter_box runs/list_query runs/loader "
      + "runs/resting_pointer runs/row_editor runs/selection runs/sidebar runs/sight runs/slices runs/sparkline runs/table "
      + "runs/saved_views runs/preview runs/empty runs/shown_columns shared/states charts/curves",
    run: `run/page ${plots} run/ansi shared/tag_editor run/gauges run/log run/log_head run/log_lines run/log_search run/log_steps run/rail `
      + `run/charts run/config run/files run/header run/system`,
    compare: `compare/page ${plots} compare/charts compare/runs compare/table compare/toolbar compare/add_run`,
    settings: "settings/page settings/folder_browser settings/connection_form settings/connection_list shared/shortcuts "
      + "settings/question settings/cache settings/connection_test settings/rules",
  };
  const here = document.currentScript.src.replace(/preload\.js$/, "");
  const ask = (values) => document.head.append(Object.assign(document.createElement("link"), values));
  for (const name of `${modules.all} ${modules[page] ?? ""}`.trim().split(" ")) {
    ask({rel: "modulepreload", href: `${here}${name}.js`});
  }
  if (page === "run" || (page === "compare" && location.search)) {      // without runs nothing is drawn
    ask({rel: "preload", as: "script", href: `${here}uplot/uPlot.iife.min.js`});
  }
})();
