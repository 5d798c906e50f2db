// The page of chapter 14: pads to draw on, and what one Meta-SGD step makes of them. Words are in words.js, numbers come
// from engine.js, what is shown of an answer is made in answer.js.
(() => {
  "use strict";
  const root = document.getElementById("adapt");
  const folder = new URL("./", document.currentScript.src).href;
  const ENGINE = ["tf.min.js", "tf-backend-wasm.min.js", "weights.js", "meta-sgd.js", "engine.js"];
  const SCRIPTS = ["words.js", "chosen.js", "sketch.js", "pad.js", "answer.js", "share.js", "../shared/compute.js"];
  const MOST = 5; // symbols, and examples of each
  const REMEMBERED = 100; // changes that can be undone
  const FRAGMENT = "#pads=";
  const QUERY = "query";
  const PARTS = Array.from({ length: 21 }, (_, i) => i / 10); // of the step, at which the loss is drawn
  const PARTS_AT_ONCE = 3; // so that an answer that is wanted meanwhile does not wait
  const OPENING = { digits: [3, 7, 0, 5, 8], query: 7 };

  const load = (file) => metaSgdParts.load(new URL(file, folder).href);

  // ------------------------------------------------------------------------------------------------------ the state
  // What a pad holds: { strokes: [[[x, y], ...], ...] } drawn by the reader, with x and y in 0..1, or a ready
  // { digit, index } of MNIST. `named` are the new drawings of which the reader said which symbol they are.
  const EMPTY = () => ({ strokes: [] });
  const state = { ways: 3, shots: 1, rate: 0, pads: {}, history: [], named: new Map(), opening: false, note: "" };
  const supportKey = (way, shot) => `${way}/${shot}`;
  const contentOf = (key) => (state.pads[key] ??= EMPTY());
  const isEmpty = (key) => contentOf(key).digit === undefined && !contentOf(key).strokes.length;
  const supportKeys = (ways = state.ways, shots = state.shots) =>
    [...Array(ways).keys()].flatMap((way) => [...Array(shots).keys()].map((shot) => supportKey(way, shot)));
  const everyKey = () => [...supportKeys(MOST, MOST), QUERY];
  let examples; // examples[digit][index] is a Uint8Array of 784 pixels
  let t; // the words of the page's language

  const imageOf = ({ digit, index }) =>
    digit === undefined ? undefined : Float32Array.from(examples[digit][index], (value) => value / 255);

  // The picture of a pad, and the same as text; kept until its drawing grows, as all are asked for at each change.
  const pictures = new WeakMap();
  function pictureOf(key) {
    const content = contentOf(key), points = content.strokes.flat().length;
    if (pictures.get(content)?.points !== points) {
      const pixels = imageOf(content) ?? metaSgdSketch.toPicture(content.strokes);
      pictures.set(content, { points, pixels, text: String(pixels) });
    }
    return pictures.get(content);
  }

  function change(keys, contents) {
    state.opening = false;
    state.note = "";
    state.history.push(keys.map((key) => [key, contentOf(key)]));
    if (state.history.length > REMEMBERED) state.history.shift();
    keys.forEach((key, i) => (state.pads[key] = contents[i]));
    keys.forEach(paint);
    update();
  }

  function undo() {
    const last = state.history.pop();
    if (!last) return say(t("noUndo"));
    state.note = "";
    for (const [key, content] of last) state.pads[key] = content;
    last.forEach(([key]) => paint(key));
    update();
  }

  const clearAll = () => change(everyKey(), everyKey().map(EMPTY));

  // Ready examples: a digit for each symbol, pictures that are not used twice.
  let nextIndex = 0;
  const ready = (digit) => ({ strokes: [], digit, index: nextIndex++ % examples[digit].length });
  function fillReady() {
    fillWith([...Array(10).keys()].sort(() => Math.random() - 0.5).slice(0, MOST));
  }
  function fillWith(digits) {
    const rows = digits.flatMap((digit) => Array.from({ length: MOST }, () => ready(digit)));
    change(everyKey(), [...rows, ready(digits[Math.floor(Math.random() * state.ways)])]);
  }
  function readyFor(key) {
    if (!examples) return;
    const digits = [...Array(state.ways).keys()].map((way) => contentOf(supportKey(way, 0)).digit);
    const known = digits.filter((digit) => digit !== undefined);
    const own = key === QUERY ? undefined : digits[Number(key.split("/")[0])];
    const choice = own ?? (key === QUERY && known.length ? known : [...Array(10).keys()]);
    const digit = Array.isArray(choice) ? choice[Math.floor(Math.random() * choice.length)] : choice;
    change([key], [ready(digit)]);
  }

  // ------------------------------------------------------------------------------------------------------- the pads
  const pads = new Map(); // key -> its canvas
  const paint = (key) => pads.get(key)?.paint();
  const holder = {
    contentOf, imageOf, drawing: false,
    begin(key, stroke) {
      const fresh = key === QUERY && state.named.has(contentOf(key)); // a drawing that is named is done with
      if (state.opening && key !== QUERY) {
        change(everyKey(), everyKey().map((one) => (one === key ? { strokes: [stroke] } : EMPTY())));
      } else change([key], [{ strokes: fresh ? [stroke] : [...contentOf(key).strokes, stroke] }]);
    },
    grown: (key) => key === QUERY && update(),
    done: () => update(),
    clear: (key) => change([key], [EMPTY()]),
    fill: readyFor,
    say: (name) => say(t(name)),
  };

  function makePad(key, label, size) {
    const canvas = metaSgdPad.makePad(key, label, t("pad"), size, holder);
    pads.set(key, canvas);
    return canvas;
  }

  // --------------------------------------------------------------------------------------------- controls and results
  const page = {}; // the elements that change, by name
  const { message, say } = metaSgdParts.status();

  function relayout(wanted) {
    Object.assign(state, wanted);
    const { make } = metaSgdParts, { LETTERS } = metaSgdAnswer;
    page.support.dataset.shots = state.shots;
    for (const key of supportKeys(MOST, MOST)) pads.delete(key);
    page.support.replaceChildren(
      ...[...Array(state.ways).keys()].map((way) =>
        make(
          "div", { className: "adapt-row", role: "group", aria: { label: t("symbol", { letter: LETTERS[way] }) } },
          make("span", { className: "adapt-letter", textContent: LETTERS[way] }),
          ...[...Array(state.shots).keys()].map((shot) =>
            makePad(supportKey(way, shot), t("example", { letter: LETTERS[way], number: shot + 1 }), 168)),
        ),
      ),
    );
    page.first.textContent = t(state.shots > 1 ? "drawSeveral" : "draw", { count: state.ways, shots: state.shots });
    const name = (way) => metaSgdParts.button(LETTERS[way], () => nameQuery(way), { data: { truth: way } });
    const none = metaSgdParts.button(t("noneButton"), () => nameQuery("none"), { data: { truth: "none" } });
    page.truth.replaceChildren(make("span", { id: "adapt-truth", textContent: t("truth") }),
      ...[...Array(state.ways).keys()].map(name), none);
    page.ways.value = state.ways;
    page.shots.value = state.shots;
    update();
  }

  function reset() {
    state.named.clear();
    state.pads = {};
    nextIndex = 0;
    setRate(metaSgdChosen.rates.indexOf(metaSgdChosen.likeliest));
    relayout({ ways: 3, shots: 1 });
    fillWith(OPENING.digits);
    state.pads[QUERY] = { strokes: [], digit: OPENING.query, index: examples[OPENING.query].length - 1 };
    paint(QUERY);
    state.history = [];
    state.opening = true;
    state.note = t("opening");
    update();
  }

  function setRate(place) {
    const { rates, likeliest, accurate } = metaSgdChosen, rate = rates[place];
    state.rate = place;
    page.rate.value = place;
    const kind = rate === likeliest ? "rateLikeliest" : rate === accurate ? "rateAccurate" : "rateOther";
    page.rateText.textContent = t(kind, { rate });
    page.rate.setAttribute("aria-valuetext", page.rateText.textContent);
  }

  // The reader says which symbol the new drawing is: the page keeps the score.
  let latest; // { wanted, answers, pixels } of the answer that is shown
  function nameQuery(truth) {
    if (!latest) return;
    const { wanted, answers } = latest;
    state.named.set(contentOf(QUERY), { truth, answers, task: wanted.key, pixels: wanted.query });
    say((state.note = `${t(answers.learned === truth ? "right" : "wrong")} ${t("again")}`));
    showScore();
    drawAlong();
  }

  function showScore() {
    const named = [...state.named.values()];
    const right = (name) => named.filter(({ truth, answers }) => answers[name] === truth).length;
    page.score.textContent = named.length
      ? t("score", { learned: right("learned"), means: right("means"), scalar: right("scalar"), count: named.length })
      : t("noScore");
    const own = state.named.get(contentOf(QUERY));
    for (const one of page.truth.querySelectorAll("button")) {
      one.disabled = !latest;
      one.setAttribute("aria-pressed", String(own !== undefined && String(own.truth) === one.dataset.truth));
    }
  }

  // Returns what to compute, or a sentence about what is missing.
  function request() {
    const { LETTERS } = metaSgdAnswer;
    const used = supportKeys().filter((key) => !isEmpty(key));
    const labels = used.map((key) => Number(key.split("/")[0]));
    const missing = [...Array(state.ways).keys()].filter((way) => !labels.includes(way)).map((way) => LETTERS[way]);
    if (!used.length) return { sentence: t("empty") };
    if (missing.length === state.ways - 1) return { sentence: t("next", { letter: missing[0] }) };
    if (missing.length) return { sentence: t("missing", { letters: missing.join(t("and")) }) };
    const drawn = used.map(pictureOf), texts = drawn.map(({ text }) => text);
    if (new Set(texts).size === 1) return { sentence: t("identical") };
    const clash = texts.findIndex((text, i) => texts.some((other, j) => j < i && other === text && labels[i] !== labels[j]));
    const notes = [];
    if (clash >= 0) notes.push(t("clash", { letter: LETTERS[labels[clash]] }));
    if (used.length < state.ways * state.shots) notes.push(t("leftOut"));
    const numbers = new Float32Array(784 * drawn.length);
    drawn.forEach(({ pixels }, i) => numbers.set(pixels, 784 * i));
    if (isEmpty(QUERY)) notes.push(t("drawQuery"));
    if (state.note) notes.push(state.note);
    const key = [state.ways, labels.join(), texts.join(";")].join("|");
    return {
      support: numbers, labels, ways: state.ways, query: pictureOf(QUERY).pixels, key, sentence: notes.join(" "),
      rate: metaSgdChosen.rates[state.rate], scale: metaSgdChosen.scale,
    };
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
      if (!holder.drawing) say(wanted.sentence); // no message may move a pad on which somebody draws
      try {
        show(wanted, wanted.support ? await engine.run(wanted) : undefined);
      } catch (error) {
        show(wanted);
        say(t("broken", { error: error.message }));
      }
    } while (again);
    busy = false;
    root.setAttribute("aria-busy", "false");
    drawAlong();
  }

  // The line below which a drawing is none of the symbols depends on how many examples a symbol has.
  const lineOf = (labels, way) => metaSgdChosen.lines[Math.min(MOST, labels.filter((label) => label === way).length) - 1];

  function show(wanted, result) {
    const { LETTERS, PERCENT, answerOf } = metaSgdAnswer;
    const shares = result?.probabilities;
    // How far the drawing lies above the line of each symbol; below all of them it is none.
    const above = shares ? result.cosines.map((cosine, way) => cosine - lineOf(wanted.labels, way)) : [];
    const nearest = above.indexOf(Math.max(...above)), below = shares && above[nearest] < 0;
    const answers = shares && Object.fromEntries(
      ["learned", "means", "scalar"].map((name) => [name, answerOf(shares[name], below)]));
    latest = shares && { wanted, answers, shares };
    const thumbnails = [...Array(state.ways).keys()].map((way) =>
      [...Array(state.shots).keys()].map((shot) => supportKey(way, shot)).filter((key) => !isEmpty(key))
        .map((key) => metaSgdAnswer.thumbnail(pictureOf(key).pixels)));
    metaSgdAnswer.fillTable(page.table, t, { ways: state.ways, shares, thumbnails, below, all: page.compare.checked });
    metaSgdPad.paintPixels(page.seen, isEmpty(QUERY) ? null : pictureOf(QUERY).pixels);
    page.seen.setAttribute("aria-label", t(isEmpty(QUERY) ? "seenNothing" : "seenLabel"));
    const most = shares && Math.max(...shares.learned);
    const verdict = !shares ? t("noVerdict")
      : below ? t("none")
      : t("verdict", { letter: LETTERS[shares.learned.indexOf(most)], share: PERCENT(most) });
    if (page.verdict.textContent !== verdict) page.verdict.textContent = verdict; // it is read out when it changes
    page.verdict.classList.toggle("adapt-none", Boolean(below));
    page.likeness.textContent = !shares ? "" : t("likeness", {
      letter: LETTERS[nearest], cosine: result.cosines[nearest].toFixed(2), line: lineOf(wanted.labels, nearest).toFixed(2),
    });
    const place = state.shots - 1, { lines, alarms, misses } = metaSgdChosen;
    page.lineNote.textContent =
      t("lineNote", { line: lines[place].toFixed(2), alarms: PERCENT(alarms[place]), misses: PERCENT(misses[place]) });
    const digits = (value) => (value < 0.001 ? t("tiny") : value.toFixed(value < 0.1 ? 3 : 2));
    page.facts.textContent = result ? t("facts", {
      before: digits(result.loss.before), learned: digits(result.loss.learned), scalar: digits(result.loss.scalar),
      time: Math.round(result.milliseconds), backend: result.backend,
    }) : "";
    if (result) metaSgdAnswer.showLayers(page.layers, t, result.moved);
    else page.layers.replaceChildren();
    if (shares) root.dataset.shown = wanted.key;
    else delete root.dataset.shown;
    showScore();
  }

  // The loss along the step, part after part, as long as nothing else is wanted; the fold must be open.
  let drawing = 0;
  async function drawAlong() {
    const mine = ++drawing, wanted = page.more.open && engine ? request() : {};
    if (!wanted.support) return page.more.open && page.along.replaceChildren();
    const own = [...state.named.values()].filter(({ truth, task }) => truth !== "none" && task === wanted.key);
    const named = { labels: own.map(({ truth }) => truth), pictures: new Float32Array(784 * own.length) };
    own.forEach(({ pixels }, i) => named.pictures.set(pixels, 784 * i));
    const along = { learned: [], scalar: [] };
    for (let i = 0; i < PARTS.length; i += PARTS_AT_ONCE) {
      const found = await engine.run({ ...wanted, query: undefined, along: PARTS.slice(i, i + PARTS_AT_ONCE), named });
      if (mine !== drawing) return;
      for (const name of Object.keys(along)) along[name].push(...found.along[name]);
      metaSgdAnswer.drawLosses(page.along, t, along, own.length);
      page.along.dataset.parts = along.learned.length;
    }
  }

  // ------------------------------------------------------------------------------------------------- share and save
  function address() {
    const drawings = [...supportKeys(), QUERY].map(contentOf);
    const text = metaSgdShare.toText({ ways: state.ways, shots: state.shots, rate: state.rate, drawings });
    return location.href.split("#")[0] + FRAGMENT + text;
  }

  async function share() {
    const here = address();
    history.replaceState(history.state, "", here);
    page.address.value = here;
    page.addressRow.hidden = false;
    page.address.focus();
    page.address.select();
    page.shared.textContent = t(await navigator.clipboard?.writeText(here).then(() => "shared", () => "sharedByHand") ?? "sharedByHand");
  }

  // Take the drawings of the address, if it has some.
  function restore() {
    if (!location.hash.startsWith(FRAGMENT)) return;
    const limits = { ways: MOST, shots: MOST, rates: metaSgdChosen.rates.length, digits: examples.length, each: examples[0].length };
    try {
      const { ways, shots, rate, drawings } = metaSgdShare.fromText(location.hash.slice(FRAGMENT.length), limits);
      setRate(rate);
      relayout({ ways, shots });
      change(everyKey(), everyKey().map(EMPTY));
      const keys = [...supportKeys(), QUERY];
      change(keys, drawings);
      state.history = [];
      state.note = t("restored");
      root.scrollIntoView();
    } catch {
      state.note = t("unreadable");
    }
    update();
  }

  function save() {
    const { LETTERS } = metaSgdAnswer;
    const drawn = (key) => ({ content: contentOf(key), image: imageOf(contentOf(key)) });
    const rows = LETTERS.slice(0, state.ways).map((_, way) =>
      [...Array(state.shots).keys()].map((shot) => drawn(supportKey(way, shot))));
    const canvas = metaSgdAnswer.poster(t, {
      examples: rows, query: drawn(QUERY), shares: latest?.shares.learned ?? [], verdict: page.verdict.textContent,
    });
    canvas.toBlob((blob) => {
      const link = metaSgdParts.make("a", { href: URL.createObjectURL(blob), download: t("fileName") });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // a browser may read it after the click
      say(t("saved"));
    });
  }

  // ----------------------------------------------------------------------------------------------------------- start
  function build() {
    const { make, button, hint } = metaSgdParts;
    const counter = (id, low, action) => {
      const select = make("select", { id, onchange: () => action(Number(select.value)) });
      for (let n = low; n <= MOST; n++) select.append(make("option", { value: n, textContent: n }));
      return select;
    };
    const step = (number, text) =>
      make("p", { className: "adapt-step" }, make("span", { className: "adapt-number", textContent: number, aria: { hidden: true } }), text);
    page.first = make("span");
    page.support = make("div", { className: "adapt-support" });
    page.seen = make("canvas", { width: 28, height: 28, className: "adapt-seen", role: "img", aria: { label: t("seenNothing") } });
    page.verdict = make("p", { className: "adapt-verdict", textContent: t("noVerdict"), aria: { live: "polite" } });
    page.likeness = make("p", { className: "adapt-likeness parts-hint" });
    page.table = make("table", { className: "adapt-results" });
    page.truth = make("div", { className: "parts-controls", role: "group", aria: { labelledby: "adapt-truth" } });
    page.score = make("p", { className: "adapt-score parts-hint" });
    page.address = make("input", { type: "text", readOnly: true, className: "adapt-address", ariaLabel: t("address") });
    page.shared = make("p", { role: "status" });
    page.addressRow = make("div", { hidden: true }, page.shared, page.address);
    page.ways = counter("adapt-ways", 2, (ways) => relayout({ ways }));
    page.shots = counter("adapt-shots", 1, (shots) => relayout({ shots }));
    page.compare = make("input", { type: "checkbox", id: "adapt-compare", onchange: () => update() });
    page.rate = make("input", { type: "range", id: "adapt-rate", min: 0, max: metaSgdChosen.rates.length - 1, step: 1 });
    page.rate.oninput = () => {
      setRate(Number(page.rate.value));
      page.compare.checked = true;
      update();
    };
    page.rateText = make("span", { className: "adapt-rate-text" });
    page.lineNote = make("p", { className: "parts-hint", id: "adapt-line" });
    page.facts = hint("");
    page.layers = make("div", { className: "adapt-layers", id: "adapt-layers" });
    page.along = make("div", { className: "adapt-along-box" });
    page.more = make(
      "details", { className: "adapt-more", id: "adapt-more", ontoggle: () => drawAlong() }, make("summary", { textContent: t("more") }),
      make("div", { className: "parts-controls" },
        make("label", { htmlFor: "adapt-ways" }, `${t("ways")} `, page.ways),
        make("label", { htmlFor: "adapt-shots" }, `${t("shots")} `, page.shots)),
      make("p", {}, make("label", { htmlFor: "adapt-compare" }, page.compare, ` ${t("compare")}`)),
      make("p", { className: "parts-controls" }, make("label", { htmlFor: "adapt-rate", textContent: t("rate") }), page.rate, page.rateText),
      page.along, page.layers, page.facts, page.lineNote,
    );
    root.classList.add("parts");
    root.replaceChildren(
      message,
      make("div", { className: "adapt-all" },
        make("div", {}, step(1, page.first), page.support),
        make("div", { className: "adapt-query" }, step(2, t("query")),
          make("div", { className: "adapt-side" }, makePad(QUERY, t("queryPad"), 280),
            make("div", {}, page.seen, hint(t("seen")))),
          make("div", { className: "parts-controls" },
            button(t("digit"), () => readyFor(QUERY), { id: "adapt-query-ready", disabled: true }),
            button(t("clear"), () => change([QUERY], [EMPTY()]), { id: "adapt-query-clear", ariaLabel: t("clearQuery") }))),
        make("div", { className: "adapt-answer" }, step(3, t("answer")), page.verdict, page.likeness, page.table, page.truth, page.score)),
      make("div", { className: "parts-controls adapt-buttons" },
        button(t("clear"), clearAll, { id: "adapt-clear" }),
        button(t("undo"), undo, { id: "adapt-undo" }),
        button(t("digits"), fillReady, { id: "adapt-ready", disabled: true }),
        button(t("reset"), reset, { id: "adapt-reset", disabled: true }),
        button(t("share"), share, { id: "adapt-share", disabled: true }),
        button(t("save"), save, { id: "adapt-save", disabled: true })),
      page.addressRow,
      make("p", { className: "parts-hint adapt-keys", id: "adapt-keys", textContent: t("keys") }),
      page.more,
    );
    // Who comes to a pad by keyboard is told how to draw on it, until they draw otherwise.
    root.addEventListener("keyup", ({ target }) => target.matches(".adapt-pad") && (root.dataset.byKeys = ""));
    root.addEventListener("pointerdown", ({ target }) => target.matches(".adapt-pad") && delete root.dataset.byKeys);
    root.addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && event.target !== page.address) {
        event.preventDefault();
        undo();
      }
    });
    relayout({});
    setRate(metaSgdChosen.rates.indexOf(metaSgdChosen.likeliest));
  }

  function readExamples() {
    const { digits, each, pixels } = metaSgdExamples, bytes = Uint8Array.from(atob(pixels), (c) => c.charCodeAt(0));
    return Array.from({ length: digits }, (_, digit) =>
      Array.from({ length: each }, (_, i) => bytes.subarray(784 * (digit * each + i), 784 * (digit * each + i + 1))));
  }

  async function begin() {
    await Promise.all(SCRIPTS.map(load));
    t = metaSgdParts.wordsOf(metaSgdAdaptWords);
    build();
    say(t("loading"));
    try {
      await load("examples.js");
      examples = readExamples();
      engine = await metaSgdCompute.start({
        worker: folder + "worker.js",
        scripts: ENGINE.map((file) => folder + file),
        begin: () => metaSgdEngine.start(folder),
        run: (request) => metaSgdEngine.run(request),
      });
    } catch (error) {
      return say(t("failed", { error: error.message }));
    }
    for (const one of root.querySelectorAll("button[id]")) one.disabled = false;
    root.dataset.backend = engine.info.backend;
    // Somebody may have been quicker and have drawn already.
    if (everyKey().every(isEmpty)) reset();
    else update();
    restore();
    addEventListener("hashchange", restore);
  }

  if (root) begin();
})();
