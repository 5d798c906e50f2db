// What a worker or, where there is none, the page computes: one step for a support set, then predictions (chapter 14).
(function (scope) {
  "use strict";
  const BACKENDS = ["wasm", "cpu"]; // the fastest first; for a network as small as this, WebGL gains nothing
  let model, known, rates;

  // Decode the weights that weights.js holds, and choose a backend. `folder` is where the files lie.
  async function start(folder) {
    const fromDisk = folder.startsWith("file:"); // from where WebAssembly cannot be loaded
    tf.wasm.setWasmPaths(folder);
    for (const name of BACKENDS.filter((name) => name !== "wasm" || !fromDisk)) {
      if (await tf.setBackend(name).catch(() => false)) break;
    }
    await tf.ready();
    const bytes = Uint8Array.from(atob(scope.metaSgdWeights), (letter) => letter.charCodeAt(0));
    model = metaSgd.readWeights(bytes.buffer);
    rates = {
      learned: model.alpha,
      scalar: Object.fromEntries(
        Object.entries(model.theta).map(([name, value]) => [name, tf.fill(value.shape, model.header.scalar_rate)]),
      ),
    };
    // The first run of anything is slow: do it before somebody waits for it.
    const blank = new Float32Array(2 * 784).map((_, i) => (i * 7 % 11) / 11);
    run({ key: "warm-up", support: blank, labels: [0, 1], ways: 2, query: blank.slice(784) });
    known = undefined;
    return { backend: tf.getBackend(), header: model.header };
  }

  const pictures = (numbers) => tf.tensor4d(numbers, [numbers.length / 784, 28, 28, 1]);

  // Take the step for a support set, once: parameters and what is shown of them are kept until the next one.
  function adapt({ key, support, labels, ways }) {
    if (known?.key === key) return known;
    if (known) tf.dispose(known.parameters);
    const kept = { key, parameters: {}, loss: {}, moved: {} };
    tf.tidy(() => {
      const x = pictures(support), y = tf.tensor1d(labels, "int32");
      const { loss, gradient } = metaSgd.supportGradient(model.theta, x, y, ways);
      kept.loss.before = loss.dataSync()[0];
      for (const [name, rate] of Object.entries(rates)) {
        const adapted = metaSgd.step(model.theta, rate, gradient);
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

  function run(request) {
    const started = performance.now();
    const { parameters, loss, moved } = adapt(request);
    const result = { loss, moved, backend: tf.getBackend() };
    if (request.query) {
      const probabilities = (p) =>
        Array.from(tf.tidy(() => tf.softmax(metaSgd.logitsOf(p, pictures(request.query), request.ways)).dataSync()));
      result.probabilities = { before: probabilities(model.theta) };
      for (const name of Object.keys(parameters)) result.probabilities[name] = probabilities(parameters[name]);
    }
    return { ...result, milliseconds: performance.now() - started };
  }

  scope.metaSgdEngine = { start, run };
})(typeof self === "undefined" ? globalThis : self);
