// The page of chapter 14: pads to draw on, and what one Meta-SGD step makes of them. The numbers come from engine.js,
// in a worker if the browser allows one (not for pages opened from disk), else in the page.
(() => {
  "use strict";
  const root = document.getElementById("adapt");
  const folder = new URL("./", document.currentScript.src).href;
  const LETTERS = ["A", "B", "C", "D", "E"];
  const MOST = 5;
  const PEN = 0.045; // half the width of the line on a pad, in widths of the pad
  const COLUMNS = { before: "before the step", learned: "after, learned α", scalar: "after, one rate" };
  const LAYERS = ["convolution 1", "convolution 2", "convolution 3", "convolution 4", "linear layer"];
  const REMEMBERED = 100; // changes that can be undone

  // ------------------------------------------------------------------------------------------------ small helpers
  function make(tag, properties = {}, ...children) {
    const { data, aria, ...own } = properties;
    const element = Object.assign(document.createElement(tag), own);
    for (const [name, value] of Object.entries(data ?? {})) element.dataset[name] = value;
    for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
    element.append(...children);
    return element;
  }

  const button = (label, action, properties = {}) =>
    make("button", { type: "button", textContent: label, onclick: action, ...properties });

  const percent = (share) => `${Math.round(100 * share)}%`;

  function load(file) {
    return new Promise((resolve, reject) => {
      const script = make("script", { src: folder + file, onload: resolve });
      script.onerror = () => reject(new Error(`${file} cannot be loaded`));
      document.head.append(script);
    });
  }

  // ---------------------------------------------------------------------------------------- where numbers come from
  // Both return { info, run }: run(request) promises the answer.
  function inWorker() {
    return new Promise((resolve, reject) => {
      const worker = new Worker(folder + "worker.js");
      const waiting = new Map();
      let count = 0;
      const run = (request) =>
        new Promise((answer, refuse) => {
          waiting.set(++count, { answer, refuse });
          worker.postMessage({ ...request, number: count });
        });
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message || "no worker"));
      };
      worker.onmessage = ({ data }) => {
        if (data.ready) return resolve({ info: data.ready, run });
        if (data.failed) return reject(new Error(data.failed));
        const { answer, refuse } = waiting.get(data.number);
        waiting.delete(data.number);
        if (data.error) refuse(new Error(data.error));
        else answer(data.result);
      };
    });
  }

  async function inPage() {
    for (const file of ["tf.min.js", "tf-backend-wasm.min.js", "weights.js", "meta-sgd.js", "engine.js"]) await load(file);
    const info = await metaSgdEngine.start(folder);
    return { info, run: async (request) => metaSgdEngine.run(request) };
  }

  async function startEngine() {
    if (location.protocol !== "file:") {
      try {
        return await inWorker();
      } catch {
        // for example a browser that forbids workers here
      }
    }
    return inPage();
  }

  // ------------------------------------------------------------------------------------------------------ the state
  // What a pad holds: { strokes: [[[x, y], ...], ...] } drawn by the reader, with x and y in 0..1, or a ready
  // { digit, index } of MNIST.
  const EMPTY = () => ({ strokes: [] });
  const state = { ways: 3, shots: 1, pads: {}, history: [] };
  const supportKey = (way, shot) => `${way}/${shot}`;
  const QUERY = "query";
  const contentOf = (key) => (state.pads[key] ??= EMPTY());
  const isEmpty = (key) => contentOf(key).digit === undefined && !contentOf(key).strokes.length;
  let examples; // examples[digit][index] is a Uint8Array of 784 pixels

  // The picture of a pad, and the same as text; kept until its drawing grows, as all are asked for at each change.
  const pictures = new WeakMap();
  function pictureOf(key) {
    const content = contentOf(key), points = content.strokes.flat().length;
    if (pictures.get(content)?.points !== points) {
      const pixels =
        content.digit === undefined
          ? metaSgdSketch.toPicture(content.strokes)
          : Float32Array.from(examples[content.digit][content.index], (value) => value / 255);
      pictures.set(content, { points, pixels, text: String(pixels) });
    }
    return pictures.get(content);
  }

  function change(keys, contents) {
    state.history.push(keys.map((key) => [key, contentOf(key)]));
    if (state.history.length > REMEMBERED) state.history.shift();
    keys.forEach((key, i) => (state.pads[key] = contents[i]));
    keys.forEach(paint);
    update();
  }

  function undo() {
    const last = state.history.pop();
    if (!last) return say("There is nothing to undo.");
    for (const [key, content] of last) state.pads[key] = content;
    last.forEach(([key]) => paint(key));
    update();
  }

  const supportKeys = (ways = state.ways, shots = state.shots) =>
    [...Array(ways).keys()].flatMap((way) => [...Array(shots).keys()].map((shot) => supportKey(way, shot)));

  function clearAll() {
    const keys = [...supportKeys(MOST, MOST), QUERY];
    change(keys, keys.map(EMPTY));
  }

  // Ready examples: a digit for each symbol, pictures that are not used twice.
  let nextIndex = 0;
  const ready = (digit) => ({ strokes: [], digit, index: nextIndex++ % examples[digit].length });
  function fillReady() {
    const digits = [...Array(10).keys()].sort(() => Math.random() - 0.5).slice(0, MOST);
    fillWith(digits);
  }
  function fillWith(digits) {
    const keys = [...supportKeys(MOST, MOST), QUERY];
    const rows = digits.flatMap((digit) => Array.from({ length: MOST }, () => ready(digit)));
    change(keys, [...rows, ready(digits[Math.floor(Math.random() * state.ways)])]);
  }
  function readyFor(key) {
    const digits = [...Array(state.ways).keys()].map((way) => contentOf(supportKey(way, 0)).digit);
    const known = digits.filter((digit) => digit !== undefined);
    const own = key === QUERY ? undefined : digits[Number(key.split("/")[0])];
    const choice = own ?? (key === QUERY && known.length ? known : [...Array(10).keys()]);
    const digit = Array.isArray(choice) ? choice[Math.floor(Math.random() * choice.length)] : choice;
    change([key], [ready(digit)]);
  }

  // ------------------------------------------------------------------------------------------------------- the pads
  const pads = new Map(); // key -> its canvas

  function makePad(key, label, size) {
    const canvas = make("canvas", {
      className: "adapt-pad", width: size, height: size, tabIndex: 0, data: { key },
      aria: { label, roledescription: "drawing pad", describedby: "adapt-keys" },
    });
    canvas.setAttribute("role", "img");
    let stroke = null, cursor = null, pen = false;

    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    const begin = (point) => {
      stroke = [point];
      change([key], [{ strokes: [...contentOf(key).strokes, stroke] }]);
    };
    const extend = (point) => {
      stroke.push(point);
      paint(key);
      if (key === QUERY) update();
    };
    canvas.onpointerdown = (event) => {
      if (event.button > 0) return;
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      try {
        canvas.setPointerCapture(event.pointerId);
      } catch {
        // a pointer that is gone already
      }
      begin(place(event));
    };
    canvas.onpointermove = (event) => {
      if (!stroke || pen) return;
      for (const part of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) extend(place(part));
    };
    canvas.onpointerup = canvas.onpointercancel = canvas.onlostpointercapture = () => {
      if (!stroke || pen) return;
      stroke = null;
      update();
    };
    // The keyboard: arrows move a point, the space bar puts the pen down or lifts it.
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.onkeydown = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (steps[event.key]) {
        const [x, y] = cursor ?? [0.5, 0.5];
        const bounded = (value) => Math.min(0.95, Math.max(0.05, value));
        cursor = [bounded(x + 0.05 * steps[event.key][0]), bounded(y + 0.05 * steps[event.key][1])];
        if (pen) extend(cursor);
      } else if (event.key === " ") {
        cursor ??= [0.5, 0.5];
        pen = !pen;
        if (pen) begin(cursor);
        else {
          stroke = null;
          update();
        }
        say(pen ? "The pen is down." : "The pen is up.");
      } else if (event.key === "Delete" || event.key === "Backspace") {
        pen = false;
        stroke = null;
        change([key], [EMPTY()]);
      } else if (event.key === "Enter" && examples) {
        pen = false;
        stroke = null;
        readyFor(key);
      } else return;
      event.preventDefault();
      paint(key);
    };
    canvas.onblur = () => {
      if (pen) update();
      pen = false;
      stroke = cursor = null;
      paint(key);
    };
    canvas.cursor = () => cursor;
    pads.set(key, canvas);
    return canvas;
  }

  function paint(key) {
    const canvas = pads.get(key);
    if (!canvas) return;
    const context = canvas.getContext("2d"), size = canvas.width, content = contentOf(key);
    context.clearRect(0, 0, size, size);
    if (content.digit !== undefined) {
      const small = make("canvas", { width: 28, height: 28 }), image = new ImageData(28, 28);
      examples[content.digit][content.index].forEach((value, i) => image.data.set([255, 255, 255, value], 4 * i));
      small.getContext("2d").putImageData(image, 0, 0);
      context.drawImage(small, 0, 0, size, size);
    }
    context.strokeStyle = context.fillStyle = "#fff";
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = 2 * PEN * size;
    for (const stroke of content.strokes) {
      context.beginPath();
      stroke.forEach(([x, y], i) => (i ? context.lineTo(x * size, y * size) : context.moveTo(x * size, y * size)));
      if (stroke.length === 1) context.lineTo(stroke[0][0] * size, stroke[0][1] * size);
      context.stroke();
    }
    const cursor = canvas.cursor?.();
    if (cursor) {
      context.strokeStyle = "#ffb000";
      context.lineWidth = 2;
      context.beginPath();
      context.arc(cursor[0] * size, cursor[1] * size, 0.05 * size, 0, 7);
      context.stroke();
    }
  }

  // --------------------------------------------------------------------------------------------- controls and results
  const message = make("p", { className: "adapt-message", aria: { live: "polite" } });
  message.setAttribute("role", "status");
  const say = (text) => {
    if (message.textContent !== text) message.textContent = text;
  };

  const counter = (id, label, low, value, action) => {
    const select = make("select", { id, onchange: () => action(Number(select.value)) });
    for (let n = low; n <= MOST; n++) select.append(make("option", { value: n, textContent: n, selected: n === value }));
    return make("label", { htmlFor: id }, `${label} `, select);
  };
  const controls = make(
    "div", { className: "adapt-controls" },
    counter("adapt-ways", "Symbols", 2, state.ways, (ways) => relayout({ ways })),
    counter("adapt-shots", "Examples of each", 1, state.shots, (shots) => relayout({ shots })),
    button("Ready digits", fillReady, { id: "adapt-ready", disabled: true }),
    button("Clear", clearAll, { id: "adapt-clear" }),
    button("Undo", undo, { id: "adapt-undo" }),
    button("Reset", reset, { id: "adapt-reset", disabled: true }),
  );
  const support = make("div", { className: "adapt-support" });
  const queryPad = makePad(QUERY, "New drawing, to be classified", 280);
  const queryControls = make(
    "div", { className: "adapt-controls" },
    button("Ready digit", () => readyFor(QUERY), { id: "adapt-query-ready", disabled: true }),
    button("Clear", () => change([QUERY], [EMPTY()]), { id: "adapt-query-clear", ariaLabel: "Clear the new drawing" }),
  );
  const table = make("table", { className: "adapt-results" });
  const facts = make("p", { className: "adapt-facts" });
  const layers = make("div", { className: "adapt-layers", id: "adapt-layers", hidden: true });
  const layersSwitch = make("input", {
    type: "checkbox", id: "adapt-layers-switch", onchange: () => (layers.hidden = !layersSwitch.checked),
  });

  function relayout(wanted) {
    Object.assign(state, wanted);
    support.dataset.shots = state.shots;
    for (const key of supportKeys(MOST, MOST)) pads.delete(key);
    support.replaceChildren(
      ...[...Array(state.ways).keys()].map((way) =>
        make(
          "div", { className: "adapt-row", aria: { label: `Symbol ${LETTERS[way]}` } },
          make("span", { className: "adapt-letter", textContent: LETTERS[way] }),
          ...[...Array(state.shots).keys()].map((shot) =>
            makePad(supportKey(way, shot), `Symbol ${LETTERS[way]}, example ${shot + 1}`, 168),
          ),
        ),
      ),
    );
    for (const row of support.children) row.setAttribute("role", "group");
    supportKeys().forEach(paint);
    update();
  }

  function reset() {
    state.history = [];
    state.pads = {};
    nextIndex = 0;
    Object.assign(state, { ways: 3, shots: 1 });
    document.getElementById("adapt-ways").value = 3;
    document.getElementById("adapt-shots").value = 1;
    relayout({});
    fillWith([3, 7, 0, 5, 8]);
    state.history = [];
    state.pads[QUERY] = { strokes: [], digit: 7, index: examples[7].length - 1 };
    paint(QUERY);
    update();
  }

  // Returns what to compute, or a sentence about what is missing.
  function request() {
    const used = supportKeys().filter((key) => !isEmpty(key));
    const labels = used.map((key) => Number(key.split("/")[0]));
    const missing = [...Array(state.ways).keys()].filter((way) => !labels.includes(way)).map((way) => LETTERS[way]);
    if (!used.length) return { sentence: "All pads are empty: draw an example of each symbol, or take ready digits." };
    if (missing.length === state.ways - 1)
      return { sentence: "There is one symbol only. A choice needs two at least: draw another one." };
    if (missing.length) {
      const which = missing.length > 1 ? `Symbols ${missing.join(" and ")} have` : `Symbol ${missing[0]} has`;
      return { sentence: `${which} no example yet: draw one, or choose fewer symbols.` };
    }
    const drawn = used.map(pictureOf), texts = drawn.map(({ text }) => text);
    if (new Set(texts).size === 1) return { sentence: "All pads are identical: nothing tells the symbols apart." };
    const clash = texts.findIndex((text, i) => texts.some((other, j) => j < i && other === text && labels[i] !== labels[j]));
    const notes = [];
    if (clash >= 0) notes.push(`An example of symbol ${LETTERS[labels[clash]]} is identical to one of another symbol.`);
    if (used.length < state.ways * state.shots) notes.push("Empty pads are left out.");
    const numbers = new Float32Array(784 * drawn.length);
    drawn.forEach(({ pixels }, i) => numbers.set(pixels, 784 * i));
    if (isEmpty(QUERY)) notes.push("Draw on the large pad what is to be classified.");
    const key = [state.ways, labels.join(), texts.join(";")].join("|");
    return { support: numbers, labels, ways: state.ways, query: pictureOf(QUERY).pixels, key, sentence: notes.join(" ") };
  }

  // One request is under way at a time; of those that come meanwhile only the last one counts.
  let engine, busy = false, again = false;
  async function update() {
    if (!engine) return;
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    root.setAttribute("aria-busy", "true");
    do {
      again = false;
      const wanted = request();
      say(wanted.sentence);
      try {
        show(wanted, wanted.support ? await engine.run(wanted) : undefined);
      } catch (error) {
        show(wanted);
        say(`This did not work: ${error.message}. Reset, or reload the page.`);
      }
    } while (again);
    busy = false;
    root.setAttribute("aria-busy", "false");
  }

  function show(wanted, result) {
    const shown = result?.probabilities;
    const head = make("tr", {}, make("td"), ...Object.values(COLUMNS).map((title) => make("th", { scope: "col", textContent: title })));
    const rows = [...Array(state.ways).keys()].map((way) =>
      make(
        "tr", {}, make("th", { scope: "row", textContent: LETTERS[way] }),
        ...Object.keys(COLUMNS).map((name) => {
          const share = shown?.[name][way];
          if (share === undefined) return make("td", { textContent: "–" });
          const best = Math.max(...shown[name]) === share && share > 1.2 / state.ways;
          const bar = make("span", { className: `adapt-bar adapt-${name}` });
          bar.style.width = percent(share);
          return make("td", { className: best ? "adapt-best" : "", data: { share } }, bar, make("span", { textContent: percent(share) }));
        }),
      ),
    );
    table.replaceChildren(make("caption", { textContent: "Probability of each symbol" }), make("thead", {}, head), make("tbody", {}, ...rows));
    const digits = (value) => (value < 0.001 ? "under 0.001" : value.toFixed(value < 0.1 ? 3 : 2));
    facts.textContent = result
      ? `Loss on your examples: ${digits(result.loss.before)} before the step, ${digits(result.loss.learned)} after it with ` +
        `the learned α, ${digits(result.loss.scalar)} with one rate. Computed in ${Math.round(result.milliseconds)} ms (${result.backend}).`
      : "";
    if (result) showLayers(result.moved);
    else layers.replaceChildren();
    if (shown) root.dataset.shown = wanted.key;
    else delete root.dataset.shown;
  }

  function showLayers(moved) {
    const all = [...moved.learned, ...moved.scalar].filter((length) => length > 0);
    const [least, most] = [Math.min(...all) / 2, Math.max(...all)];
    const width = (length) => (length > 0 ? (100 * Math.log(length / least)) / Math.log(most / least) : 0);
    layers.replaceChildren(
      make("p", { textContent: "Length of the change of each layer's weights, on a logarithmic scale: with the learned α (left) and with one rate (right)." }),
      ...LAYERS.map((layer, i) =>
        make(
          "div", { className: "adapt-layer" }, make("span", { textContent: layer }),
          ...["learned", "scalar"].map((name) => {
            const bar = make("span", { className: `adapt-bar adapt-${name}` });
            bar.style.width = `${width(moved[name][i])}%`;
            return make("div", {}, bar, make("span", { textContent: moved[name][i].toPrecision(2) }));
          }),
        ),
      ),
    );
  }

  // ----------------------------------------------------------------------------------------------------------- start
  async function begin() {
    root.replaceChildren(
      controls,
      make("p", { className: "adapt-hint", textContent: "Your examples: the support set" }), support,
      make(
        "div", { className: "adapt-query" },
        make("div", {}, make("p", { className: "adapt-hint", textContent: "A new drawing: the query" }), queryPad, queryControls),
        make("div", { className: "adapt-answer" }, table, facts),
      ),
      message,
      make("label", { className: "adapt-switch" }, layersSwitch, " show how far each layer moved"), layers,
      make("p", {
        className: "adapt-hint", id: "adapt-keys",
        textContent: "By keyboard: Tab goes to a pad, arrow keys move a point, the space bar puts the pen down or lifts it, " +
          "Enter takes a ready digit, Delete clears the pad, Ctrl+Z undoes.",
      }),
    );
    root.addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
        event.preventDefault();
        undo();
      }
    });
    relayout({});
    paint(QUERY);
    say("The network is being loaded …");
    try {
      await Promise.all([load("sketch.js"), load("examples.js")]);
      const { digits, each, pixels } = metaSgdExamples, bytes = Uint8Array.from(atob(pixels), (c) => c.charCodeAt(0));
      examples = Array.from({ length: digits }, (_, digit) =>
        Array.from({ length: each }, (_, i) => bytes.subarray(784 * (digit * each + i), 784 * (digit * each + i + 1))),
      );
      engine = await startEngine();
    } catch (error) {
      return say(`The network could not be loaded (${error.message}). Reload the page to try again.`);
    }
    for (const id of ["adapt-ready", "adapt-reset", "adapt-query-ready"]) document.getElementById(id).disabled = false;
    root.dataset.backend = engine.info.backend;
    if (Object.values(state.pads).every(({ strokes }) => !strokes.length)) reset();
    else update(); // somebody was quicker
  }

  if (root) begin();
})();
