// A pad to draw on, by mouse, finger, pen or keyboard (chapter 14).
(function (scope) {
  "use strict";
  const PEN = 0.045; // half the width of the line on a pad, in widths of the pad
  const STEP = 0.05; // of the keyboard's point
  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  // `holder` gives what a pad holds and is told what happens: contentOf(key), imageOf(content), begin(key, stroke),
  // grown(key), done(), clear(key), fill(key) and say(name of the words). Its `drawing` says whether a pointer draws.
  function makePad(key, label, kind, size, holder) {
    const canvas = metaSgdParts.make("canvas", {
      className: "adapt-pad", width: size, height: size, tabIndex: 0, data: { key }, role: "img",
      aria: { label, roledescription: kind, describedby: "adapt-keys" },
    });
    let stroke = null, cursor = null, pen = false;

    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    const begin = (point) => holder.begin(key, (stroke = [point]));
    const extend = (point) => {
      stroke.push(point);
      canvas.paint();
      holder.grown(key);
    };
    const lift = () => {
      pen = false;
      stroke = null;
    };

    canvas.onpointerdown = (event) => {
      if (event.button > 0) return;
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      metaSgdParts.capture(canvas, event.pointerId);
      holder.drawing = true;
      begin(place(event));
    };
    canvas.onpointermove = (event) => {
      if (!stroke || pen) return;
      for (const part of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) extend(place(part));
    };
    canvas.onpointerup = canvas.onpointercancel = canvas.onlostpointercapture = () => {
      if (!stroke || pen) return;
      stroke = null;
      holder.drawing = false;
      holder.done();
    };

    // The keyboard: arrows move a point, the space bar puts the pen down or lifts it.
    function press(name) {
      if (STEPS[name]) {
        const bounded = (value) => Math.min(1 - STEP, Math.max(STEP, value));
        cursor = (cursor ?? [0.5, 0.5]).map((value, i) => bounded(value + STEP * STEPS[name][i]));
        if (pen) extend(cursor);
      } else if (name === " ") {
        cursor ??= [0.5, 0.5];
        pen = !pen;
        if (pen) begin(cursor);
        else {
          stroke = null;
          holder.done();
        }
        holder.say(pen ? "penDown" : "penUp");
      } else if (name === "Delete" || name === "Backspace") {
        lift();
        holder.clear(key);
      } else if (name === "Enter") {
        lift();
        holder.fill(key);
      } else return false;
      return true;
    }
    canvas.onkeydown = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !press(event.key)) return;
      event.preventDefault();
      canvas.paint();
    };
    canvas.onblur = () => {
      if (pen) holder.done();
      lift();
      cursor = null;
      canvas.paint();
    };
    canvas.paint = () => paint(canvas, holder, cursor);
    canvas.paint();
    return canvas;
  }

  function paint(canvas, holder, cursor) {
    const context = canvas.getContext("2d"), size = canvas.width, content = holder.contentOf(canvas.dataset.key);
    context.clearRect(0, 0, size, size);
    paintContent(context, size, content, holder.imageOf(content));
    if (!cursor) return;
    context.strokeStyle = "#ffb000";
    context.lineWidth = 2;
    context.beginPath();
    context.arc(cursor[0] * size, cursor[1] * size, 0.05 * size, 0, 7);
    context.stroke();
  }

  // Draw what a pad holds, white, on the square of this size at the context's origin. `image` is that of a ready digit.
  function paintContent(context, size, { strokes }, image) {
    if (image) {
      const small = metaSgdParts.make("canvas", { width: 28, height: 28 });
      paintPixels(small, image);
      context.drawImage(small, 0, 0, size, size);
    }
    context.strokeStyle = context.fillStyle = "#fff";
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = 2 * PEN * size;
    for (const stroke of strokes) {
      context.beginPath();
      stroke.forEach(([x, y], i) => (i ? context.lineTo(x * size, y * size) : context.moveTo(x * size, y * size)));
      if (stroke.length === 1) context.lineTo(stroke[0][0] * size, stroke[0][1] * size);
      context.stroke();
    }
  }

  // Put 784 pixels in 0..1 on a canvas of 28 x 28, white with their value as opacity (null: nothing).
  function paintPixels(canvas, pixels) {
    const context = canvas.getContext("2d"), image = new ImageData(28, 28);
    pixels?.forEach((value, i) => image.data.set([255, 255, 255, 255 * value], 4 * i));
    context.putImageData(image, 0, 0);
  }

  scope.metaSgdPad = { makePad, paintContent, paintPixels };
})(typeof self === "undefined" ? globalThis : self);
