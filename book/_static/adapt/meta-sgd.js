// One Meta-SGD step in the browser: the network, its loss, its gradient and the step (chapter 14).
// It runs in a worker (worker.js) or, where there is none, in the page. `tf` is TensorFlow.js.
(function (scope) {
  "use strict";
  const BACKENDS = ["wasm", "cpu"]; // the fastest first; for a network as small as this, WebGL gains nothing
  const EPSILON = 1e-5; // of the normalisation, as in PyTorch
  let groups = 1; // of channels that are normalised together; the weights file says how many

  // Choose a backend, and decode the weights that weights.js holds. `folder` is where the files lie.
  async function start(folder) {
    const fromDisk = folder.startsWith("file:"); // from where WebAssembly cannot be loaded
    tf.wasm.setWasmPaths(folder);
    for (const name of BACKENDS.filter((name) => name !== "wasm" || !fromDisk)) {
      if (await tf.setBackend(name).catch(() => false)) break;
    }
    await tf.ready();
    const bytes = Uint8Array.from(atob(scope.metaSgdWeights), (letter) => letter.charCodeAt(0));
    return readWeights(bytes.buffer);
  }

  // The weights: 4 bytes with the header's length, the header as JSON, then float16 numbers, tensor after tensor.
  function readWeights(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    const numbers = new Uint16Array(buffer.slice(4 + length));
    const kinds = {};
    for (const { kind, name, shape, offset } of header.tensors) {
      const count = shape.reduce((product, size) => product * size, 1);
      const values = Float32Array.from(numbers.subarray(offset, offset + count), half);
      (kinds[kind] ??= {})[name] = tf.keep(asTensor(values, shape));
    }
    groups = header.groups;
    return { header, ...kinds };
  }

  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -14 * (fraction / 1024);
  }

  // PyTorch keeps filters as (out, in, height, width), TensorFlow.js as (height, width, in, out).
  const asTensor = (values, shape) => tf.tidy(() => {
    const tensor = tf.tensor(values, shape);
    return shape.length === 4 ? tf.transpose(tensor, [2, 3, 1, 0]) : shape.length === 2 ? tf.transpose(tensor) : tensor;
  });

  // A 3 x 3 convolution with stride 2 and a border of one pixel. Its gradient in the filter is a convolution, too, of
  // pictures with slopes: so every backend has it.
  const convolve = tf.customGrad((x, filter, save) => {
    save([x, filter]);
    const gradFunc = (dy, [x, filter]) => {
      const dx = tf.conv2dTranspose(dy, filter, x.shape, 2, 1);
      // Of the border below and to the right, a picture with an even side shows filters nothing.
      const seen = [1, 2].map((axis) => [1, 2 * dy.shape[axis] - x.shape[axis]]);
      const border = [[0, 0], ...seen, [0, 0]];
      const pictures = tf.transpose(x, [3, 1, 2, 0]), slopes = tf.transpose(dy, [1, 2, 0, 3]);
      const df = tf.transpose(tf.conv2d(pictures, slopes, 1, border, "NHWC", 2), [1, 2, 0, 3]);
      return [dx, df];
    };
    return { value: tf.conv2d(x, filter, 2, 1), gradFunc };
  });

  // In plain JavaScript, TensorFlow.js sums and repeats numbers many times slower than it multiplies matrices. So what
  // follows sums and repeats by products with ones, which halves the time of a step there.
  const addToRows = (x, row) =>
    tf.add(x, tf.reshape(tf.matMul(tf.ones([x.size / row.size, 1]), tf.reshape(row, [1, -1])), x.shape));

  // Bring each picture's features to mean 0 and variance 1, group of channels by group; then weight and bias.
  function normalise(x, weight, bias) {
    const [examples, height, width, channels] = x.shape, places = height * width;
    const flat = tf.reshape(x, [examples, places, channels]);
    const share = groups / (channels * places), groupOf = (channel) => Math.floor((channel * groups) / channels);
    const averaging = tf.tensor2d(
      Float32Array.from({ length: channels * channels }, (_, i) =>
        groupOf(i % channels) === groupOf(Math.floor(i / channels)) ? share : 0),
      [channels, channels],
    );
    const mean = (values) =>
      tf.matMul(tf.reshape(tf.matMul(tf.ones([examples, 1, places]), values), [examples, channels]), averaging);
    const everywhere = (values) =>
      tf.matMul(tf.ones([examples, places, 1]), tf.reshape(values, [examples, 1, channels]));
    const centred = tf.sub(flat, everywhere(mean(flat)));
    const scale = tf.rsqrt(tf.add(mean(tf.mul(centred, centred)), EPSILON));
    const scaled = tf.mul(centred, everywhere(tf.mul(scale, weight)));
    return tf.reshape(addToRows(scaled, bias), x.shape);
  }

  // The network: four blocks of three modules, which give the features, and a linear layer. `p` holds parameters by
  // their names in PyTorch.
  function featuresOf(p, x) {
    for (let i = 0; i < 12; i += 3) {
      x = addToRows(convolve(x, p[`${i}.weight`]), p[`${i}.bias`]);
      x = tf.relu(normalise(x, p[`${i + 1}.weight`], p[`${i + 1}.bias`]));
    }
    return tf.reshape(tf.transpose(x, [0, 3, 1, 2]), [x.shape[0], -1]); // in PyTorch's order
  }
  const network = (p, x) => tf.add(tf.matMul(featuresOf(p, x), p["13.weight"]), p["13.bias"]);

  // Scores of the first `ways` classes; the network has five.
  const logitsOf = (p, x, ways) => tf.slice(network(p, x), [0, 0], [x.shape[0], ways]);

  // Cross-entropy in which every class counts alike, however many examples it has: meta-training knew even tasks only.
  function supportLoss(p, x, labels, ways) {
    const classes = tf.cast(tf.oneHot(labels, ways), "float32"); // WebAssembly knows whole numbers here only
    const share = tf.mul(tf.sum(classes, 0), ways / labels.size); // 1 where all classes have as many examples
    return tf.losses.softmaxCrossEntropy(classes, logitsOf(p, x, ways), tf.sum(tf.div(classes, share), 1));
  }

  // The loss on the support set, and its gradient in every parameter.
  function supportGradient(theta, x, labels, ways) {
    const names = Object.keys(theta);
    const named = (values) => Object.fromEntries(names.map((name, i) => [name, values[i]]));
    const loss = (...values) => supportLoss(named(values), x, labels, ways);
    const { value, grads } = tf.valueAndGrads(loss)(names.map((name) => theta[name]));
    return { loss: value, gradient: named(grads) };
  }

  // theta' = theta - alpha * gradient, entry by entry.
  function step(theta, alpha, gradient) {
    const adapted = {};
    for (const name of Object.keys(theta)) {
      adapted[name] = tf.sub(theta[name], tf.mul(alpha[name], gradient[name]));
    }
    return adapted;
  }

  // The part t of a step: theta + t (theta' - theta). All of it is 1, and 2 is twice as far.
  function partOfStep(theta, adapted, t) {
    return Object.fromEntries(
      Object.entries(theta).map(([name, value]) => [name, tf.add(value, tf.mul(tf.sub(adapted[name], value), t))]),
    );
  }

  // The cosine of each query's features with the mean of each class's: no step is taken, nothing is trained.
  function cosinesWithMeans(p, x, labels, query, ways) {
    const unit = (rows) => tf.div(rows, tf.add(tf.sqrt(tf.sum(tf.mul(rows, rows), 1, true)), 1e-12));
    const members = tf.cast(tf.oneHot(labels, ways), "float32");
    const sums = tf.matMul(members, featuresOf(p, x), true); // a sum points where the mean points
    return tf.matMul(unit(featuresOf(p, query)), unit(sums), false, true);
  }

  scope.metaSgd = {
    start, readWeights, featuresOf, logitsOf, supportLoss, supportGradient, step, partOfStep, cosinesWithMeans,
  };
})(typeof self === "undefined" ? globalThis : self);
