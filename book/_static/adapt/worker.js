// The worker: the page stays smooth while this computes. Each message is answered by one with the same number.
"use strict";
importScripts("tf.min.js", "tf-backend-wasm.min.js", "weights.js", "meta-sgd.js", "engine.js");
const ready = metaSgdEngine.start(new URL("./", self.location.href).href);
ready.then(
  (model) => self.postMessage({ ready: model }),
  (error) => self.postMessage({ failed: String(error) }),
);
self.onmessage = async ({ data }) => {
  await ready;
  try {
    self.postMessage({ number: data.number, result: metaSgdEngine.run(data) });
  } catch (error) {
    self.postMessage({ number: data.number, error: String(error) });
  }
};
