// The game of chapter 1: sort ten drawings of five new symbols; then the network does the same after one step. Nothing
// but this script, its words and its style is loaded before "Play".
(() => {
  "use strict";
  const { wordsOf, make, button, hint, status, lessMotion, load } = metaSgdParts;
  const root = document.getElementById("sort");
  const folder = new URL("./", document.currentScript.src).href, network = new URL("../adapt/", folder).href;
  const say = wordsOf(metaSgdSortWords);
  const PLAYERS = ["you", "learned", "random"];
  // The shares of right answers, of ten, in as many rounds, as metasgd.recipes.sorting measures them (chapter 1).
  const AVERAGE = { rounds: 600, learned: "9.1", random: "4.7" };
  const STORED = "metasgd-sort";
  const PAUSE = 140; // milliseconds between two answers of the network

  // ---------------------------------------------------------------------------------------------------- the score
  const NO_SCORE = { rounds: 0, all: 0, you: 0, learned: 0, random: 0 };
  let score = { ...NO_SCORE }, isKept = true;

  function readScore() {
    try {
      const read = JSON.parse(localStorage.getItem(STORED) ?? "{}");
      if (Object.keys(NO_SCORE).every((key) => Number.isInteger(read[key]))) score = read;
    } catch {
      isKept = false; // a browser that keeps nothing here, or somebody else's text
    }
  }

  function keepScore(changed) {
    score = changed;
    try {
      if (score.rounds) localStorage.setItem(STORED, JSON.stringify(score));
      else localStorage.removeItem(STORED);
      isKept = true;
    } catch {
      isKept = false;
    }
  }

  // ------------------------------------------------------------------------------------------------------- a round
  // round: { seed, support, queries, labels }; answers: those that the reader has given.
  let round, answers, engine, timers = [];
  let nextSeed = Number(new URLSearchParams(location.search).get("round")) || 1 + Math.floor(Math.random() * 1e6);

  const { message, say: tell } = status();
  const place = make("div", { className: "sort-place" });

  const picture = (pixels, className) => {
    const canvas = make("canvas", { className, width: 28, height: 28, aria: { hidden: true } });
    const image = new ImageData(28, 28);
    pixels.forEach((value, i) => {
      const light = Math.round(17 + 238 * value);
      image.data.set([light, light, light, 255], 4 * i);
    });
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  };

  function startNetwork() {
    const address = (from, ...files) => files.map((file) => from + file);
    const started = metaSgdCompute.start({
      worker: folder + "worker.js",
      scripts: [
        ...address(network, "tf.min.js", "tf-backend-wasm.min.js", "weights.js", "meta-sgd.js"),
        ...address(folder, "rounds.js", "judge.js"),
      ],
      begin: () => metaSgdJudge.start(network),
      run: (request) => metaSgdJudge.run(request),
    });
    engine = started;
    started.then(
      ({ info }) => (root.dataset.backend = info.backend),
      () => (engine = undefined), // the next round tries again
    );
  }

  async function play() {
    timers.forEach(clearTimeout);
    root.dataset.state = "drawing";
    tell(say("drawingRounds"));
    try {
      for (const file of ["../shared/compute.js", "rounds.js"]) await load(new URL(file, folder).href);
    } catch (error) {
      return tell(say("failedToDraw", { reason: error.message }));
    }
    if (!engine) startNetwork();
    round = metaSgdRounds.drawRound(nextSeed);
    nextSeed += 1;
    answers = [];
    ask();
  }

  // What is shown next may be much shorter or longer than what was: bring its beginning back to the screen.
  function comeIntoView() {
    if (root.getBoundingClientRect().top < 0) root.scrollIntoView({ block: "start", behavior: "instant" });
  }

  // ------------------------------------------------------------------------------------------------ the reader sorts
  let stage, progress, back;

  function ask() {
    const examples = round.support.map((pixels, i) =>
      make(
        "button",
        {
          type: "button", className: "sort-symbol", onclick: () => answer(i), data: { symbol: i + 1 },
          aria: { label: say("symbol", { number: i + 1 }), keyshortcuts: i + 1 },
        },
        picture(pixels, "sort-picture"), make("span", { textContent: i + 1 }),
      ),
    );
    stage = make("div", { className: "sort-stage", tabIndex: -1, role: "group", aria: { label: say("stage") } });
    progress = make("div", { className: "sort-progress", aria: { hidden: true } });
    back = button(say("undo"), takeBack, { className: "sort-back" });
    place.replaceChildren(
      hint(say("examples")),
      make("div", { className: "sort-examples" }, ...examples),
      stage, progress, hint(say("keys")), back,
    );
    root.dataset.state = "sorting";
    showQuery();
    stage.focus({ preventScroll: true });
    comeIntoView();
  }

  function showQuery() {
    const number = answers.length;
    stage.replaceChildren(picture(round.queries[number], "sort-picture sort-query"));
    progress.replaceChildren(
      ...round.queries.map((_, i) => make("span", { className: i < number ? "sort-done" : i === number ? "sort-now" : "" })),
    );
    back.disabled = !number;
    root.dataset.query = number;
    tell(say("drawing", { number: number + 1, all: round.queries.length }));
  }

  function answer(symbol) {
    if (root.dataset.state !== "sorting") return;
    answers.push(symbol);
    if (answers.length < round.queries.length) showQuery();
    else judge();
  }

  function takeBack() {
    if (root.dataset.state !== "sorting" || !answers.length) return;
    answers.pop();
    showQuery();
    if (!answers.length) stage.focus({ preventScroll: true }); // the button that was pressed is off now
  }

  root.addEventListener("keydown", (event) => {
    if (root.dataset.state !== "sorting" || event.ctrlKey || event.metaKey || event.altKey) return;
    const symbol = Number(event.key) - 1;
    if (round.support[symbol]) answer(symbol);
    else if (event.key === "Backspace") takeBack();
    else return;
    event.preventDefault();
  });

  // ----------------------------------------------------------------------------------------------- the network sorts
  async function judge() {
    root.dataset.state = "judging";
    place.replaceChildren();
    tell(say(root.dataset.backend ? "step" : "loading"));
    root.tabIndex = -1;
    root.focus({ preventScroll: true }); // until there is a button again
    const given = { you: answers };
    let problem;
    try {
      const { run } = await engine;
      const numbers = (pictures) => Float32Array.from(pictures.flatMap((pixels) => [...pixels]));
      const found = await run({ seed: round.seed, support: numbers(round.support), query: numbers(round.queries) });
      for (const player of ["learned", "random"]) given[player] = mostProbable(found[player]);
    } catch (error) {
      problem = error.message;
    }
    show(given, problem);
  }

  const mostProbable = (probabilities) =>
    round.queries.map((_, i) => {
      const own = probabilities.slice(5 * i, 5 * i + 5);
      return own.indexOf(Math.max(...own));
    });

  const rightOf = (given) => given.filter((symbol, i) => symbol === round.labels[i]).length;

  function show(given, problem) {
    const players = PLAYERS.filter((player) => given[player]), all = round.queries.length;
    const right = Object.fromEntries(players.map((player) => [player, rightOf(given[player])]));
    if (!problem) {
      const sums = PLAYERS.map((player) => [player, score[player] + right[player]]);
      keepScore({ rounds: score.rounds + 1, all: score.all + all, ...Object.fromEntries(sums) });
    }
    const cells = (i) => [
      make("th", { scope: "row" }, make("span", { className: "sort-number", textContent: i + 1 }), picture(round.queries[i], "sort-small")),
      make("td", {}, ...named(round.labels[i])),
      ...players.map((player) => cellOf(given[player][i], round.labels[i], player)),
    ];
    const rows = round.queries.map((_, i) => make("tr", {}, ...cells(i)));
    const head = ["query", "truth", ...players].map((key) => make("th", { scope: "col", textContent: say(key) }));
    const sums = players.map((player) => make("td", { data: { player }, textContent: say("outOf", { right: right[player], all }) }));
    const next = button(say("next"), play, { className: "sort-next" });
    const total = make("p", { className: "sort-total" });
    const clear = button(say("clear"), () => {
      keepScore({ ...NO_SCORE });
      total.textContent = say("cleared");
      clear.disabled = true;
      next.focus();
    }, { className: "sort-clear", disabled: !score.rounds });
    total.textContent = totalOf();
    place.replaceChildren(
      make(
        "table", { className: "sort-results" },
        make("caption", { textContent: say("caption", { seed: round.seed }) }),
        make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows),
        make("tfoot", {}, make("tr", {}, make("th", { scope: "row", colSpan: 2, textContent: say("sum") }), ...sums)),
      ),
      total,
      hint(`${say("average", AVERAGE)} ${say(isKept ? "kept" : "notKept")}`),
      make("div", { className: "parts-controls" }, next, clear),
    );
    root.dataset.state = "shown";
    root.removeAttribute("tabindex");
    next.focus({ preventScroll: true });
    comeIntoView();
    const result = () =>
      tell(problem ? `${say("failed", { reason: problem })} ${say("resultAlone", { ...right, all })}` : say("result", { ...right, all }));
    if (problem || lessMotion()) return result();
    // The network's answers come one after the other, as the reader's did.
    tell(say("step"));
    const later = [...place.querySelectorAll("[data-player]:not([data-player=you])")];
    later.forEach((cell) => cell.classList.add("sort-later"));
    timers = [...rows, place.querySelector("tfoot")].map((row, i) =>
      setTimeout(() => {
        row.querySelectorAll(".sort-later").forEach((cell) => cell.classList.remove("sort-later"));
        if (row.tagName === "TFOOT") result();
      }, PAUSE * (i + 1)),
    );
  }

  const named = (symbol) => [picture(round.support[symbol], "sort-small"), make("span", { textContent: symbol + 1 })];

  function cellOf(symbol, label, player) {
    const verdict = symbol === label ? "right" : "wrong";
    return make(
      "td", { className: `sort-${verdict}`, data: { player, verdict } }, ...named(symbol),
      make("span", { className: "sort-mark", role: "img", textContent: symbol === label ? "✓" : "✗", aria: { label: say(verdict) } }),
    );
  }

  const totalOf = () => (score.rounds > 1 ? say("total", score) : score.rounds ? say("totalOfOne") : "");

  // ----------------------------------------------------------------------------------------------------------- start
  readScore();
  root.setAttribute("aria-label", say("region"));
  place.replaceChildren(
    make("p", { textContent: say("invitation") }),
    make("div", { className: "parts-controls" }, button(say("play"), play, { className: "sort-play" })),
    make("p", { className: "sort-total", textContent: score.rounds > 1 ? say("total", score) : "" }),
  );
  root.replaceChildren(message, place);
  root.dataset.state = "waiting";
})();
