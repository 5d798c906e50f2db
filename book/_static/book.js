// What the theme leaves open: a part that is wider than its place
// can be scrolled from the keyboard, and the title of the book can be found.
(() => {
  const PARTS = ".math, mjx-container, table, pre, .cell_output, .metasgd-runs";
  const NAMES = { TABLE: "table", PRE: "code", "MJX-CONTAINER": "formula" };

  const scrolls = (part) => {
    const { overflowX } = getComputedStyle(part);
    return part.scrollWidth > part.clientWidth + 1 && (overflowX === "auto" || overflowX === "scroll");
  };

  const update = () => {
    for (const part of document.querySelectorAll(`.bd-article :is(${PARTS})`)) {
      if (part.dataset.scrolls === undefined && part.hasAttribute("tabindex")) continue; // somebody else's
      if (scrolls(part)) {
        if (part.dataset.scrolls !== undefined) continue;
        part.dataset.scrolls = "";
        part.tabIndex = 0;
        if (part.tagName === "TABLE") continue; // which has a name and a role of its own
        part.setAttribute("role", "group");
        const name = NAMES[part.tagName] ?? (part.matches(".math") ? "formula" : "output");
        part.setAttribute("aria-label", `${name}, wider than its place: scroll sideways`);
      } else if (part.dataset.scrolls !== undefined) {
        for (const name of ["data-scrolls", "tabindex", "role", "aria-label"]) part.removeAttribute(name);
      }
    }
  };

  const mendSidebar = () => {
    // The title of the book stands in no landmark of the theme, and leads to the first page.
    const home = document.querySelector(".bd-sidebar-primary .sidebar-primary-item:has(> .navbar-brand)");
    home?.setAttribute("role", "navigation");
    home?.setAttribute("aria-label", "Title");
    // The button of the search is named by its words, which name the keys, too.
    for (const button of document.querySelectorAll(".search-button-field")) button.removeAttribute("aria-label");
  };

  addEventListener("DOMContentLoaded", mendSidebar);
  addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    update();
    new ResizeObserver(update).observe(document.body);
  });
})();
