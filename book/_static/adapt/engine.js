// What a worker or, where there is none, the page computes: one step for a support set, then answers (chapter 14).
(function (scope) {
  "use strict";
  const LEAST = 1e-9; // of a probability whose logarithm is taken
  let model, known;

  // `folder` is where the files lie.
  async function start(folder) {
    model = await metaSgd.start(folder);
    // The first run of anything is slow: do it before somebody waits for it.
    const blank = new Float32Array(2 * 784).map((_, i) => (i * 7 % 11) / 11);
    const task = { key: "warm-up", support: blank, labels: [0, 1], ways: 2, rate: 0.1 };
    run({ ...task, query: blank.slice(784), scale: 1 });
    known = undefined;
    return { backend: tf.getBackend(), header: model.header };
  }

  const pictures = (numbers) => tf.tensor4d(numbers, [numbers.length / 784, 28, 28, 1]);

  // Take the step for a support set, once: parameters and what is shown of them are kept until the next one.
  function adapt({ key, support, labels, ways, rate }) {
    if (known?.key === key && known.rate === rate) return known;
    if (known) tf.dispose(known.parameters);
    const kept = { key, rate, parameters: {}, loss: {}, moved: {} };
    tf.tidy(() => {
      const x = pictures(support), y = tf.tensor1d(labels, "int32");
      const { loss, gradient } = metaSgd.supportGradient(model.theta, x, y, ways);
      const single = Object.fromEntries(
        Object.entries(model.theta).map(([name, value]) => [name, tf.fill(value.shape, rate)]),
      );
      kept.loss.before = loss.dataSync()[0];
      for (const [name, rates] of Object.entries({ learned: model.alpha, scalar: single })) {
        const adapted = metaSgd.step(model.theta, rates, gradient);
        kept.loss[name] = metaSgd.supportLoss(adapted, x, y, ways).dataSync()[0];
        kept.moved[name] = moved(adapted);
        kept.parameters[name] = Object.fromEntries(
          Object.entries(adapted).map(([key, value]) => [key, tf.keep(value)]),
        );
      }
    });
    return (known = kept);
  }

  // How far each layer moved: the length of its change, of filters and linear weights alone.
  function moved(adapted) {
    const layers = Object.keys(model.theta).filter((name) => model.theta[name].rank > 1);
    return layers.map((name) => tf.norm(tf.sub(adapted[name], model.theta[name])).dataSync()[0]);
  }

  // Probabilities of each way to answer, and the cosines of a drawing with the class means; `scale` makes them logits.
  function answer({ parameters }, { support, labels, ways, query, scale }) {
    return tf.tidy(() => {
      const shares = (logits) => Array.from(tf.softmax(logits).dataSync());
      const x = pictures(support), y = tf.tensor1d(labels, "int32"), q = pictures(query);
      const cosines = metaSgd.cosinesWithMeans(model.theta, x, y, q, ways);
      const probabilities = { before: shares(metaSgd.logitsOf(model.theta, q, ways)) };
      for (const name of Object.keys(parameters))
        probabilities[name] = shares(metaSgd.logitsOf(parameters[name], q, ways));
      probabilities.means = shares(tf.mul(cosines, scale));
      return { probabilities, cosines: Array.from(cosines.dataSync()) };
    });
  }

  // The losses after each part of the step that is asked for in `along`: of the examples, and of `named`, new drawings
  // with the labels that the reader gave them, each counting the same.
  function lossesAlong({ parameters }, { support, labels, ways, along, named }) {
    const losses = {};
    for (const [name, adapted] of Object.entries(parameters)) {
      losses[name] = along.map((t) => tf.tidy(() => {
        const there = metaSgd.partOfStep(model.theta, adapted, t);
        const own = metaSgd.supportLoss(there, pictures(support), tf.tensor1d(labels, "int32"), ways).dataSync()[0];
        if (!named?.labels.length) return { t, support: own };
        const shares = tf.softmax(metaSgd.logitsOf(there, pictures(named.pictures), ways)).dataSync();
        const terms = named.labels.map((label, i) => -Math.log(Math.max(LEAST, shares[i * ways + label])));
        return { t, support: own, query: terms.reduce((sum, term) => sum + term, 0) / terms.length };
      }));
    }
    return losses;
  }

  function run(request) {
    const started = performance.now();
    const adapted = adapt(request);
    const result = { loss: adapted.loss, moved: adapted.moved, backend: tf.getBackend() };
    if (request.query) Object.assign(result, answer(adapted, request));
    if (request.along) result.along = lossesAlong(adapted, request);
    return { ...result, milliseconds: performance.now() - started };
  }

  scope.metaSgdEngine = { start, run };
})(typeof self === "undefined" ? globalThis : self);
