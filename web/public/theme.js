// Before the first paint, so that a page never flashes in the other theme; a file, because the policy allows no inline script.
(function () {
  try {
    var theme = localStorage.getItem("larder.theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch (_) {
    // a browser that keeps nothing follows the system
  }
})();
