// Where the book's interactive elements compute: in a worker if the browser allows one (not for pages opened from
// disk), else in the page.
(function (scope) {
  "use strict";

  // Start a worker, which says { ready: info } or { failed }, and answers a message that has a number by one with the
  // same number and the result, or an error. Promises { info, run }, where run(request) promises the result.
  function startWorker(address) {
    return new Promise((resolve, reject) => {
      const worker = new Worker(address), waiting = new Map();
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

  // Promise { info, run } from the worker or, where there is none, from the same scripts in the page. `begin` starts
  // these once they are loaded, and returns or promises what the worker says as `info`; `run` answers a request.
  async function start({ worker, scripts, begin, run }) {
    if (location.protocol !== "file:") {
      try {
        return await startWorker(worker);
      } catch {
        // for example a browser that forbids workers here
      }
    }
    for (const address of scripts) await metaSgdParts.load(address);
    const info = await begin();
    return { info, run: async (request) => run(request) };
  }

  // In a worker: say that it is ready once `started` is, a promise of info, and answer messages by run(request).
  function serve(started, run) {
    started.then(
      (info) => self.postMessage({ ready: info }),
      (error) => self.postMessage({ failed: String(error) }),
    );
    self.onmessage = async ({ data }) => {
      await started;
      try {
        self.postMessage({ number: data.number, result: run(data) });
      } catch (error) {
        self.postMessage({ number: data.number, error: String(error) });
      }
    };
  }

  scope.metaSgdCompute = { start, serve };
})(typeof self === "undefined" ? globalThis : self);
