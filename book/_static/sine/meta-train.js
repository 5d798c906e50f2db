"use strict";
// Meta-training on sine waves (chapter 6) in plain JavaScript: the network, the exact meta-gradient and Adam, for
// Meta-SGD and for MAML, whose alpha stays as it is. Everything is in this one function, whose text the page also gives
// to a worker. `Numbers` is Float32Array or Float64Array: what the numbers are kept in.
function metaSgdSine(Numbers = Float64Array) {
  const H = 40; // units of a hidden layer
  // Where each tensor of 1-40-40-1 begins among all parameters, in PyTorch's order; weights are kept as (out, in).
  const W1 = 0, B1 = W1 + H, W2 = B1 + H, B2 = W2 + H * H, W3 = B2 + H, B3 = W3 + H, SIZE = B3 + 1;
  const LAYERS = [["weight", 1, W1, B1], ["bias", 1, B1, W2], ["weight", 2, W2, B2], ["bias", 2, B2, W3], ["weight", 3, W3, B3], ["bias", 3, B3, SIZE]];
  const RECIPE = { meta_batch: 25, train_queries: 10, task_lr: 0.02, meta_lr: 0.02, clip: 1, warmup: 0.1, iterations: 2000 };
  const relu = (z) => (z > 0 ? z : 0);

  // C = A B, or C + A B, for matrices that lie in arrays from the places c, a, b on. B and C have rows of H numbers; A
  // has a stride for its rows and one for its columns, so that it can be read transposed. About half of it is zero, as
  // ReLUs are: the other factors of a row are listed first. Then ten sums stay in registers at a time.
  let factors = new Numbers(H), places = new Int32Array(H);
  function multiply(C, c, A, a, aRow, aColumn, B, b, rows, inner, add) {
    if (inner > places.length) [factors, places] = [new Numbers(inner), new Int32Array(inner)];
    const factor = factors, place = places;
    for (let row = 0; row < rows; row++) {
      let count = 0;
      for (let k = 0, i = a + row * aRow; k < inner; k++, i += aColumn) {
        factor[count] = A[i]; place[count] = b + k * H;
        count += A[i] !== 0 ? 1 : 0; // without a branch, which could not be foreseen
      }
      for (let m = c + row * H, column = 0; column < H; m += 10, column += 10) {
        let s0 = add ? C[m] : 0, s1 = add ? C[m + 1] : 0, s2 = add ? C[m + 2] : 0, s3 = add ? C[m + 3] : 0;
        let s4 = add ? C[m + 4] : 0, s5 = add ? C[m + 5] : 0, s6 = add ? C[m + 6] : 0;
        let s7 = add ? C[m + 7] : 0, s8 = add ? C[m + 8] : 0, s9 = add ? C[m + 9] : 0;
        for (let k = 0; k < count; k++) {
          const x = factor[k], j = place[k] + column;
          s0 += x * B[j]; s1 += x * B[j + 1]; s2 += x * B[j + 2]; s3 += x * B[j + 3]; s4 += x * B[j + 4];
          s5 += x * B[j + 5]; s6 += x * B[j + 6]; s7 += x * B[j + 7]; s8 += x * B[j + 8]; s9 += x * B[j + 9];
        }
        C[m] = s0; C[m + 1] = s1; C[m + 2] = s2; C[m + 3] = s3; C[m + 4] = s4;
        C[m + 5] = s5; C[m + 6] = s6; C[m + 7] = s7; C[m + 8] = s8; C[m + 9] = s9;
      }
    }
  }
  // For the rows of points from `first` on: Z = X W', X = D W, and the gradient D' X, with W among the parameters P.
  const turned = new Numbers(H * H);
  function ahead(Z, X, P, first, points, add) {
    for (let i = 0; i < H; i++) for (let j = 0; j < H; j++) turned[j * H + i] = P[W2 + i * H + j];
    multiply(Z, first * H, X, first * H, H, 1, turned, 0, points, H, add);
  }
  const back = (X, D, P, first, points, add) => multiply(X, first * H, D, first * H, H, 1, P, W2, points, H, add);
  const outer = (G, D, X, first, points, add) => multiply(G, W2, D, first * H, 1, H, X, first * H, H, points, add);

  // What passes through the network for a number of points: x, target y, output, slope (of the loss in the output),
  // both hidden layers h1, h2, and the slopes d1, d2 of the loss before their ReLUs.
  function pass(points) {
    const all = (names, size) => names.map((name) => [name, new Numbers(size)]);
    return Object.fromEntries([...all(["x", "y", "output", "slope"], points), ...all(["h1", "h2", "d1", "d2"], points * H)]);
  }

  function forward(P, s, first, points) {
    const { x, h1, h2, output } = s;
    for (let p = first; p < first + points; p++)
      for (let i = 0; i < H; i++) h1[p * H + i] = relu(P[W1 + i] * x[p] + P[B1 + i]);
    ahead(h2, h1, P, first, points, false);
    for (let p = first; p < first + points; p++) {
      let sum = P[B3];
      for (let i = 0; i < H; i++) sum += P[W3 + i] * (h2[p * H + i] = relu(h2[p * H + i] + P[B2 + i]));
      output[p] = sum;
    }
  }

  // The slopes of the mean squared error of each task, times `weight`; returns its sum over these points.
  function backward(P, s, first, points, weight) {
    const { y, output, slope, h1, h2, d1, d2 } = s;
    let squares = 0;
    for (let p = first; p < first + points; p++) {
      const error = output[p] - y[p];
      squares += error * error;
      slope[p] = 2 * weight * error;
      for (let i = 0; i < H; i++) d2[p * H + i] = h2[p * H + i] > 0 ? slope[p] * P[W3 + i] : 0;
    }
    back(d1, d2, P, first, points, false);
    for (let i = first * H; i < (first + points) * H; i++) if (h1[i] <= 0) d1[i] = 0;
    return squares * weight;
  }

  // The gradient of the parameters from some points.
  function gradient(G, s, first, points) {
    const { x, slope, h1, h2, d1, d2 } = s;
    G.fill(0, W1, W2).fill(0, B2);
    for (let p = first; p < first + points; p++) {
      G[B3] += slope[p];
      for (let i = 0, j = p * H; i < H; i++, j++) {
        G[W1 + i] += d1[j] * x[p];
        G[B1 + i] += d1[j];
        G[B2 + i] += d2[j];
        G[W3 + i] += slope[p] * h2[j];
      }
    }
    outer(G, d2, h1, first, points, false);
  }

  // Room for a batch of tasks: their support and query points, what becomes of them, and of one task its support
  // gradient g, its adapted parameters, the gradient v of the query loss there, and the direction alpha * v.
  function room(tasks, shots, queries) {
    const made = { tasks, shots, queries, support: pass(tasks * shots), query: pass(tasks * queries), dot: pass(tasks * shots) };
    for (const name of ["g", "adapted", "v", "direction", "gradTheta", "gradAlpha"]) made[name] = new Numbers(SIZE);
    return made;
  }

  // theta' = theta - alpha * g for task t, and the network's output there for its queries.
  function step({ theta, alpha }, r, t) {
    gradient(r.g, r.support, t * r.shots, r.shots);
    for (let i = 0; i < SIZE; i++) r.adapted[i] = theta[i] - alpha[i] * r.g[i];
    forward(r.adapted, r.query, t * r.queries, r.queries);
  }

  // One step on each task's support set; then `r.query.output` is what is predicted of its queries. Returns the mean
  // squared error of each task. With no support points nothing is learned.
  function adapt(learner, r) {
    forward(learner.theta, r.support, 0, r.tasks * r.shots);
    backward(learner.theta, r.support, 0, r.tasks * r.shots, 1 / r.shots);
    return Array.from({ length: r.tasks }, (_, t) => {
      step(learner, r, t);
      const { output, y } = r.query;
      let squares = 0;
      for (let p = t * r.queries; p < (t + 1) * r.queries; p++) squares += (output[p] - y[p]) ** 2;
      return squares / r.queries;
    });
  }

  // The mean query loss of the tasks after one step, and its gradients in theta and alpha, exact:
  //   in alpha: -v * g,   in theta: v - H (alpha * v),   with H the Hessian of the support loss (chapter 3).
  // H times a direction is the derivative of the support gradient along it: the same pass, differentiated (`dot`).
  function metaGradient(learner, r) {
    const { theta, alpha } = learner, { tasks, shots, queries, support: s, query: q, dot, g, v, direction: u, gradTheta, gradAlpha } = r;
    const all = tasks * shots, mean = 1 / (tasks * queries);
    for (const sum of [gradTheta, gradAlpha]) sum.fill(0);
    forward(theta, s, 0, all);
    backward(theta, s, 0, all, 1 / shots);
    let loss = 0;
    for (let t = 0; t < tasks; t++) {
      step(learner, r, t);
      loss += backward(r.adapted, q, t * queries, queries, mean);
      gradient(v, q, t * queries, queries);
      for (let i = 0; i < SIZE; i++) {
        gradAlpha[i] -= v[i] * g[i];
        gradTheta[i] += v[i];
        u[i] = alpha[i] * v[i];
      }
      // What the direction, which each task has for itself, adds along the pass.
      const first = t * shots;
      ahead(dot.h2, s.h1, u, first, shots, false);
      back(dot.d1, s.d2, u, first, shots, false);
      for (let p = first; p < first + shots; p++) {
        let sum = u[B3];
        for (let i = 0, j = p * H; i < H; i++, j++) {
          dot.h1[j] = s.h1[j] > 0 ? u[W1 + i] * s.x[p] + u[B1 + i] : 0;
          dot.h2[j] += u[B2 + i];
          dot.d2[j] = s.slope[p] * u[W3 + i];
          sum += u[W3 + i] * s.h2[j];
        }
        dot.output[p] = sum;
      }
    }
    // The rest of the derivative has the same weights for all tasks.
    ahead(dot.h2, dot.h1, theta, 0, all, true);
    for (let p = 0; p < all; p++) {
      let sum = dot.output[p];
      for (let i = 0, j = p * H; i < H; i++, j++) sum += theta[W3 + i] * (dot.h2[j] = s.h2[j] > 0 ? dot.h2[j] : 0);
      dot.slope[p] = (2 / shots) * sum;
      for (let i = 0, j = p * H; i < H; i++, j++) dot.d2[j] = s.h2[j] > 0 ? dot.d2[j] + dot.slope[p] * theta[W3 + i] : 0;
    }
    back(dot.d1, dot.d2, theta, 0, all, true);
    u.fill(0); // from here on H (alpha * v)
    for (let p = 0; p < all; p++) {
      u[B3] += dot.slope[p];
      for (let i = 0, j = p * H; i < H; i++, j++) {
        const d1 = s.h1[j] > 0 ? dot.d1[j] : 0;
        u[W1 + i] += d1 * s.x[p];
        u[B1 + i] += d1;
        u[B2 + i] += dot.d2[j];
        u[W3 + i] += dot.slope[p] * s.h2[j] + s.slope[p] * dot.h2[j];
      }
    }
    outer(u, dot.d2, s.h1, 0, all, false);
    outer(u, s.d2, dot.h1, 0, all, true);
    for (let i = 0; i < SIZE; i++) gradTheta[i] -= u[i];
    return loss;
  }

  // A learner at its start; MAML's does not learn alpha. `theta` is copied.
  function learner(method, theta) {
    const zeros = () => new Numbers(SIZE), moments = { theta1: zeros(), theta2: zeros(), alpha1: zeros(), alpha2: zeros() };
    const own = { theta: Numbers.from(theta), alpha: zeros().fill(RECIPE.task_lr), updates: 0 };
    return { ...own, ...moments, learnsAlpha: method === "meta-sgd" };
  }

  // A meta-update on the tasks in `r`: Adam, with a meta-gradient that is longer than `clip` shortened. Returns the loss.
  function metaUpdate(learner, r, rate) {
    const loss = metaGradient(learner, r), { gradTheta, gradAlpha } = r;
    let squares = 0;
    for (let i = 0; i < SIZE; i++) squares += gradTheta[i] ** 2 + (learner.learnsAlpha ? gradAlpha[i] ** 2 : 0);
    const scale = Math.min(1, RECIPE.clip / (Math.sqrt(squares) + 1e-6));
    learner.updates++;
    adam(learner.theta, gradTheta, learner.theta1, learner.theta2, scale, rate, learner.updates);
    if (learner.learnsAlpha) adam(learner.alpha, gradAlpha, learner.alpha1, learner.alpha2, scale, rate, learner.updates);
    return loss;
  }

  function adam(values, gradient, first, second, scale, rate, updates) {
    const beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
    const size = rate / (1 - beta1 ** updates), correction = Math.sqrt(1 - beta2 ** updates);
    for (let i = 0; i < SIZE; i++) {
      const slope = scale * gradient[i];
      first[i] += (1 - beta1) * (slope - first[i]);
      second[i] = beta2 * second[i] + (1 - beta2) * slope * slope;
      values[i] -= (size * first[i]) / (Math.sqrt(second[i]) / correction + epsilon);
    }
  }

  // Uniform numbers in [0, 1) from a seed (mulberry32).
  function uniform(seed) {
    let state = seed;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  // A network's start, as PyTorch draws it: uniform within 1 / sqrt(inputs of the layer).
  const start = (random) => Numbers.from({ length: SIZE }, (_, i) => (2 * random() - 1) * (i < W2 ? 1 : 1 / Math.sqrt(H)));

  // A curve y = amplitude * sin(frequency * x + phase), drawn as in the chapter.
  const curve = (random) => ({ amplitude: 0.1 + 4.9 * random(), frequency: 0.8 + 0.4 * random(), phase: Math.PI * random() });
  const height = ({ amplitude, frequency, phase }, x) => amplitude * Math.sin(frequency * x + phase);

  // Draw new curves and points into the room of a batch.
  function draw(r, random) {
    for (let t = 0; t < r.tasks; t++) {
      const drawn = curve(random);
      for (const [part, count] of [[r.support, r.shots], [r.query, r.queries]])
        for (let p = t * count; p < (t + 1) * count; p++) part.y[p] = height(drawn, (part.x[p] = 10 * random() - 5));
    }
  }

  // The factor of the outer rate after a fraction of the run: up along a line, then down to zero.
  const schedule = (part) => (part < RECIPE.warmup ? part / RECIPE.warmup : (1 - part) / (1 - RECIPE.warmup));

  return { SIZE, LAYERS, RECIPE, room, adapt, metaGradient, learner, metaUpdate, uniform, start, curve, height, draw, schedule };
}
