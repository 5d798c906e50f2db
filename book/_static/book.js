// What the theme leaves open: a part that is wider than its place
// can be scrolled from the keyboard, and the title of the book can be found. The link to the other language leads to
// the section that is being read.
(() => {
  const PARTS = ".math, mjx-container, table, pre, .cell_output, .metasgd-runs";
  const KINDS = { TABLE: "table", PRE: "code", "MJX-CONTAINER": "formula" };
  const WORDS = {
    en: { table: "table", code: "code", formula: "formula", output: "output", title: "Title",
      wide: (name) => `${name}, wider than its place: scroll sideways` },
    zh: { table: "表格", code: "代码", formula: "公式", output: "输出", title: "书名",
      wide: (name) => `${name}，超出版面宽度，可左右滚动` },
  }[document.documentElement.lang.startsWith("zh") ? "zh" : "en"];

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
        const kind = KINDS[part.tagName] ?? (part.matches(".math") ? "formula" : "output");
        part.setAttribute("aria-label", WORDS.wide(WORDS[kind]));
      } else if (part.dataset.scrolls !== undefined) {
        for (const name of ["data-scrolls", "tabindex", "role", "aria-label"]) part.removeAttribute(name);
      }
    }
  };

  const mendSidebar = () => {
    // The title of the book stands in no landmark of the theme, and leads to the first page.
    const home = document.querySelector(".bd-sidebar-primary .sidebar-primary-item:has(> .navbar-brand)");
    home?.setAttribute("role", "navigation");
    home?.setAttribute("aria-label", WORDS.title);
    // The button of the search is named by its words, which name the keys, too.
    for (const button of document.querySelectorAll(".search-button-field")) button.removeAttribute("aria-label");
  };

  // The address of the section at the top of the screen, which both languages share; none at the top of the page.
  const sectionInSight = () => {
    const above = [...document.querySelectorAll(".bd-article section[id]")].filter(
      (section) => section.getBoundingClientRect().top < innerHeight / 4);
    return above.length > 1 ? `#${above.at(-1).id}` : "";
  };

  const leadToTheSameSection = () => {
    for (const link of document.querySelectorAll("a.metasgd-language")) {
      for (const event of ["pointerdown", "focus", "click"]) {
        link.addEventListener(event, () => { link.hash = sectionInSight(); });
      }
    }
  };

  addEventListener("DOMContentLoaded", mendSidebar);
  addEventListener("DOMContentLoaded", leadToTheSameSection);
  addEventListener("load", async () => {
    await window.MathJax?.startup?.promise;
    update();
    new ResizeObserver(update).observe(document.body);
  });
})();
