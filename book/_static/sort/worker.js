// The worker: the page stays smooth while this computes. Each message is answered by one with the same number.
"use strict";
const adapt = new URL("../adapt/", self.location.href).href;
const network = ["tf.min.js", "tf-backend-wasm.min.js", "weights.js", "meta-sgd.js"].map((file) => adapt + file);
importScripts(...network, "rounds.js", "judge.js");
const ready = metaSgdJudge.start(adapt);
ready.then(
  (info) => self.postMessage({ ready: info }),
  (error) => self.postMessage({ failed: String(error) }),
);
self.onmessage = async ({ data }) => {
  await ready;
  try {
    self.postMessage({ number: data.number, result: metaSgdJudge.run(data) });
  } catch (error) {
    self.postMessage({ number: data.number, error: String(error) });
  }
};
