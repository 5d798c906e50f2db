"use strict";
// A run of chapter 6's page: both methods in turn, from the same start, on the same curves. Everything is in this one
// function, whose text the page also gives to a worker. `tell` gets a report now and then, and `slice` is for how many
// milliseconds it computes before it looks for messages.
function metaSgdSineTraining(sine, tell, slice) {
  const METHODS = ["maml", "meta-sgd"];
  const { RECIPE } = sine;
  const REPORT_EVERY = 100; // milliseconds
  const TEST_EVERY = 250; // meta-updates
  const TEST = { batches: 8, tasks: 25, queries: 100, seed: 1_000_000 }; // 200 new curves
  let learners, random, batch, test, run, done, losses, errors, running = false, spent, reported, loop = 0;

  function begin(asked) {
    run = asked;
    const start = sine.start(sine.uniform(2 * run.seed));
    learners = Object.fromEntries(METHODS.map((method) => [method, sine.learner(method, start)]));
    random = sine.uniform(2 * run.seed + 1);
    batch = sine.room(RECIPE.meta_batch, run.shots, RECIPE.train_queries);
    test = sine.room(TEST.tasks, run.shots, TEST.queries);
    [done, spent, reported] = [0, 0, 0];
    measure();
    clear();
  }

  const clear = () => (losses = Object.fromEntries(METHODS.map((method) => [method, []])));

  // The error of each method after one step on new curves, the same ones each time.
  function measure() {
    const curves = sine.uniform(TEST.seed), sums = Object.fromEntries(METHODS.map((method) => [method, 0]));
    for (let i = 0; i < TEST.batches; i++) {
      sine.draw(test, curves);
      for (const method of METHODS) for (const error of sine.adapt(learners[method], test)) sums[method] += error;
    }
    errors = Object.fromEntries(METHODS.map((method) => [method, sums[method] / (TEST.batches * TEST.tasks)]));
  }

  function update() {
    sine.draw(batch, random);
    const factor = sine.schedule(done / RECIPE.iterations);
    for (const method of METHODS)
      losses[method].push(sine.metaUpdate(learners[method], batch, factor * RECIPE.meta_lr));
    done++;
  }

  function report() {
    const copies = (name) => Object.fromEntries(METHODS.map((method) => [method, learners[method][name].slice()]));
    const perSecond = spent ? (1000 * done * METHODS.length) / spent : 0;
    tell({ run, done, running, perSecond, losses, errors, theta: copies("theta"), alpha: copies("alpha") });
    clear();
  }

  function work(own) {
    if (own !== loop || !running) return;
    const from = performance.now();
    let now = from;
    while (done < RECIPE.iterations && now < from + slice) {
      update();
      now = performance.now();
      if (done % TEST_EVERY === 0) measure();
    }
    spent += now - from; // without the last test
    if (done >= RECIPE.iterations) running = false;
    if (!running || now > reported + REPORT_EVERY) {
      reported = now;
      report();
    }
    if (running) setTimeout(work, 0, own);
  }

  // Begin the run that is asked for, or go on with it.
  function start(asked) {
    if (asked.number !== run?.number) begin(asked);
    else if (running || done >= RECIPE.iterations) return;
    running = true;
    report();
    work(++loop);
  }

  function pause() {
    if (!running) return;
    running = false;
    measure();
    report();
  }

  const stop = () => (running = false);

  return { start, pause, stop };
}
