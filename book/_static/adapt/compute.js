// Where chapter 14's numbers come from: engine.js in a worker if the browser allows one, else in the page.
(function (scope) {
  "use strict";
  const ENGINE = ["tf.min.js", "tf-backend-wasm.min.js", "weights.js", "meta-sgd.js", "engine.js"];

  // Both return { info, run }: run(request) promises the answer.
  function inWorker(folder) {
    return new Promise((resolve, reject) => {
      const worker = new Worker(folder + "worker.js");
      const waiting = new Map();
      let count = 0;
      const run = (request) =>
        new Promise((answer, refuse) => {
          waiting.set(++count, { answer, refuse });
          worker.postMessage({ ...request, number: count });
        });
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message || "no worker"));
      };
      worker.onmessage = ({ data }) => {
        if (data.ready) return resolve({ info: data.ready, run });
        if (data.failed) return reject(new Error(data.failed));
        const { answer, refuse } = waiting.get(data.number);
        waiting.delete(data.number);
        if (data.error) refuse(new Error(data.error));
        else answer(data.result);
      };
    });
  }

  async function inPage(folder) {
    for (const file of ENGINE) await metaSgdParts.load(folder + file);
    const info = await metaSgdEngine.start(folder);
    return { info, run: async (request) => metaSgdEngine.run(request) };
  }

  async function start(folder) {
    if (location.protocol !== "file:") {
      try {
        return await inWorker(folder);
      } catch {
        // for example a browser that forbids workers here
      }
    }
    return inPage(folder);
  }

  scope.metaSgdCompute = { start };
})(typeof self === "undefined" ? globalThis : self);
