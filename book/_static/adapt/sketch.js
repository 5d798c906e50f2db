// From strokes to a picture as the network was trained on: 28 x 28 pixels, the ink scaled to fit 20, its centre of mass
// in the middle, drawn with one soft pen. The same steps as metasgd/tasks/strokes.py (chapter 14).
(function (scope) {
  "use strict";
  const SIDE = 28;
  const BOX = 20; // pixels that the longer side of the ink fills
  const MEASURED_AT = 1; // half the width of the pen that box and centre are measured with
  const PEN = 1.1; // half the width of the ink, in pixels, and the width of its edge: the middle of training's ranges
  const SOFTNESS = 1.3;

  // Strokes are lists of points [x, y] in any unit. A point that was only touched is a line of no length.
  function segments(strokes) {
    const found = [];
    for (const stroke of strokes) {
      for (let i = 1; i < stroke.length; i++) found.push([...stroke[i - 1], ...stroke[i]]);
      if (stroke.length === 1) found.push([...stroke[0], ...stroke[0]]);
    }
    return found;
  }

  function distance(px, py, [x, y, toX, toY]) {
    const dx = toX - x, dy = toY - y, length = dx * dx + dy * dy;
    const along = length ? Math.min(1, Math.max(0, ((px - x) * dx + (py - y) * dy) / length)) : 0;
    return Math.hypot(px - x - along * dx, py - y - along * dy);
  }

  // Distance of every pixel's centre, counted from the middle of the picture, to the nearest line.
  function distances(lines) {
    const field = new Float32Array(SIDE * SIDE);
    for (let i = 0; i < field.length; i++) {
      const px = (i % SIDE) - (SIDE - 1) / 2, py = Math.floor(i / SIDE) - (SIDE - 1) / 2;
      field[i] = lines.reduce((nearest, line) => Math.min(nearest, distance(px, py, line)), Infinity);
    }
    return field;
  }

  // Returns 784 numbers in 0..1, or null where nothing is drawn.
  function toPicture(strokes) {
    let lines = segments(strokes);
    if (!lines.length) return null;
    const xs = lines.flatMap(([x, , toX]) => [x, toX]), ys = lines.flatMap(([, y, , toY]) => [y, toY]);
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const side = Math.max(right - left, bottom - top);
    const scale = side > 0 ? (BOX - 2 * MEASURED_AT) / side : 1;
    const moved = (byX, byY, times) =>
      lines.map(([x, y, toX, toY]) => [(x - byX) * times, (y - byY) * times, (toX - byX) * times, (toY - byY) * times]);
    lines = moved((left + right) / 2, (top + bottom) / 2, scale);
    let mass = 0, x = 0, y = 0;
    distances(lines).forEach((far, i) => {
      if (far > MEASURED_AT) return;
      mass += 1;
      x += (i % SIDE) - (SIDE - 1) / 2;
      y += Math.floor(i / SIDE) - (SIDE - 1) / 2;
    });
    lines = moved(x / Math.max(mass, 1), y / Math.max(mass, 1), 1);
    return distances(lines).map((far) => Math.min(1, Math.max(0, (PEN - far) / SOFTNESS + 0.5)));
  }

  scope.metaSgdSketch = { SIDE, toPicture };
})(typeof self === "undefined" ? globalThis : self);
