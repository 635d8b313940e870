// Before the first paint: the theme the reader chose, so that a dark page never flashes white.
(() => {
  const theme = localStorage.getItem("runicorn.theme");
  if (theme === "light" || theme === "dark") {
    document.documentElement.dataset.theme = theme;
  }
})();
