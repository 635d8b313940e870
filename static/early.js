// Before the first paint: the theme the reader chose, so that a dark page never flashes white; and the modules of this page
// are asked for at once, not one level of imports after the other.
(() => {
  const theme = localStorage.getItem("runicorn.theme");
  if (theme === "light" || theme === "dark") {
    document.documentElement.dataset.theme = theme;
  }

  const plots = "axis chartaxes charts charttip charttools difference feed grid link moments morph paint reorder rhythm series";
  const modules = {
    all: "address api dom keys store topbar widgets words words-en words-zh",
    runs: "runs chooser columns curves edit filterbox list selection side slices spark table views",
    run: `run ${plots} ansi edit flat gauges logs logsearch rail runcharts runfacts runhead system`,
    compare: `compare ${plots} comparetable flat runadder`,
    settings: "settings browse connect connections question storage trial",
  };
  const first = location.pathname.split("/")[1];
  const page = {"": "runs", runs: "run"}[first] ?? first;
  const ask = (values) => document.head.append(Object.assign(document.createElement("link"), values));
  for (const name of `${modules.all} ${modules[page] ?? ""}`.trim().split(" ")) {
    ask({rel: "modulepreload", href: `/static/${name}.js`});
  }
  if (page === "run" || page === "compare") {
    ask({rel: "preload", as: "script", href: "/static/uplot/uPlot.iife.min.js"});
  }
})();
