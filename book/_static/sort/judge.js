// What the network answers in a round of the game of chapter 1, after one step on the five examples: as it was
// meta-trained, and with a random start in place of the learned one. In a worker, or in the page where there is none.
(function (scope) {
  "use strict";
  const WAYS = 5;
  let model;

  // `folder` is where chapter 14 has its network, whose files have been loaded already.
  async function start(folder) {
    model = await metaSgd.start(folder);
    return { backend: tf.getBackend() };
  }

  // A start as before meta-training: random convolutions, and a last layer of zeros. From there only the last layer has
  // a gradient, so any rate gives the same answers.
  function untrained(seed) {
    const { next } = metaSgdRounds.randomNumbers(seed);
    return Object.fromEntries(
      Object.entries(model.theta).map(([name, { shape }]) => {
        const isScale = shape.length === 1 && name.endsWith("weight"), isLast = name.startsWith("13.");
        if (isScale || isLast) return [name, tf.fill(shape, isScale ? 1 : 0)];
        if (shape.length === 1) return [name, tf.zeros(shape)];
        const size = shape.reduce((product, side) => product * side, 1);
        const bound = 1 / Math.sqrt(size / shape.at(-1)); // as PyTorch draws them: by the inputs of a filter
        return [name, tf.tensor(Float32Array.from({ length: size }, () => bound * (2 * next() - 1)), shape)];
      }),
    );
  }

  const pictures = (numbers) => tf.tensor4d(numbers, [numbers.length / 784, 28, 28, 1]);

  // Take one step from a start on the examples, and return the probabilities of the queries, five for each.
  function sorted(theta, rates, { support, query }) {
    const x = pictures(support), y = tf.tensor1d([...Array(WAYS).keys()], "int32");
    const { gradient } = metaSgd.supportGradient(theta, x, y, WAYS);
    const adapted = metaSgd.step(theta, rates, gradient);
    return Array.from(tf.softmax(metaSgd.logitsOf(adapted, pictures(query), WAYS)).dataSync());
  }

  function run(request) {
    const learned = tf.tidy(() => sorted(model.theta, model.alpha, request));
    const random = tf.tidy(() => {
      const theta = untrained(request.seed);
      const ones = Object.fromEntries(Object.entries(theta).map(([name, value]) => [name, tf.onesLike(value)]));
      return sorted(theta, ones, request);
    });
    return { learned, random };
  }

  scope.metaSgdJudge = { start, run, untrained };
})(typeof self === "undefined" ? globalThis : self);
