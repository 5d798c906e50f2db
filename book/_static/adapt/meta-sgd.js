// One Meta-SGD step in the browser: the network, its loss, its gradient and the step (chapter 14).
// It runs in a worker (worker.js) or, where there is none, in the page. `tf` is TensorFlow.js.
(function (scope) {
  "use strict";
  const EPSILON = 1e-5; // of the normalisation, as in PyTorch
  let groups = 1; // of channels that are normalised together; the weights file says how many

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

  // A 3 x 3 convolution with stride 2. Its gradient in the filter is a convolution too, so that every backend has it.
  const padded = (x) => tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]);
  const convolve = tf.customGrad((x, filter, save) => {
    save([x, filter]);
    const gradFunc = (dy, [x, filter]) => {
      const [batch, , , channels] = x.shape;
      const seen = [batch, 2 * dy.shape[1] + 1, 2 * dy.shape[2] + 1, channels]; // what filters saw of the padded picture
      const dx = tf.slice(tf.conv2dTranspose(dy, filter, seen, 2, "valid"), [0, 1, 1, 0], x.shape);
      const pictures = tf.transpose(tf.slice(padded(x), [0, 0, 0, 0], seen), [3, 1, 2, 0]);
      const slopes = tf.transpose(dy, [1, 2, 0, 3]);
      const df = tf.transpose(tf.conv2d(pictures, slopes, 1, "valid", "NHWC", 2), [1, 2, 0, 3]);
      return [dx, df];
    };
    return { value: tf.conv2d(padded(x), filter, 2, "valid"), gradFunc };
  });

  // Bring each picture's features to mean 0 and variance 1, group of channels by group; then weight and bias.
  function normalise(x, weight, bias) {
    const [batch, height, width, channels] = x.shape;
    const grouped = tf.reshape(x, [batch, height * width, groups, channels / groups]);
    const centred = tf.sub(grouped, tf.mean(grouped, [1, 3], true));
    const variance = tf.mean(tf.square(centred), [1, 3], true);
    const normal = tf.reshape(tf.mul(centred, tf.rsqrt(tf.add(variance, EPSILON))), x.shape);
    return tf.add(tf.mul(normal, weight), bias);
  }

  // The network: four blocks of three modules and a linear layer. `p` holds parameters by their names in PyTorch.
  function network(p, x) {
    for (let i = 0; i < 12; i += 3) {
      x = tf.add(convolve(x, p[`${i}.weight`]), p[`${i}.bias`]);
      x = tf.relu(normalise(x, p[`${i + 1}.weight`], p[`${i + 1}.bias`]));
    }
    const features = tf.reshape(tf.transpose(x, [0, 3, 1, 2]), [x.shape[0], -1]); // in PyTorch's order
    return tf.add(tf.matMul(features, p["13.weight"]), p["13.bias"]);
  }

  // Scores of the first `ways` classes; the network has five.
  const logitsOf = (p, x, ways) => tf.slice(network(p, x), [0, 0], [x.shape[0], ways]);

  const supportLoss = (p, x, labels, ways) =>
    tf.losses.softmaxCrossEntropy(tf.oneHot(labels, ways), logitsOf(p, x, ways));

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

  scope.metaSgd = { readWeights, logitsOf, supportLoss, supportGradient, step };
})(typeof self === "undefined" ? globalThis : self);
