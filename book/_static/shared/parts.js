// What the book's interactive elements share: the language of their words, making parts of a page, and when they begin.
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

  function setAttributes(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  }

  // An element of SVG with its attributes.
  function draw(tag, attributes = {}, ...children) {
    const element = document.createElementNS(SVG, tag);
    setAttributes(element, attributes);
    element.append(...children);
    return element;
  }

  const button = (label, action, properties = {}) =>
    make("button", { type: "button", textContent: label, onclick: action, ...properties });

  // A number, or what is written of it, with the minus sign of print, and none before zero.
  const numeral = (number) => `${number}`.replace("-", Number(number) === 0 ? "" : "−");

  const hint = (text) => make("p", { className: "parts-hint", textContent: text });

  // The line that says what happens, also aloud, and how to say something there.
  function status() {
    const message = make("p", { className: "parts-message", role: "status", aria: { live: "polite" } });
    const say = (text) => {
      if (message.textContent !== text) message.textContent = text;
    };
    return { message, say };
  }

  // Let an element hear all that a pointer does until it is lifted, wherever it goes.
  function capture(element, pointer) {
    try {
      element.setPointerCapture(pointer);
    } catch {
      // a pointer that is gone already
    }
  }

  const lessMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // Load a script by its address, once; one that did not come can be asked for again. Scripts that are loaded together
  // run in the order in which they were asked for.
  const loaded = new Map();
  function load(address) {
    if (!loaded.has(address)) {
      loaded.set(address, new Promise((resolve, reject) => {
        const script = make("script", { src: address, async: false, onload: resolve });
        script.onerror = () => {
          loaded.delete(address);
          reject(new Error(`${address.split("/").pop()} cannot be loaded`));
        };
        document.head.append(script);
      }));
    }
    return loaded.get(address);
  }

  // When the reader comes near an element, load scripts, by their addresses, and begin(element).
  function whenNear(element, scripts, begin) {
    const near = new IntersectionObserver(
      async (entries) => {
        if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
        near.disconnect();
        await Promise.all(scripts.map(load));
        begin(element);
      },
      { rootMargin: "800px" },
    );
    near.observe(element);
  }

  scope.metaSgdParts = {
    language, wordsOf, make, draw, setAttributes, button, numeral, hint, status, capture, lessMotion, load, whenNear,
  };
})(typeof self === "undefined" ? globalThis : self);
