// Before the first paint, so that a page never flashes in the other theme; a file, because the policy allows no inline script.
(function () {
  var said = null;
  try {
    said = localStorage.getItem("larder.theme");
  } catch (_) {
    // a browser that keeps nothing follows the system
  }
  var dark = said === "dark" || (said !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
