// The rounds of the game of chapter 1: five random glyphs, an example of each, and ten other drawings. The same numbers
// in the same order as metasgd/recipes/sorting.py with metasgd/tasks/glyphs.py, for one round.
(function (scope) {
  "use strict";
  const SYMBOLS = 5, QUERIES = 10, DRAWINGS = 4; // of each symbol beside its example; queries are drawn from all
  const SIDE = 28, BOX = 20, POINTS = 128;
  const STROKES = 4, PIECES = 3; // at most, of a glyph and of a stroke
  const BENDS = [0.3, 0.35, 0.15, 0.2], NUMBERS = [0.4, 0.38, 0.17, 0.05], PARTS = [0.35, 0.45, 0.2];
  const TOUCHES = [0.25, 0.3, 0.25, 0.2], MOST_PIECES = [3, 3, 2, 2];
  const PEN = [0.7, 1.6], SOFTNESS = [1, 1.6]; // half the width of the ink, and the width of its edge, in pixels

  // Random numbers in 0..1 from a whole number (mulberry32), and lists of numbers made from them.
  function randomNumbers(seed) {
    let state = seed | 0;
    const next = () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
    const list = (count, value) => Array.from({ length: count }, value);
    const uniform = (low, high, count) => list(count, () => low + (high - low) * next());
    const normal = (deviation, count) =>
      list(count, () => deviation * Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
    const category = (shares, count) =>
      list(count, () => {
        let left = next(), index = 0;
        while (index < shares.length - 1 && left >= shares[index]) left -= shares[index++];
        return index;
      });
    return { next, uniform, normal, category };
  }

  // The movements of a pen for new glyphs; every list goes by glyph, then stroke, then piece.
  function drawMovements(count, { uniform, category }) {
    const strokesOfAll = count * STROKES, all = strokesOfAll * PIECES;
    const kind = category(BENDS, all);
    const bends = [[0, 0.2], [0.6, 2.4], [2.4, 4.2], [5.4, 6.8]].map(([low, high]) => uniform(low, high, all));
    const side = category([0.5, 0.5], all);
    const turns = kind.map((which, i) => bends[which][i] * (2 * side[i] - 1));
    const lengths = uniform(0.45, 1.1, all).map((length, i) => length * (1 + Math.abs(turns[i]) / 2.5));
    const strokes = category(NUMBERS, count).map((number) => number + 1);
    const most = (stroke) => MOST_PIECES[strokes[Math.floor(stroke / STROKES)] - 1];
    const pieces = category(PARTS, strokesOfAll).map((number, stroke) => Math.min(number + 1, most(stroke)));
    uniform(0, 1, count).forEach((draw, glyph) => {
      if (strokes[glyph] === 1 && draw < 0.9) pieces[glyph * STROKES] = Math.max(2, pieces[glyph * STROKES]);
    });
    const shorter = uniform(0.4, 1, count * (STROKES - 1));
    for (let i = 0; i < all; i++) {
      const stroke = Math.floor(i / PIECES), glyph = Math.floor(stroke / STROKES), number = stroke % STROKES;
      if (i % PIECES >= pieces[stroke] || number >= strokes[glyph]) lengths[i] = 0;
      if (number) lengths[i] *= shorter[glyph * (STROKES - 1) + number - 1];
    }
    const corners = uniform(0.6, 2.6, all), way = category([0.35, 0.3, 0.35], all);
    const directions = uniform(-Math.PI, Math.PI, strokesOfAll);
    for (let i = 0; i < all; i++) {
      corners[i] = i % PIECES ? corners[i] * (way[i] - 1) : directions[i / PIECES];
    }
    const touch = category(TOUCHES, strokesOfAll), middle = uniform(0.25, 0.75, strokesOfAll);
    const end = category([0.7, 0.3], strokesOfAll);
    const own = touch.map((kind, i) => (kind === 2 ? middle[i] : end[i]));
    const base = uniform(0, 1, strokesOfAll).map((place, i) => (touch[i] === 0 ? Math.round(place) : place));
    const gap = uniform(-0.45, 0.45, 2 * strokesOfAll).map((far, i) => (touch[Math.floor(i / 2)] === 3 ? far : 0));
    const stretch = uniform(-0.7, 0.2, count).map(Math.exp);
    return { lengths, turns, eases: uniform(-0.6, 0.6, all), corners, own, base, gap, stretch };
  }

  // Each movement several times, each time a little different, as by an unsteady hand.
  function varyMovements(movements, examples, { normal }) {
    const glyphs = movements.stretch.length, count = glyphs * examples;
    const same = Object.fromEntries(
      Object.entries(movements).map(([name, values]) => {
        const each = values.length / glyphs;
        const rows = Array.from({ length: count }, (_, i) => {
          const first = Math.floor(i / examples) * each;
          return values.slice(first, first + each);
        });
        return [name, rows.flat()];
      }),
    );
    const noise = (deviation, like) => normal(deviation, like.length);
    const plus = (values, deviation) => noise(deviation, values).map((by, i) => values[i] + by);
    const times = (values, deviation) => noise(deviation, values).map((by, i) => values[i] * Math.exp(by));
    const inside = (values) => values.map((value) => Math.min(1, Math.max(0, value)));
    const lengths = times(same.lengths, 0.16);
    const scaled = noise(0.07, same.turns).map((by, i) => same.turns[i] * (1 + by));
    return {
      lengths, turns: plus(scaled, 0.13), eases: plus(same.eases, 0.2), corners: plus(same.corners, 0.16),
      own: inside(plus(same.own, 0.04)), base: inside(plus(same.base, 0.04)), gap: plus(same.gap, 0.05),
      stretch: times(same.stretch, 0.18),
    };
  }

  // A hand and a pen for each picture.
  function drawPens(count, { uniform, normal }) {
    return {
      slant: normal(0.2, count), tilt: normal(0.12, count), width: uniform(...PEN, count),
      softness: uniform(...SOFTNESS, count), strength: uniform(0, 0.25, count), swings: uniform(1, 4, count),
      begin: uniform(0, 2 * Math.PI, count),
    };
  }

  // The path of the pen of one picture: places after equal steps, x to the right and y downwards.
  function penPath(movements, picture) {
    const cut = (values, each) => values.slice(picture * each, (picture + 1) * each);
    const [lengths, turns, eases, corners] = ["lengths", "turns", "eases", "corners"].map((name) =>
      cut(movements[name], STROKES * PIECES));
    const [own, base] = ["own", "base"].map((name) => cut(movements[name], STROKES));
    const gap = cut(movements.gap, 2 * STROKES);
    const total = lengths.reduce((sum, length) => sum + length, 0), path = [], strokeOf = [];
    let piece = 0, passed = 0, x = 0, y = 0;
    for (let i = 0; i < POINTS; i++) {
      const walked = ((i + 0.5) / POINTS) * total;
      while (piece < lengths.length - 1 && passed + lengths[piece] < walked) passed += lengths[piece++];
      const done = Math.min(1, Math.max(0, (walked - passed) / lengths[piece]));
      const stroke = Math.floor(piece / PIECES);
      let angle = turns[piece] * (done + eases[piece] * done * (1 - done)) + corners[piece];
      for (let before = stroke * PIECES; before < piece; before++) angle += corners[before] + turns[before];
      const dx = (Math.cos(angle) * total) / POINTS, dy = (Math.sin(angle) * total) / POINTS;
      path.push([x + dx / 2, y + dy / 2]);
      strokeOf.push(stroke);
      x += dx;
      y += dy;
    }
    for (let stroke = 1; stroke < STROKES; stroke++) {
      const begin = strokeOf.indexOf(stroke), size = strokeOf.filter((one) => one === stroke).length;
      if (!size) continue;
      const from = path[Math.round(begin + own[stroke] * (size - 1))], to = path[Math.round(base[stroke] * (begin - 1))];
      const move = [0, 1].map((axis) => to[axis] - from[axis] + gap[2 * stroke + axis]);
      for (let i = begin; i < begin + size; i++) path[i] = path[i].map((place, axis) => place + move[axis]);
    }
    return path.map(([px, py]) => [px * movements.stretch[picture], py]);
  }

  // The pixels of one picture, 784 numbers in 0..1 in steps of 1 / 255: the path drawn with a pen, scaled, centred.
  function inked(path, pens, picture) {
    const at = (name) => pens[name][picture];
    const cos = Math.cos(at("tilt")), sin = Math.sin(at("tilt")), width = at("width");
    path = path.map(([x, y]) => [x - at("slant") * y, y]).map(([x, y]) => [cos * x - sin * y, sin * x + cos * y]);
    const bounds = [0, 1].map((axis) => {
      const places = path.map((point) => point[axis]);
      return [Math.min(...places), Math.max(...places)];
    });
    const side = Math.max(1e-6, ...bounds.map(([low, high]) => high - low)), scale = (BOX - 2 * width) / side;
    path = path.map((point) => point.map((place, axis) => (place - (bounds[axis][0] + bounds[axis][1]) / 2) * scale));
    const margin = (SIDE - BOX) / 2;
    const shift = [0, 1].map((axis) => {
      const mean = path.reduce((sum, point) => sum + point[axis], 0) / POINTS;
      return Math.min(margin, Math.max(-margin, mean));
    });
    const discs = path.map(([x, y], i) => {
      const swing = Math.sin((at("swings") * 2 * Math.PI * i) / (POINTS - 1) + at("begin"));
      const radius = width * (1 + at("strength") * swing);
      return [x - shift[0], y - shift[1], radius * radius];
    });
    return Float32Array.from({ length: SIDE * SIDE }, (_, i) => {
      const px = (i % SIDE) - (SIDE - 1) / 2, py = Math.floor(i / SIDE) - (SIDE - 1) / 2;
      let nearest = Infinity;
      for (const [x, y, square] of discs) nearest = Math.min(nearest, (px - x) ** 2 + (py - y) ** 2 - square);
      const beyond = Math.sqrt(Math.max(0, nearest + width * width)) - width;
      return Math.round(255 * Math.min(1, Math.max(0, 0.5 - beyond / at("softness")))) / 255;
    });
  }

  // A round: pictures of 784 numbers, an example of each symbol and ten queries with their labels 0 to 4.
  function drawRound(seed) {
    const random = randomNumbers(seed), each = 1 + DRAWINGS;
    const movements = varyMovements(drawMovements(SYMBOLS, random), each, random);
    const pens = drawPens(SYMBOLS * each, random);
    const picture = (number) => inked(penPath(movements, number), pens, number);
    const draws = random.uniform(0, 1, SYMBOLS * DRAWINGS);
    const chosen = [...draws.keys()].sort((a, b) => draws[a] - draws[b]).slice(0, QUERIES);
    const labels = chosen.map((which) => Math.floor(which / DRAWINGS));
    return {
      seed, labels,
      support: Array.from({ length: SYMBOLS }, (_, symbol) => picture(symbol * each)),
      queries: chosen.map((which, i) => picture(labels[i] * each + 1 + (which % DRAWINGS))),
    };
  }

  scope.metaSgdRounds = { SYMBOLS, QUERIES, SIDE, randomNumbers, drawRound };
})(typeof self === "undefined" ? globalThis : self);
