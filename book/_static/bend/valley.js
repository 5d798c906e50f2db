// The two-weight valley of chapter 2 in numbers: losses, one step, the meta-gradients of chapter 3, and the training of
// the chapter's nine lines. A task is { support, query }, the minima of its two losses. All tasks share the Hessian.
(function (scope) {
  "use strict";
  const HESSIAN = [[0.4, 0.2], [0.2, 5]];
  const START = { theta: [0, 0], alpha: [0.1, 0.1] }; // as in the nine lines
  const ROUNDS = 2000;
  const META_RATE = 0.05;

  const minus = (a, b) => [a[0] - b[0], a[1] - b[1]];
  const entrywise = (a, b) => [a[0] * b[0], a[1] * b[1]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
  const curved = (p) => HESSIAN.map((row) => dot(row, p)); // H p

  const loss = (theta, minimum) => dot(minus(theta, minimum), curved(minus(theta, minimum))) / 2;
  const gradient = (theta, minimum) => curved(minus(theta, minimum));

  // One step on the support loss, and what the query loss is after it: theta' = theta - alpha * g.
  function step(theta, alpha, { support, query }) {
    const g = gradient(theta, support), end = minus(theta, entrywise(alpha, g));
    return { g, end, loss: loss(end, query) };
  }

  // The query loss after the step, and its gradients in theta, v - H (alpha * v), and in alpha, -v * g.
  function metaGradients(theta, alpha, task) {
    const { g, end, loss } = step(theta, alpha, task), v = gradient(end, task.query);
    return { loss, theta: minus(v, curved(entrywise(alpha, v))), alpha: entrywise(v, g).map((one) => -one) };
  }

  // The mean of these over tasks.
  function meanMetaGradients(theta, alpha, tasks) {
    const mean = { loss: 0, theta: [0, 0], alpha: [0, 0] };
    for (const task of tasks) {
      const one = metaGradients(theta, alpha, task);
      mean.loss += one.loss / tasks.length;
      for (const name of ["theta", "alpha"]) for (const i of [0, 1]) mean[name][i] += one[name][i] / tasks.length;
    }
    return mean;
  }

  // Over alpha the mean query loss is a quadratic, with the Hessian H * E[g g'] and the slope -E[g * H (theta - w)] at
  // zero. Returns that Hessian, the best alpha and the loss there; null where several are best.
  function overRates(theta, tasks) {
    const hessian = [[0, 0], [0, 0]], slope = [0, 0];
    for (const task of tasks) {
      const g = gradient(theta, task.support), v = gradient(theta, task.query);
      for (const i of [0, 1]) {
        slope[i] += (g[i] * v[i]) / tasks.length;
        for (const j of [0, 1]) hessian[i][j] += (HESSIAN[i][j] * g[i] * g[j]) / tasks.length;
      }
    }
    const [[a, b], [, d]] = hessian, determinant = a * d - b * b;
    if (determinant < 1e-9) return null;
    const best = [(d * slope[0] - b * slope[1]) / determinant, (a * slope[1] - b * slope[0]) / determinant];
    return { hessian, best, loss: meanMetaGradients(theta, best, tasks).loss };
  }

  // Adam on theta and alpha, as in PyTorch. With oneRate, both entries of alpha are the same parameter.
  function training(start, tasks, oneRate) {
    const [B1, B2, EPSILON] = [0.9, 0.999, 1e-8];
    const rates = oneRate ? start.alpha.slice(0, 1) : start.alpha;
    const parameters = [...start.theta, ...rates], first = parameters.map(() => 0), second = parameters.map(() => 0);
    const run = {
      round: 0,
      get theta() { return parameters.slice(0, 2); },
      get alpha() { return oneRate ? [parameters[2], parameters[2]] : parameters.slice(2); },
      update() {
        const { theta, alpha } = meanMetaGradients(run.theta, run.alpha, tasks);
        const slopes = [...theta, ...(oneRate ? [alpha[0] + alpha[1]] : alpha)];
        run.round += 1;
        const [left1, left2] = [1 - B1 ** run.round, 1 - B2 ** run.round];
        slopes.forEach((slope, i) => {
          first[i] += (1 - B1) * (slope - first[i]);
          second[i] = B2 * second[i] + (1 - B2) * slope * slope;
          parameters[i] -= ((META_RATE / left1) * first[i]) / (Math.sqrt(second[i]) / Math.sqrt(left2) + EPSILON);
        });
      },
    };
    return run;
  }

  scope.metaSgdValley = {
    HESSIAN, START, ROUNDS, loss, gradient, step, metaGradients, meanMetaGradients, overRates, training,
  };
})(typeof self === "undefined" ? globalThis : self);
