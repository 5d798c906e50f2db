// What the book's interactive elements share: the language of their words, and making parts of a page.
(function (scope) {
  "use strict";
  if (scope.metaSgdParts) return; // of another element on the same page
  const LANGUAGES = ["en", "zh"];
  const SVG = "http://www.w3.org/2000/svg";

  // The language of the page, or the one that its address asks for, as in "?lang=zh".
  function language() {
    const asked = new URLSearchParams(location.search).get("lang") ?? document.documentElement.lang;
    return LANGUAGES.find((one) => asked.toLowerCase().startsWith(one)) ?? LANGUAGES[0];
  }

  // From a table { en: { key: text }, zh: { key: text } } a function that gives the text of a key in the page's
  // language, with values in the places of {names}.
  function wordsOf(table) {
    const texts = table[language()];
    return (key, values = {}) => {
      if (!(key in texts)) throw new Error(`no words for ${key}`);
      return texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
    };
  }

  // An element of HTML with its properties; `data` and `aria` hold attributes that begin so.
  function make(tag, properties = {}, ...children) {
    const { data, aria, role, ...own } = properties;
    const element = Object.assign(document.createElement(tag), own);
    for (const [name, value] of Object.entries(data ?? {})) element.dataset[name] = value;
    for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
    if (role) element.setAttribute("role", role);
    element.append(...children);
    return element;
  }

  // An element of SVG with its attributes.
  function draw(tag, attributes = {}, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  const button = (label, action, properties = {}) =>
    make("button", { type: "button", textContent: label, onclick: action, ...properties });

  const lessMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // Load a script by its address, once; one that did not come can be asked for again.
  const loaded = new Map();
  function load(address) {
    if (!loaded.has(address)) {
      loaded.set(address, new Promise((resolve, reject) => {
        const script = make("script", { src: address, onload: resolve });
        script.onerror = () => {
          loaded.delete(address);
          reject(new Error(`${address.split("/").pop()} cannot be loaded`));
        };
        document.head.append(script);
      }));
    }
    return loaded.get(address);
  }

  scope.metaSgdParts = { language, wordsOf, make, draw, button, lessMotion, load };
})(typeof self === "undefined" ? globalThis : self);
