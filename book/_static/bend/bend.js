// "Bend the step" of chapter 2: the reader drags the start, the tip of the step and the tip of alpha, and trains them.
(() => {
  "use strict";
  const folder = new URL("./", document.currentScript.src).href;
  const FILES = ["valley.js", "tasks.js", "words.js", "plane.js"];
  const LEVELS = [0.1, 0.5, 1.5, 4, 8, 14]; // of the contours, as in the chapter's figures
  const STEPS = { theta: 0.1, alpha: 0.05 }; // of an arrow key; a tenth of it with Shift
  const LONGEST = 60; // pixels: an arrow is half as long for a meta-gradient of length 1
  const BEFORE = 7; // pixels between the end of an arrow and the middle of the dot there
  const WEAK = 0.02; // a gradient's entry that no rate can turn into a step that the reader chose
  const SLOWNESS = 100; // rounds after which training shows every second round, and so on

  function begin(root) {
    const { wordsOf, make, button, numeral, hint, status, lessMotion } = metaSgdParts;
    const valley = metaSgdValley, words = wordsOf(metaSgdBendWords);
    const sum = (a, b, times = 1) => [a[0] + times * b[0], a[1] + times * b[1]];

    // ------------------------------------------------------------------------------------------- tasks and state
    const numbers = (code) => new Float64Array(Uint8Array.from(atob(code), (letter) => letter.charCodeAt(0)).buffer);
    const pairs = (code) => {
      const all = numbers(code);
      return Array.from({ length: all.length / 2 }, (_, i) => [all[2 * i], all[2 * i + 1]]);
    };
    const drawn = Object.fromEntries(
      Object.entries(metaSgdValleyTasks).map(([name, { minima, shifts }]) => [
        name, pairs(minima).map((query, i) => ({ query, shift: pairs(shifts)[i] })),
      ]),
    );
    const shown = [{ query: [4, 2], shift: [-0.9, 0.35] }, ...drawn.fresh]; // the task of the chapter, then new ones
    const atFirst = () => ({
      theta: valley.START.theta, alpha: valley.START.alpha, task: 0, oneRate: false, noisy: false, all: false,
    });
    let state = atFirst(), run = null, running = false;
    const asTask = ({ query, shift }) => ({ query, support: state.noisy ? sum(query, shift) : query });
    const task = () => asTask(shown[state.task]);
    const training = () => drawn.training.map(asTask);
    const followed = () => (state.all ? training() : [task()]);

    // ------------------------------------------------------------------------------------------------ the picture
    const weights = metaSgdPlane({
      id: "bend-weights", label: words("plane"), range: [[-2.2, -1.1], [6.2, 3.2]], ticks: [[-2, 0, 2, 4, 6], [-1, 0, 1, 2, 3]],
      names: [1, 2].map((i) => words("weight", { i: "₁₂"[i - 1] })),
    });
    const rates = metaSgdPlane({
      id: "bend-rates", label: words("rates"), range: [[-0.4, -0.35], [3.2, 1.15]], ticks: [[0, 1, 2, 3], [0, 1]],
      names: [1, 2].map((i) => words("rate", { i: "₁₂"[i - 1] })),
    });
    const parts = Object.fromEntries(
      [
        ["others", weights, "bend-others"], ["steps", weights, "bend-steps"], ["missed", weights, "bend-missed"],
        ["query", weights, "bend-query"], ["support", weights, "bend-support"], ["rail", weights, "bend-rail"],
        ["star", weights, "bend-star"], ["step", weights, "bend-step"], ["metaTheta", weights, "bend-meta"],
        ["rateLoss", rates, "bend-query"], ["zero", rates, "bend-zero"], ["diagonal", rates, "bend-rail"],
        ["bestRates", rates, "bend-star"], ["vector", rates, "bend-step"], ["metaAlpha", rates, "bend-meta"],
        ["alongLine", rates, "bend-meta bend-along"],
      ].map(([name, plane, className]) => [name, plane.add("path", className)]),
    );

    const moved = (old, { to, by, fine }, size) => to ?? sum(old, by, fine ? size / 10 : size);
    // With one rate, a dot moves along its line: by keys forth and back, by the pointer to the nearest place.
    const alongLine = (from, direction, old, { to, by, fine }, size) => {
      if (by) return old + (by[0] + by[1]) * (fine ? size / 10 : size);
      const [x, y] = sum(to, from, -1), length = direction[0] ** 2 + direction[1] ** 2;
      return length < 1e-12 ? old : (x * direction[0] + y * direction[1]) / length;
    };
    const dots = {
      theta: weights.dot({
        name: "θ", className: "bend-start", kind: words("handle"), label: words("start"),
        move: (motion) => touch({ theta: weights.bounded(moved(state.theta, motion, STEPS.theta)) }),
      }),
      tip: weights.dot({
        name: "θ′", className: "bend-tip", kind: words("handle"), label: words("tip"),
        move(motion) {
          const { g, end } = valley.step(state.theta, state.alpha, task());
          if (state.oneRate) {
            const a = alongLine(state.theta, g.map((one) => -one), state.alpha[0], motion, STEPS.alpha / 2.5);
            return touch({ alpha: [a, a] });
          }
          const goal = weights.bounded(moved(end, motion, STEPS.theta));
          const rate = (i) => (Math.abs(g[i]) < WEAK ? state.alpha[i] : (state.theta[i] - goal[i]) / g[i]);
          touch({ alpha: [rate(0), rate(1)] });
        },
      }),
      alpha: rates.dot({
        name: "α", className: "bend-alpha", kind: words("handle"), label: words("alpha"),
        move(motion) {
          if (!state.oneRate) return touch({ alpha: rates.bounded(moved(state.alpha, motion, STEPS.alpha)) });
          const a = alongLine([0, 0], [1, 1], state.alpha[0], motion, STEPS.alpha / 2.5);
          touch({ alpha: [a, a] });
        },
      }),
    };

    // ------------------------------------------------------------------------------------------------- the numbers
    const digits = (value, places = 3) => numeral(value.toFixed(Math.abs(value) >= 100 ? 1 : places));
    const pair = ([x, y], places) => words("pair", { x: digits(x, places), y: digits(y, places) });
    const ROWS = ["g", "turned", "before", "after", "meanTraining", "meanFresh", "metaTheta", "metaAlpha", "along"];
    const cells = Object.fromEntries(ROWS.map((name) => [name, make("td", { data: { name } })]));
    const table = make(
      "table", { className: "bend-numbers" }, make("caption", { textContent: words("numbers") }),
      make("thead", {}, make("tr", {}, ...["quantity", "value"].map((name) => make("th", { scope: "col", textContent: words(name) })))),
      make("tbody", {}, ...ROWS.map((name) => make("tr", {}, make("th", { scope: "row", textContent: words(name) }), cells[name]))),
    );
    const write = (name, text, value) => {
      cells[name].textContent = text;
      cells[name].dataset.value = JSON.stringify(value);
    };

    function angle(g, way) {
      const lengths = Math.hypot(...g) * Math.hypot(...way);
      if (lengths < 1e-12) return null;
      const cosine = -(g[0] * way[0] + g[1] * way[1]) / lengths;
      return (180 / Math.PI) * Math.acos(Math.min(1, Math.max(-1, cosine)));
    }

    function show() {
      const { theta, alpha, oneRate } = state, one = task(), { g, end, loss } = valley.step(theta, alpha, one);
      const meta = valley.meanMetaGradients(theta, alpha, followed());
      showWeights(one, g, end, meta);
      showRates(meta);
      const said = (x, y) => ({ x: digits(x), y: digits(y), loss: digits(loss) });
      dots.theta.show(theta, words("startAt", said(...theta)));
      dots.tip.show(end, words("tipAt", said(...end)));
      dots.alpha.show(alpha, words("alphaAt", said(...alpha)));
      const turned = angle(g, sum(end, theta, -1)), half = (meta.alpha[0] + meta.alpha[1]) / 2;
      write("g", pair(g), g);
      write("turned", turned === null ? words("none") : words("degrees", { x: digits(turned, 1) }), turned);
      write("before", digits(valley.loss(theta, one.query)), valley.loss(theta, one.query));
      write("after", digits(loss), loss);
      for (const [row, tasks] of [["meanTraining", drawn.training], ["meanFresh", drawn.fresh]]) {
        const mean = valley.meanMetaGradients(theta, alpha, tasks.map(asTask)).loss;
        write(row, digits(mean), mean);
      }
      write("metaTheta", pair(meta.theta), meta.theta);
      write("metaAlpha", pair(meta.alpha), meta.alpha);
      write("along", oneRate ? pair([half, half]) : words("none"), oneRate ? [half, half] : null);
      root.dataset.round = run?.round ?? 0;
      root.dataset.oneRate = oneRate;
    }

    // From the dot of a handle, against the meta-gradient; long arrows are shortened.
    function metaArrow(plane, path, from, slope) {
      const length = Math.hypot(...slope), [x, y] = plane.at(plane.bounded(from));
      if (length < 0.002) return plane.arrow(path, [x, y], [x, y]);
      const pixels = (LONGEST * length) / (1 + length) + 2 * BEFORE;
      plane.arrow(path, [x, y], [x - (pixels * slope[0]) / length, y + (pixels * slope[1]) / length]);
    }

    function showWeights(one, g, end, meta) {
      const whole = (minimum) => ({ hessian: valley.HESSIAN, best: minimum, loss: 0 });
      weights.contours(parts.query, whole(one.query), LEVELS);
      weights.contours(parts.support, whole(one.support), LEVELS);
      weights.stars(parts.star, [one.query], 10);
      weights.stars(parts.others, drawn.training.map(({ query }) => query), 4);
      if (state.oneRate) weights.rail(parts.rail, state.theta, g);
      else parts.rail.setAttribute("d", "");
      weights.arrow(parts.step, weights.at(state.theta), weights.at(weights.bounded(end)), BEFORE);
      const ends = state.all ? training().map((other) => [other.query, valley.step(state.theta, state.alpha, other).end]) : [];
      const lines = (list) => list.map(([from, to]) => `M${weights.at(from)}L${weights.at(to)}`).join("");
      parts.steps.setAttribute("d", lines(ends.map(([, to]) => [state.theta, to])));
      parts.missed.setAttribute("d", lines([...ends, [one.query, end]]));
      metaArrow(weights, parts.metaTheta, state.theta, meta.theta);
    }

    function showRates(meta) {
      const bowl = valley.overRates(state.theta, followed());
      if (bowl) rates.contours(parts.rateLoss, bowl, LEVELS);
      else parts.rateLoss.setAttribute("d", "");
      rates.stars(parts.bestRates, bowl ? [bowl.best] : [], 10);
      rates.rail(parts.diagonal, [0, 0], [1, 1]);
      parts.diagonal.classList.toggle("bend-faint", !state.oneRate);
      parts.zero.setAttribute("d", [[[-9, 0], [9, 0]], [[0, -9], [0, 9]]].map(([a, b]) => `M${rates.at(a)}L${rates.at(b)}`).join(""));
      rates.arrow(parts.vector, rates.at([0, 0]), rates.at(rates.bounded(state.alpha)), BEFORE);
      metaArrow(rates, parts.metaAlpha, state.alpha, meta.alpha);
      const half = (meta.alpha[0] + meta.alpha[1]) / 2;
      metaArrow(rates, parts.alongLine, state.alpha, state.oneRate ? [half, half] : [0, 0]);
    }

    // ---------------------------------------------------------------------------------------------------- controls
    const { message, say } = status();
    const count = make("p", { className: "parts-hint bend-count" });
    const trainButton = button(words("train"), () => (running ? pause() : train()), { id: "bend-train" });
    const box = (id, name, change) => {
      const input = make("input", { type: "checkbox", id, onchange: () => change(input.checked) });
      return { input, label: make("label", { htmlFor: id }, input, ` ${words(name)}`) };
    };
    const oneRate = box("bend-one", "oneRate", (on) => {
      const a = (state.alpha[0] + state.alpha[1]) / 2;
      touch({ oneRate: on, ...(on ? { alpha: [a, a] } : {}) });
      say(words(on ? "railed" : "freed"));
    });
    const noisy = box("bend-noisy", "noisy", (on) => {
      touch({ noisy: on });
      say(words(on ? "noisyOn" : "noisyOff"));
    });
    const follow = make(
      "select", { id: "bend-follow", onchange: () => { state.all = follow.value === "all"; show(); } },
      make("option", { value: "one", textContent: words("thisTask") }), make("option", { value: "all", textContent: words("allTasks") }),
    );
    function another() {
      state.task = (state.task + 1) % shown.length;
      show();
      say(words("newTask", { w: pair(task().query, 2) }));
    }

    // The reader changed what is learned, or from what: training goes on from there, as if it began.
    function touch(change) {
      Object.assign(state, change);
      run = running ? valley.training(state, training(), state.oneRate) : null;
      label();
      show();
    }

    function label() {
      const paused = !running && run && run.round < valley.ROUNDS;
      trainButton.textContent = words(running ? "pause" : paused ? "goOn" : "train");
      count.textContent = run ? words("round", { n: run.round, all: valley.ROUNDS }) : "";
      root.dataset.running = running;
    }

    const facts = () => {
      const mean = (name) => digits(valley.meanMetaGradients(state.theta, state.alpha, drawn[name].map(asTask)).loss);
      return { n: run.round, theta: pair(state.theta), alpha: pair(state.alpha), loss: mean("training"), fresh: mean("fresh") };
    };

    function train() {
      if (!run || run.round >= valley.ROUNDS) run = valley.training(state, training(), state.oneRate);
      state.all = true;
      follow.value = "all";
      running = true;
      say(words("trains"));
      label();
      if (lessMotion()) advance(valley.ROUNDS);
      else requestAnimationFrame(frame);
    }

    function advance(rounds) {
      for (let i = 0; i < rounds && run.round < valley.ROUNDS; i++) run.update();
      Object.assign(state, { theta: run.theta, alpha: run.alpha });
      if (run.round >= valley.ROUNDS) running = false;
      label();
      show();
      if (!running) say(words("done", facts()));
    }

    function frame() {
      if (!running) return;
      advance(1 + Math.floor(run.round / SLOWNESS));
      if (running) requestAnimationFrame(frame);
    }

    function pause() {
      running = false;
      label();
      say(words("paused", facts()));
    }

    function reset() {
      [state, run, running] = [atFirst(), null, false];
      oneRate.input.checked = noisy.input.checked = false;
      follow.value = "one";
      label();
      show();
      say(words("wasReset"));
    }

    // ------------------------------------------------------------------------------------------------------- start
    const key = (className, name) =>
      make("li", {}, make("span", { className: `bend-swatch ${className}`, aria: { hidden: true } }), words(name));
    root.replaceChildren(
      make("div", { className: "parts-controls" }, trainButton, button(words("another"), another, { id: "bend-another" }),
        button(words("reset"), reset, { id: "bend-reset" }), oneRate.label, noisy.label,
        make("label", { htmlFor: "bend-follow" }, `${words("follow")} `, follow)),
      message, count, weights.figure,
      make("div", { className: "bend-below" }, rates.figure, table),
      make("ul", { className: "bend-key parts-hint" }, ...[
        ["bend-key-step", "keyStep"], ["bend-key-meta", "keyMeta"], ["bend-key-along", "keyAlong"], ["bend-key-query", "keyQuery"],
        ["bend-key-support", "keySupport"], ["bend-key-star", "keyStar"], ["bend-key-rail", "keyRail"],
      ].map(([className, name]) => key(className, name))),
      hint(words("keys")),
    );
    const resize = () => {
      weights.resize();
      rates.resize();
      show();
    };
    new ResizeObserver(resize).observe(root);
    label();
    resize();
    say(words("ready"));
    root.dataset.ready = "";
  }

  const root = document.getElementById("bend");
  if (root) metaSgdParts.whenNear(root, FILES.map((file) => folder + file), begin);
})();
