// The worker: the page stays smooth while this computes.
"use strict";
importScripts("tf.min.js", "tf-backend-wasm.min.js", "weights.js", "meta-sgd.js", "engine.js", "../shared/compute.js");
metaSgdCompute.serve(metaSgdEngine.start(new URL("./", self.location.href).href), metaSgdEngine.run);
