// Drawings as a short text, for the address of the page, and back (chapter 14). Strokes are thinned to the points that
// matter, a point takes two bytes, and bytes are written as letters, digits, "-" and "_".
(function (scope) {
  "use strict";
  const VERSION = "1";
  const LOW = -0.25, SPAN = 1.5; // a pen may leave the pad: places from -0.25 to 1.25 are kept, in 255 parts
  const NEAR = 0.006; // in widths of the pad: a point this close to the line without it is left out
  const LONGEST = 255; // points of a stroke; a longer one goes on as another stroke
  const DIGIT = 255; // in the place of a number of strokes: a ready digit follows

  function farthest(points, from, to) {
    const [[x, y], [toX, toY]] = [points[from], points[to]];
    const dx = toX - x, dy = toY - y, length = dx * dx + dy * dy;
    let best = { distance: 0, place: from };
    for (let i = from + 1; i < to; i++) {
      const [px, py] = points[i];
      const along = length ? Math.min(1, Math.max(0, ((px - x) * dx + (py - y) * dy) / length)) : 0;
      const distance = Math.hypot(px - x - along * dx, py - y - along * dy);
      if (distance > best.distance) best = { distance, place: i };
    }
    return best;
  }

  // The points without which the line would be another one (Ramer, Douglas and Peucker).
  function thinned(points, from = 0, to = points.length - 1) {
    if (to <= from) return [points[from]];
    const { distance, place } = farthest(points, from, to);
    if (distance <= NEAR) return [points[from], points[to]];
    return [...thinned(points, from, place).slice(0, -1), ...thinned(points, place, to)];
  }

  function pieces(points) {
    const found = [];
    for (let i = 0; i === 0 || i < points.length - 1; i += LONGEST - 1) found.push(points.slice(i, i + LONGEST));
    return found;
  }

  const toByte = (value) => Math.round(Math.min(1, Math.max(0, (value - LOW) / SPAN)) * 255);
  const fromByte = (byte) => LOW + (byte / 255) * SPAN;

  // `drawings` are pads' contents in the order of the pads: { strokes } or { digit, index }.
  function toText({ ways, shots, rate, drawings }) {
    const bytes = [ways, shots, rate];
    for (const { strokes, digit, index } of drawings) {
      if (digit !== undefined) {
        bytes.push(DIGIT, digit, index);
        continue;
      }
      const kept = strokes.flatMap((points) => pieces(thinned(points))).slice(0, DIGIT - 1);
      bytes.push(kept.length);
      for (const points of kept) bytes.push(points.length, ...points.flat().map(toByte));
    }
    const letters = btoa(String.fromCharCode(...bytes));
    return VERSION + letters.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  }

  // What toText was given, or an error if the text is none of its own. `limits` are the most of everything.
  function fromText(text, limits) {
    if (text[0] !== VERSION) throw new Error("another version");
    const letters = atob(text.slice(1).replaceAll("-", "+").replaceAll("_", "/"));
    let place = 0;
    const next = (most) => {
      const value = letters.charCodeAt(place++);
      if (!(value <= most)) throw new Error("damaged");
      return value;
    };
    const ways = next(limits.ways), shots = next(limits.shots), rate = next(limits.rates - 1), drawings = [];
    if (ways < 2 || shots < 1) throw new Error("damaged");
    for (let i = 0; i < ways * shots + 1; i++) {
      const count = next(DIGIT);
      if (count === DIGIT) drawings.push({ strokes: [], digit: next(limits.digits - 1), index: next(limits.each - 1) });
      else drawings.push({ strokes: Array.from({ length: count }, () =>
        Array.from({ length: next(LONGEST) }, () => [fromByte(next(255)), fromByte(next(255))])) });
    }
    if (place !== letters.length || drawings.some(({ strokes }) => strokes.some((points) => !points.length)))
      throw new Error("damaged");
    return { ways, shots, rate, drawings };
  }

  scope.metaSgdShare = { toText, fromText };
})(typeof self === "undefined" ? globalThis : self);
