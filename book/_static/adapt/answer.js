// What chapter 14's page shows of an answer: the verdict, the table, how far layers moved, and the loss along the step.
(function (scope) {
  "use strict";
  const LETTERS = ["A", "B", "C", "D", "E"];
  const CONVOLUTIONS = 4;
  const COLUMNS = ["learned", "means", "scalar", "before"];
  const FIRST_COLUMNS = ["learned", "means"]; // the others are there on request
  const SVG = { width: 420, height: 230, left: 56, right: 8, top: 10, bottom: 36 };
  const LOWEST = 1e-6; // of the losses that are drawn, on a logarithmic scale; smaller ones lie on the edge
  const TICKS = { 1e-6: "10⁻⁶", 1e-4: "10⁻⁴", 0.01: "0.01", 1: "1" };
  // No answer is certain, and none is impossible.
  const PERCENT = (share) =>
    share > 0.995 ? ">99%" : share < 0.005 ? "<1%" : `${Math.round(100 * share)}%`;

  // The answer of one column: the symbol's place, "none" below the line, or undefined without a favourite.
  function answerOf(shares, below) {
    if (below) return "none";
    const most = Math.max(...shares), place = shares.indexOf(most);
    return most > 1.2 / shares.length ? place : undefined;
  }

  function row(way, { shares, columns, thumbnails, below }) {
    const { make } = metaSgdParts;
    const head = make("th", { scope: "row" }, make("span", { className: "adapt-head" },
      make("span", { className: "adapt-letter", textContent: LETTERS[way] }),
      make("span", { className: "adapt-thumbs", aria: { hidden: true } }, ...thumbnails[way])));
    const cells = columns.map((name) => {
      const share = shares?.[name]?.[way];
      if (share === undefined) return make("td", { textContent: "–", data: { column: name } });
      const best = answerOf(shares[name], below && name !== "before") === way;
      const bar = make("span", { className: `adapt-bar adapt-${name}` });
      bar.style.width = `${100 * share}%`;
      const said = make("span", { textContent: PERCENT(share) });
      return make("td", { className: best ? "adapt-best" : "", data: { column: name, share } }, bar, said);
    });
    return make("tr", {}, head, ...cells);
  }

  // Fill the table: `shares` by column, for each symbol (undefined: no answer yet); `thumbnails`, pictures by symbol.
  function fillTable(table, t, { ways, shares, thumbnails, below, all }) {
    const { make } = metaSgdParts;
    const columns = all ? COLUMNS : FIRST_COLUMNS;
    const titles = columns.map((name) => make("th", { scope: "col", textContent: t(name), data: { column: name } }));
    table.dataset.columns = columns.length;
    table.replaceChildren(
      make("caption", { textContent: t("probabilities") }),
      make("thead", {}, make("tr", {}, make("td"), ...titles)),
      make("tbody", {}, ...Array.from({ length: ways }, (_, way) => row(way, { shares, columns, thumbnails, below }))),
    );
  }

  // A picture of 28 x 28 pixels as the network sees it, in a canvas.
  function thumbnail(pixels, properties = {}) {
    const canvas = metaSgdParts.make("canvas", { width: 28, height: 28, className: "adapt-thumb", ...properties });
    metaSgdPad.paintPixels(canvas, pixels);
    return canvas;
  }

  // How far each layer moved, as bars on a logarithmic scale.
  function showLayers(box, t, moved) {
    const { make } = metaSgdParts;
    const all = [...moved.learned, ...moved.scalar].filter((length) => length > 0);
    const [least, most] = [Math.min(...all) / 2, Math.max(...all)];
    const width = (length) => (length > 0 ? (100 * Math.log(length / least)) / Math.log(most / least) : 0);
    const nameOf = (i) => (i < CONVOLUTIONS ? t("convolution", { number: i + 1 }) : t("linear"));
    const part = (name, i) => {
      const bar = make("span", { className: `adapt-bar adapt-${name}` });
      bar.style.width = `${width(moved[name][i])}%`;
      return make("div", {}, bar, make("span", { textContent: moved[name][i].toPrecision(2) }));
    };
    box.replaceChildren(
      make("p", { textContent: t("layersNote") }),
      ...moved.learned.map((_, i) => make("div", { className: "adapt-layer" },
        make("span", { textContent: nameOf(i) }), part("learned", i), part("scalar", i))),
    );
  }

  // The losses along the step, as far as they are computed: `along` is { learned, scalar }, lists of { t, support,
  // query }. All parts of the step lie between 0 and 2.
  function drawLosses(box, t, along, named) {
    const { draw, make } = metaSgdParts;
    const { width, height, left, right, top, bottom } = SVG;
    const values = Object.values(along).flat().flatMap(({ support, query }) => [support, query ?? 0]);
    const most = Math.max(2, ...values);
    const x = (part) => left + ((width - left - right) * part) / 2;
    const rise = (loss) => Math.log(Math.max(LOWEST, loss) / LOWEST) / Math.log(most / LOWEST);
    const y = (loss) => top + (height - top - bottom) * (1 - rise(loss));
    const line = (name, kind) => {
      const points = along[name].filter((one) => one[kind] !== undefined).map((one) => `${x(one.t)},${y(one[kind])}`);
      return draw("polyline", { points: points.join(" "), class: `adapt-curve adapt-curve-${name} adapt-curve-${kind}` });
    };
    const text = (place, content, more) => {
      const element = draw("text", { x: place[0], y: place[1], class: "adapt-text", ...more });
      element.textContent = content;
      return element;
    };
    const grid = [0, 0.5, 1, 1.5, 2].flatMap((part) => [
      draw("line", { x1: x(part), x2: x(part), y1: top, y2: height - bottom, class: part === 1 ? "adapt-whole" : "adapt-grid" }),
      text([x(part), height - bottom + 15], String(part), { "text-anchor": "middle" }),
    ]);
    const heights = Object.entries(TICKS).flatMap(([loss, label]) => [
      draw("line", { x1: left, x2: width - right, y1: y(Number(loss)), y2: y(Number(loss)), class: "adapt-grid" }),
      text([left - 5, y(Number(loss)) + 4], label, { "text-anchor": "end" }),
    ]);
    const curves = ["scalar", "learned"].flatMap((name) => [line(name, "query"), line(name, "support")]);
    const names = ["learned", "scalar"].map((name, i) =>
      text([x(1.5), top + 14 + 16 * i], t(name === "learned" ? "alongLearned" : "alongScalar"), { class: `adapt-text adapt-text-${name}` }));
    const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "adapt-along", role: "img" },
      ...grid, ...heights, ...curves, ...names,
      text([(left + width - right) / 2, height - 4], t("alongX"), { "text-anchor": "middle" }),
      text([14, (top + height - bottom) / 2], t("alongY"), { "text-anchor": "middle", transform: `rotate(-90 14 ${(top + height - bottom) / 2})` }));
    const at = (name, part) => along[name].find((one) => one.t === part)?.support.toFixed(2) ?? "–";
    picture.setAttribute("aria-label", t("alongLabel", {
      start: at("learned", 0), learned: at("learned", 1), scalar: at("scalar", 1),
      learnedTwice: at("learned", 2), scalarTwice: at("scalar", 2),
    }));
    const note = named ? t("alongQueries", { count: named }) : t("alongNoQueries");
    box.replaceChildren(make("p", { textContent: t("along") }), picture, make("p", { textContent: note }));
  }

  // A picture of it all for a file: the examples, the new drawing and the probabilities of Meta-SGD.
  function poster(t, { examples, query, shares, verdict }) {
    const side = 120, gap = 16, ways = examples.length, shots = Math.max(...examples.map((own) => own.length));
    const wide = Math.max(ways * (side + gap) + gap, 560), high = 70 + shots * (side + gap) + 30 + Math.max(2 * side + gap, 40 * ways) + 56;
    const canvas = metaSgdParts.make("canvas", { width: wide, height: high }), context = canvas.getContext("2d");
    const write = (text, x, y, font = "18px sans-serif") => {
      Object.assign(context, { font, fillStyle: "#111" });
      context.fillText(text, x, y, wide - x - gap);
    };
    const pad = ({ content, image }, x, y, size) => {
      context.save();
      context.translate(x, y);
      context.fillStyle = "#111";
      context.fillRect(0, 0, size, size);
      context.beginPath();
      context.rect(0, 0, size, size);
      context.clip();
      metaSgdPad.paintContent(context, size, content, image);
      context.restore();
    };
    context.fillStyle = "#fff";
    context.fillRect(0, 0, wide, high);
    write(t("pictureTitle"), gap, 32, "bold 22px sans-serif");
    examples.forEach((own, way) => {
      write(LETTERS[way], gap + way * (side + gap), 60, "bold 18px sans-serif");
      own.forEach((one, shot) => pad(one, gap + way * (side + gap), 70 + shot * (side + gap), side));
    });
    const below = 70 + shots * (side + gap) + 14;
    pad(query, gap, below, 2 * side);
    shares.forEach((share, way) => {
      const y = below + 22 + 36 * way, x = 2 * side + 3 * gap;
      write(LETTERS[way], x, y, "bold 18px sans-serif");
      context.fillStyle = "#0072b2";
      context.fillRect(x + 26, y - 14, 150 * share, 16);
      write(PERCENT(share), x + 34 + 150 * share, y);
    });
    write(verdict, gap, high - 18);
    return canvas;
  }

  scope.metaSgdAnswer = { LETTERS, PERCENT, answerOf, fillTable, thumbnail, showLayers, drawLosses, poster };
})(typeof self === "undefined" ? globalThis : self);
