// The worker: the page stays smooth while this computes.
"use strict";
const adapt = new URL("../adapt/", self.location.href).href;
const network = ["tf.min.js", "tf-backend-wasm.min.js", "weights.js", "meta-sgd.js"].map((file) => adapt + file);
importScripts(...network, "rounds.js", "judge.js", "../shared/compute.js");
metaSgdCompute.serve(metaSgdJudge.start(adapt), metaSgdJudge.run);
