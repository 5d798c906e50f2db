// "Sine waves, meta-trained in your browser" of chapter 6: Meta-SGD and MAML learn, and the reader moves the points
// that they adapt to. What trains is in a worker if the browser allows one, else in the page, in short slices.
(() => {
  "use strict";
  const folder = new URL("./", document.currentScript.src).href;
  const FILES = ["meta-train.js", "training.js", "words.js", "curves.js", "charts.js"];
  const METHODS = ["maml", "meta-sgd"];
  // Errors of the paper after one step, by points in meta-training and in the test: its first table.
  const PAPER = { maml: { 5: 1.13, 10: 0.77, 20: 0.48 }, "meta-sgd": { 5: 0.9, 10: 0.53, 20: 0.31 } };
  const FIRST_CURVE = { amplitude: 3.2, frequency: 1, phase: 0.8 };
  const MOST = 40; // points
  const GRID = Float64Array.from({ length: 161 }, (_, i) => -5 + i / 16);
  const SLICE = { worker: 30, page: 8 }; // milliseconds of training before it looks for messages
  const CALM = 1000; // milliseconds between two pictures for readers who asked for less motion

  // What runs in the worker beside the two functions that compute. It is made from their texts, as a page that was
  // opened from disk may not load a worker from a file.
  function serve(slice) {
    const training = metaSgdSineTraining(metaSgdSine(), (report) => self.postMessage(report), slice);
    self.onmessage = ({ data: { action, run } }) => training[action](run);
  }

  function trainer(tell) {
    const inPage = () => metaSgdSineTraining(metaSgdSine(), tell, SLICE.page);
    const asked = []; // what the worker was told, for the page if it turns out that there is none
    let here = null, worker = null;
    const go = (action, run) => {
      asked.push([action, run]);
      if (here) here[action](run);
      else worker.postMessage({ action, run });
    };
    const fall = () => {
      here = inPage();
      for (const [action, run] of asked) here[action](run);
    };
    try {
      const text = `"use strict";${metaSgdSine};${metaSgdSineTraining};(${serve})(${SLICE.worker});`;
      worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
      worker.onmessage = ({ data }) => tell(data);
      worker.onerror = (event) => {
        event.preventDefault();
        if (!here) fall();
      };
    } catch {
      fall();
    }
    return { go, get where() { return here ? "page" : "worker"; } };
  }

  function begin(root) {
    const { wordsOf, make, button, numeral, hint, status, lessMotion } = metaSgdParts;
    const words = wordsOf(metaSgdSineWords), sine = metaSgdSine(), { RECIPE } = sine;
    const digits = (value, places = 2) =>
      numeral(Number.isFinite(value) ? value.toFixed(value >= 100 ? 0 : places) : "∞");

    // -------------------------------------------------------------------------------------------------- the state
    const state = { run: 0, seed: 0, shots: 10, curve: FIRST_CURVE, points: [], chosen: 0, shown: "both", drawn: 0 };
    let report, train = null, series;

    // Points of a curve at random places, the same each time for the same number.
    function pointsOf(curve, count, seed) {
      const random = sine.uniform(seed);
      return Array.from({ length: count }, () => {
        const x = Math.round(20 * (10 * random() - 5)) / 20;
        return { x, y: sine.height(curve, x) };
      });
    }

    // The learners before any meta-update, which nobody has to wait for.
    function fresh() {
      const start = sine.start(sine.uniform(2 * state.seed)), alpha = new Float64Array(sine.SIZE).fill(RECIPE.task_lr);
      const each = (value) => Object.fromEntries(METHODS.map((method) => [method, value]));
      report = { run: { number: ++state.run, seed: state.seed, shots: state.shots }, done: 0, running: false, perSecond: 0, theta: each(start), alpha: each(alpha) };
      series = Object.fromEntries(METHODS.map((name) => [name, { values: [], means: [], paper: PAPER[name][state.shots] }]));
    }

    // -------------------------------------------------------------------------------------------------- the pictures
    const act = {
      move(index, point) {
        state.points[index] = point;
        state.chosen = index;
        soon();
      },
      choose(index) {
        state.chosen = index;
        soon();
      },
      add,
      remove,
    };
    const pictures = Object.fromEntries(
      METHODS.map((method) => {
        const label = words("picture", { method: words(method) });
        return [method, metaSgdSineCurves({ id: `sine-clip-${method}`, label, kind: words("handle"), act })];
      }),
    );
    const figures = Object.fromEntries(
      METHODS.map((method) => [
        method,
        make("div", { className: `sine-figure sine-of-${method}` }, make("p", { className: "sine-name", textContent: words(method) }), pictures[method].svg),
      ]),
    );
    const layers = sine.LAYERS.map(([kind, n, ...range]) => ({ name: words("layer", { kind: words(kind), n }), range }));
    const loss = metaSgdSineLoss({ label: words("lossHead"), updates: RECIPE.iterations, words });
    const rates = metaSgdSineRates({ layers, start: RECIPE.task_lr, words });

    const ROWS = ["fresh", "paper", "own", "negative"];
    const cells = Object.fromEntries(
      ROWS.map((row) => [row, Object.fromEntries(METHODS.map((method) => [method, make("td", { data: { row, method } })]))]),
    );
    const head = (text, scope) => make("th", { scope, textContent: text });
    const table = make(
      "table", { className: "sine-numbers" }, make("caption", { textContent: words("numbers") }),
      make("thead", {}, make("tr", {}, head(words("quantity"), "col"), ...METHODS.map((method) => head(words(method), "col")))),
      make("tbody", {}, ...ROWS.map((row) => make("tr", {}, head(words(row), "row"), ...METHODS.map((method) => cells[row][method])))),
    );

    // One step on the reader's points, by both methods, whenever something changes.
    const rooms = new Map();
    const roomFor = (count) => {
      if (!rooms.has(count)) rooms.set(count, sine.room(1, count, GRID.length));
      return rooms.get(count);
    };
    function predict(method, points) {
      const room = roomFor(points.length);
      room.query.x.set(GRID);
      room.query.y.set(GRID.map((x) => sine.height(state.curve, x)));
      points.forEach(({ x, y }, i) => ([room.support.x[i], room.support.y[i]] = [x, y]));
      const [error] = sine.adapt({ theta: report.theta[method], alpha: report.alpha[method] }, room);
      return { error, ys: room.query.output.slice() };
    }

    function showCurves() {
      const { points, chosen } = state, truth = GRID.map((x) => sine.height(state.curve, x));
      const said = points.map(({ x, y }, i) => ({
        name: words("point", { n: i + 1, all: points.length }), value: words("pointAt", { x: digits(x), y: digits(y) }),
      }));
      for (const method of METHODS) {
        const before = predict(method, []), after = predict(method, points), picture = pictures[method];
        picture.line("truth", GRID, truth);
        picture.line("before", GRID, before.ys);
        picture.line("after", GRID, after.ys);
        picture.show(points, chosen, said);
        const cell = cells.own[method];
        cell.textContent = words("change", { before: digits(before.error), after: digits(after.error) });
        cell.dataset.value = after.error;
      }
    }

    let waiting = false;
    function soon() {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        showCurves();
      });
    }

    function showTraining() {
      const { done, running, perSecond, errors, alpha } = report;
      loss.show(series);
      const sorted = Float64Array.from(alpha["meta-sgd"]).sort(), part = (share) => sorted[Math.round(share * (sorted.length - 1))];
      const negative = (method) => alpha[method].filter((rate) => rate < 0).length / sine.SIZE;
      const percent = (share) => `${Math.round(100 * share)}%`;
      rates.show(alpha["meta-sgd"], words("ratesSaid", {
        share: percent(negative("meta-sgd")), low: digits(part(0.05), 3), high: digits(part(0.95), 3), start: RECIPE.task_lr,
      }));
      for (const method of METHODS) {
        cells.fresh[method].textContent = errors ? digits(errors[method]) : "–";
        cells.fresh[method].dataset.value = errors?.[method] ?? "";
        cells.paper[method].textContent = digits(PAPER[method][state.shots]);
        cells.negative[method].textContent = percent(negative(method));
        cells.negative[method].dataset.value = negative(method);
      }
      const speed = perSecond ? ` ${words("speed", { speed: Math.round(perSecond) })}` : "";
      count.textContent = words("count", { n: done, all: RECIPE.iterations }) + speed;
      const paused = !running && done > 0 && done < RECIPE.iterations;
      trainButton.textContent = words(running ? "pause" : paused ? "goOn" : "train");
      trainButton.disabled = done >= RECIPE.iterations;
      Object.assign(root.dataset, { done, running, speed: Math.round(perSecond), where: train?.where ?? "" });
    }

    // ------------------------------------------------------------------------------------------------------ training
    let lastPicture = 0;
    function hear(news) {
      if (news.run.number !== state.run) return; // of a run that was reset
      const before = report;
      report = news;
      for (const method of METHODS) for (const value of news.losses[method]) series[method].values.push(value);
      const calm = news.running && before.running && lessMotion() && performance.now() < lastPicture + CALM;
      if (calm) return;
      lastPicture = performance.now();
      showTraining();
      soon();
      if (before.running && !news.running) tellErrors(news.done >= RECIPE.iterations ? "done" : "paused");
    }

    const tellErrors = (what) =>
      say(words(what, { n: report.done, maml: digits(report.errors.maml), metaSgd: digits(report.errors["meta-sgd"]) }));

    function press() {
      if (report.running) return train.go("pause");
      train ??= trainer(hear);
      train.go("start", report.run);
      report.running = true;
      say(words("trains"));
      showTraining();
    }

    function reset(seed) {
      state.seed = seed;
      fresh();
      if (train) train.go("stop");
      showTraining();
      showCurves();
      say(words("wasReset", { run: state.seed + 1 }));
    }

    // ------------------------------------------------------------------------------------------------------ controls
    const { message, say } = status();
    const count = make("p", { className: "parts-hint sine-count" });
    const trainButton = button(words("train"), press, { id: "sine-train" });

    const choice = (id, name, values, action) => {
      const select = make("select", { id, onchange: () => action(select.value) });
      for (const [value, text] of values) select.append(make("option", { value, textContent: text }));
      return make("label", { htmlFor: id }, `${words(name)} `, select);
    };
    const shots = choice("sine-shots", "shots", [5, 10, 20].map((n) => [n, n]), (value) => {
      state.shots = Number(value);
      state.points = pointsOf(state.curve, state.shots, state.drawn);
      reset(state.seed);
      say(words("wasShots", { n: state.shots }));
    });
    shots.firstElementChild.value = state.shots;
    const shown = choice(
      "sine-show", "show", [["both", words("both")], ...METHODS.map((method) => [method, words("only", { method: words(method) })])],
      (value) => {
        state.shown = value;
        layout();
      },
    );

    function add(point) {
      if (state.points.length >= MOST) return say(words("most", { n: MOST }));
      state.points = [...state.points, point ?? inGap()];
      state.chosen = state.points.length - 1;
      showCurves();
      say(words("wasAdded", { n: state.points.length }));
    }

    // A point of the curve in the middle of the widest stretch without one.
    function inGap() {
      const xs = [-5, ...state.points.map(({ x }) => x).sort((a, b) => a - b), 5];
      const widest = xs.slice(1).map((x, i) => [x - xs[i], (x + xs[i]) / 2]).sort((a, b) => b[0] - a[0])[0][1];
      return { x: widest, y: sine.height(state.curve, widest) };
    }

    function remove(index) {
      const { points } = state, focused = root.querySelector(".sine-point:focus");
      if (!points.length) return say(words("none"));
      state.points = points.filter((_, i) => i !== index);
      state.chosen = Math.max(0, Math.min(index, state.points.length - 1));
      showCurves();
      if (focused && state.points.length) pictures[firstShown()].focus(state.chosen);
      else if (focused) addButton.focus();
      say(words(state.points.length ? "wasRemoved" : "none", { n: state.points.length }));
    }

    function newCurve() {
      state.drawn++;
      state.curve = sine.curve(sine.uniform(7000 + state.drawn));
      state.points = pointsOf(state.curve, state.shots, state.drawn);
      state.chosen = 0;
      showCurves();
      say(words("wasNew", { n: state.points.length }));
    }

    const firstShown = () => (state.shown === "both" ? METHODS[0] : state.shown);
    const visible = (method) => state.shown === "both" || state.shown === method;
    function layout() {
      for (const method of METHODS) {
        figures[method].hidden = !visible(method);
        pictures[method].first = method === firstShown();
      }
      for (const method of METHODS) if (visible(method)) pictures[method].resize();
      showTraining();
      showCurves();
    }

    // ------------------------------------------------------------------------------------------------------- start
    const addButton = button(words("add"), () => add(), { id: "sine-add" });
    const key = (name) =>
      make("li", {}, make("span", { className: `sine-swatch sine-swatch-${name}`, aria: { hidden: true } }), words(name));
    const pair = make("div", { className: "sine-pair" }, ...METHODS.map((method) => figures[method]));
    fresh();
    state.points = pointsOf(state.curve, state.shots, state.drawn);
    root.replaceChildren(
      make("div", { className: "parts-controls" }, trainButton, button(words("reset"), () => reset(state.seed + 1), { id: "sine-reset" }), shots, shown),
      message, count, pair,
      make("ul", { className: "sine-key parts-hint" }, key("keyTruth"), key("keyBefore"), key("keyAfter")),
      make("div", { className: "parts-controls" }, button(words("newCurve"), newCurve, { id: "sine-new" }), addButton,
        button(words("remove"), () => remove(state.chosen), { id: "sine-remove" })),
      hint(words("keys")), table,
      make("div", {}, hint(words("lossHead")), loss.svg),
      make("div", {}, hint(words("ratesHead")), rates.canvas),
    );
    new ResizeObserver(layout).observe(root);
    new MutationObserver(showTraining).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    layout();
    say(words("ready"));
    root.dataset.ready = "";
  }

  const root = document.getElementById("sine");
  if (root) metaSgdParts.whenNear(root, FILES.map((file) => folder + file), begin);
})();
