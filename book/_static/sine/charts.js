// The loss of meta-training as lines, and all rates as dots, a row for each tensor.
(function (scope) {
  "use strict";
  const { draw, make, setAttributes, numeral } = metaSgdParts;

  const LOSS = { ticks: [0.2, 0.5, 1, 2, 5], low: 0.15, high: 7, height: 190, left: 34, right: 10, top: 8, bottom: 34 };
  const WINDOW = 40; // meta-updates that are averaged for one point of a line

  // series: { name: { values, paper } }. The axis of the loss is logarithmic.
  function lossChart({ label, updates, words }) {
    const svg = draw("svg", { class: "sine-loss", role: "img", "aria-label": label });
    return {
      svg,
      show(series) {
        const width = Math.max(200, svg.parentElement.clientWidth), { low, high, height, left, right, top, bottom } = LOSS;
        const across = (n) => left + (n / updates) * (width - left - right);
        const up = (loss) => {
          const share = Math.log(Math.min(high, Math.max(low, loss)) / low) / Math.log(high / low);
          return height - bottom - share * (height - top - bottom);
        };
        setAttributes(svg, { viewBox: `0 0 ${width} ${height}`, width, height });
        const text = (x, y, words, anchor, more = {}) => draw("text", { x, y, "text-anchor": anchor, ...more }, words);
        const parts = [draw("rect", { x: left, y: top, width: width - left - right, height: height - top - bottom, class: "sine-box" })];
        for (const tick of LOSS.ticks) {
          parts.push(draw("path", { class: "sine-zero", d: `M${left} ${up(tick)}H${width - right}` }));
          parts.push(text(left - 5, up(tick) + 4, tick, "end"));
        }
        for (const share of [0, 0.5, 1]) {
          parts.push(text(across(share * updates), height - 18, share * updates, share ? (share < 1 ? "middle" : "end") : "start"));
        }
        parts.push(text((left + width - right) / 2, height - 3, words("updates"), "middle"));
        for (const [name, { values, paper, means }] of Object.entries(series)) {
          if (paper) {
            parts.push(draw("path", { class: `sine-paper sine-by-${name}`, d: `M${left} ${up(paper)}H${width - right}` }));
            parts.push(text(width - right - 4, up(paper) + (name === "maml" ? -4 : 13), words("paperMark", { loss: paper }), "end", { class: `sine-by-${name}` }));
          }
          while (means.length < Math.floor(values.length / WINDOW)) {
            const part = values.slice(WINDOW * means.length, WINDOW * (means.length + 1));
            means.push(part.reduce((a, b) => a + b) / WINDOW);
          }
          const line = means.map((mean, i) => `${across(WINDOW * (i + 1)).toFixed(1)} ${up(mean).toFixed(1)}`);
          parts.push(draw("path", { class: `sine-line sine-by-${name}`, d: line.length ? `M${line.join("L")}` : "" }));
        }
        svg.replaceChildren(...parts);
      },
    };
  }

  const RATES = { ticks: [-0.5, -0.1, 0, 0.02, 0.1, 0.5], low: -0.8, high: 1.5, left: 74, right: 8, top: 4, row: 21, tall: 62, bottom: 34 };

  // All rates of each tensor as dots, on an axis that is nearly even up to the start and logarithmic beyond.
  function ratesStrip({ layers, start, words }) {
    const canvas = make("canvas", { className: "sine-rates", role: "img" });
    const heights = layers.map(({ range: [from, to] }) => (to - from > 100 ? RATES.tall : RATES.row));
    const height = RATES.top + heights.reduce((a, b) => a + b) + RATES.bottom;
    const place = (rate) => Math.asinh(rate / start), [low, high] = [place(RATES.low), place(RATES.high)];
    return {
      canvas,
      show(rates, said) {
        const width = Math.max(200, canvas.parentElement.clientWidth), sharp = window.devicePixelRatio || 1;
        if (canvas.width !== Math.round(width * sharp)) {
          [canvas.width, canvas.height] = [width, height].map((one) => Math.round(one * sharp));
          Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
        }
        canvas.setAttribute("aria-label", said);
        const style = getComputedStyle(canvas), colour = (name) => style.getPropertyValue(`--parts-${name}`).trim() || style.color;
        const context = canvas.getContext("2d");
        context.setTransform(sharp, 0, 0, sharp, 0, 0);
        context.clearRect(0, 0, width, height);
        const across = (rate) =>
          RATES.left + ((Math.min(high, Math.max(low, place(rate))) - low) / (high - low)) * (width - RATES.left - RATES.right);
        const bottom = height - RATES.bottom;
        context.font = `12px ${style.fontFamily}`;
        const upright = (rate, stroke, line, dashes = []) => {
          context.strokeStyle = stroke;
          context.lineWidth = line;
          context.setLineDash(dashes);
          context.beginPath();
          context.moveTo(across(rate), RATES.top);
          context.lineTo(across(rate), bottom);
          context.stroke();
          context.setLineDash([]);
        };
        for (const tick of RATES.ticks) upright(tick, colour("line"), 1);
        let top = RATES.top;
        layers.forEach(({ name, range: [from, to] }, row) => {
          context.fillStyle = colour("ink");
          context.textAlign = "right";
          context.fillText(name, RATES.left - 6, top + heights[row] / 2 + 4);
          context.globalAlpha = to - from > 100 ? 0.55 : 0.9;
          for (let i = from; i < to; i++) {
            context.fillStyle = rates[i] < 0 ? colour("extra") : colour("learned");
            const level = ((i - from) * 0.618034) % 1; // spread evenly over the row's height
            context.fillRect(across(rates[i]) - 1, top + 3 + level * (heights[row] - 8), 2.2, 2.2);
          }
          context.globalAlpha = 1;
          top += heights[row];
        });
        upright(0, colour("ink"), 1.5);
        upright(start, colour("single"), 1.5, [5, 3]);
        context.fillStyle = colour("ink");
        context.textAlign = "center";
        for (const tick of RATES.ticks) {
          context.fillStyle = tick === start ? colour("single") : colour("ink");
          context.fillText(numeral(tick), across(tick) + (tick === start ? 6 : tick === 0 ? -3 : 0), height - 20);
        }
        context.fillStyle = colour("ink");
        context.fillText(words("ratesAxis"), (RATES.left + width - RATES.right) / 2, height - 4);
      },
    };
  }

  Object.assign(scope, { metaSgdSineLoss: lossChart, metaSgdSineRates: ratesStrip });
})(typeof self === "undefined" ? globalThis : self);
