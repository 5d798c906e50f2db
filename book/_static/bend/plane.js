// A plane of two numbers as SVG: axes, contours of quadratics, arrows, stars, and dots that pointer and keys move.
(function (scope) {
  "use strict";
  const { draw, make, setAttributes: set, numeral, hint, capture } = metaSgdParts;
  const PIXELS_ACROSS = 34; // below the axis and left of it, for ticks and names
  const HEAD = 9; // pixels: the head of an arrow
  const TOUCH = 18; // pixels around a dot that belong to it

  const text = (place, words, attributes = {}) => draw("text", { x: place[0], y: place[1], ...attributes }, words);

  // The part of a line from a point in a direction that lies within [low, high] of both axes; null if none does.
  function within(point, direction, [lows, highs]) {
    let [from, to] = [-Infinity, Infinity];
    for (const i of [0, 1]) {
      if (Math.abs(direction[i]) < 1e-12) {
        if (point[i] < lows[i] || point[i] > highs[i]) return null;
        continue;
      }
      const ends = [lows[i], highs[i]].map((bound) => (bound - point[i]) / direction[i]).sort((a, b) => a - b);
      [from, to] = [Math.max(from, ends[0]), Math.min(to, ends[1])];
    }
    return from < to ? [from, to] : null;
  }

  // range: [[left, bottom], [right, top]]. Both axes have the same scale, so that angles and directions are true.
  function plane({ id, label, range, names, ticks }) {
    const [lows, highs] = range;
    const frame = draw("g", { class: "bend-frame", "aria-hidden": true });
    const content = draw("g", { "clip-path": `url(#${id})`, "aria-hidden": true });
    const dots = draw("g");
    const clip = draw("rect"), svg = draw(
      "svg", { class: "bend-plane", role: "group", "aria-label": label },
      draw("defs", {}, draw("clipPath", { id }, clip)), frame, content, dots,
    );
    const figure = make("div", { className: "bend-figure" }, hint(label), svg);
    let scale = 1, height = 1;
    const at = ([x, y]) => [PIXELS_ACROSS + scale * (x - lows[0]), height - PIXELS_ACROSS - scale * (y - lows[1])];
    const bounded = (point) => point.map((value, i) => Math.min(highs[i], Math.max(lows[i], value)));
    const self = { svg, figure, content, range, at, bounded, get scale() { return scale; } };

    self.resize = () => {
      const width = Math.max(200, svg.parentElement.clientWidth);
      scale = (width - PIXELS_ACROSS - 8) / (highs[0] - lows[0]);
      height = Math.round(scale * (highs[1] - lows[1])) + PIXELS_ACROSS + 8;
      set(svg, { viewBox: `0 0 ${width} ${height}`, width, height });
      const [left, top] = at([lows[0], highs[1]]), [right, bottom] = at([highs[0], lows[1]]);
      set(clip, { x: left, y: top, width: right - left, height: bottom - top });
      frame.replaceChildren(draw("rect", { x: left, y: top, width: right - left, height: bottom - top }));
      for (const i of [0, 1]) {
        for (const tick of ticks[i]) {
          const place = at(i ? [lows[0], tick] : [tick, lows[1]]), [dx, dy, anchor] = i ? [-6, 4, "end"] : [0, 15, "middle"];
          frame.append(text([place[0] + dx, place[1] + dy], numeral(tick), { "text-anchor": anchor }));
        }
      }
      frame.append(text([(left + right) / 2, height - 4], names[0], { "text-anchor": "middle" }));
      const middle = [11, (top + bottom) / 2];
      frame.append(text(middle, names[1], { "text-anchor": "middle", transform: `rotate(-90 ${middle})` }));
    };

    self.place = (event) => {
      const box = svg.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      return [lows[0] + (x - PIXELS_ACROSS) / scale, lows[1] + (height - PIXELS_ACROSS - y) / scale];
    };

    self.add = (tag, className) => content.appendChild(draw(tag, { class: className }));

    // Contours of the quadratic with this Hessian, minimum and least value, at these levels.
    self.contours = (path, { hessian: [[a, b], [, d]], best, loss }, levels) => {
      const down = Math.sqrt(a), slant = b / down, rest = Math.sqrt(Math.max(1e-12, d - slant * slant));
      const lines = levels.filter((level) => level > loss).map((level) => {
        const radius = Math.sqrt(2 * (level - loss));
        return Array.from({ length: 73 }, (_, k) => {
          const [u, v] = [Math.cos((Math.PI * k) / 36), Math.sin((Math.PI * k) / 36)].map((one) => radius * one);
          const y = v / rest, x = (u - slant * y) / down;
          return at([best[0] + x, best[1] + y]).map((one) => one.toFixed(1)).join();
        }).join("L");
      });
      set(path, { d: lines.map((line) => `M${line}Z`).join("") });
    };

    // An arrow between two places in pixels, which may end some pixels before the second.
    self.arrow = (path, from, goal, before = 0) => {
      const [dx, dy] = [goal[0] - from[0], goal[1] - from[1]], length = Math.hypot(dx, dy) - before;
      if (length < 1) return set(path, { d: "" });
      const [x, y] = [dx / (length + before), dy / (length + before)], size = Math.min(HEAD, length);
      const to = [goal[0] - before * x, goal[1] - before * y];
      const [bx, by] = [to[0] - size * x, to[1] - size * y], side = 0.4 * size;
      set(path, { d: `M${from}L${[bx, by]}M${to}L${[bx - side * y, by + side * x]}L${[bx + side * y, by - side * x]}Z` });
    };
    self.rail = (path, point, direction) => {
      const part = within(point, direction, range);
      const on = (t) => at([point[0] + t * direction[0], point[1] + t * direction[1]]);
      set(path, { d: part ? `M${on(part[0])}L${on(part[1])}` : "" });
    };
    self.stars = (path, points, size) => {
      const corner = ([x, y], k) => {
        const radius = k % 2 ? 0.4 * size : size, angle = (Math.PI * k) / 5;
        return [x + radius * Math.sin(angle), y - radius * Math.cos(angle)].map((one) => one.toFixed(1)).join();
      };
      const star = (point) => `M${Array.from({ length: 10 }, (_, k) => corner(at(point), k)).join("L")}Z`;
      set(path, { d: points.map(star).join("") });
    };

    // A dot that the reader moves: move(point, by) is told where to, or by how many steps of a key.
    self.dot = ({ name, className, kind, label: words, move }) => {
      const disc = draw("circle", { r: 7 }), mark = text([0, 0], name, { "aria-hidden": true });
      const dot = draw(
        "g",
        { class: `bend-dot ${className}`, tabindex: 0, role: "slider", "aria-label": words, "aria-roledescription": kind },
        draw("circle", { r: TOUCH, class: "bend-touch" }), disc, mark,
      );
      let held = false, offset = [0, 0], shown = [0, 0];
      dot.addEventListener("pointerdown", (event) => {
        if (event.button > 0) return;
        event.preventDefault();
        dot.focus({ preventScroll: true });
        capture(dot, event.pointerId);
        held = true;
        const place = self.place(event);
        offset = [shown[0] - place[0], shown[1] - place[1]];
      });
      dot.addEventListener("pointermove", (event) => {
        if (!held) return;
        const place = self.place(event);
        move({ to: bounded([place[0] + offset[0], place[1] + offset[1]]) });
      });
      for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
        dot.addEventListener(end, () => (held = false));
      }
      dot.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
        if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        move({ by, fine: event.shiftKey });
      });
      dots.append(dot);
      return {
        dot,
        show(point, said) {
          shown = bounded(point);
          const outside = shown.some((value, i) => Math.abs(value - point[i]) > 1e-9);
          const [x, y] = at(shown);
          set(dot, {
            transform: `translate(${x} ${y})`, "aria-valuetext": said, "aria-valuenow": point[0].toFixed(3),
            "data-x": point[0], "data-y": point[1], "data-outside": outside,
          });
          const right = x > svg.viewBox.baseVal.width - 40;
          set(mark, { x: right ? -10 : 10, y: y < 24 ? 18 : -8, "text-anchor": right ? "end" : "start" });
        },
      };
    };
    return self;
  }

  scope.metaSgdPlane = plane;
})(typeof self === "undefined" ? globalThis : self);
