// A picture of a curve, of what a network draws before and after its step, and of points that the reader moves.
(function (scope) {
  "use strict";
  const { draw, setAttributes: set, numeral, capture } = metaSgdParts;
  const RANGE = { x: [-5, 5], y: [-5.5, 5.5] };
  const MARGIN = { left: 24, right: 8, top: 6, bottom: 20 };
  const TICKS = [-4, -2, 0, 2, 4];
  const TOUCH = 18; // pixels around a point that belong to it
  const STEP = 0.25; // of an arrow key; a fifth of it with Shift

  // `act` says what the reader does: move(index, point), add(point), remove(index), choose(index).
  function curves({ id, label, kind, act }) {
    const frame = draw("g", { "aria-hidden": true }), clip = draw("rect"), handles = draw("g");
    const lines = Object.fromEntries(
      ["truth", "before", "after"].map((name) => [name, draw("path", { class: `sine-${name}` })]),
    );
    const svg = draw(
      "svg", { class: "sine-curves", role: "group", "aria-label": label },
      draw("defs", {}, draw("clipPath", { id }, clip)), frame,
      draw("g", { "clip-path": `url(#${id})`, "aria-hidden": true }, ...Object.values(lines)), handles,
    );
    let width = 300, height = 200, dots = [], first = true;
    const across = (x) => MARGIN.left + ((x - RANGE.x[0]) / 10) * (width - MARGIN.left - MARGIN.right);
    const up = (y) => MARGIN.top + ((RANGE.y[1] - y) / 11) * (height - MARGIN.top - MARGIN.bottom);
    const bounded = (value, [low, high]) => Math.min(high, Math.max(low, value));
    const place = (event) => {
      const box = svg.getBoundingClientRect();
      return {
        x: RANGE.x[0] + (10 * (event.clientX - box.left - MARGIN.left)) / (width - MARGIN.left - MARGIN.right),
        y: RANGE.y[1] - (11 * (event.clientY - box.top - MARGIN.top)) / (height - MARGIN.top - MARGIN.bottom),
      };
    };
    const within = ({ x, y }) => ({ x: bounded(x, RANGE.x), y: bounded(y, RANGE.y) });

    svg.addEventListener("click", (event) => {
      if (!event.target.closest(".sine-point")) act.add(within(place(event)));
    });

    function makeDot(index) {
      const dot = draw(
        "g", { class: "sine-point", "data-index": index },
        draw("circle", { r: TOUCH, class: "sine-touch" }), draw("circle", { r: 5.5, class: "sine-disc" }),
      );
      let offset = null;
      const move = (point) => {
        dot.point = within(point); // at once, as a second key may come before the next picture
        act.move(index, dot.point);
      };
      dot.addEventListener("pointerdown", (event) => {
        if (event.button > 0) return;
        event.preventDefault();
        capture(dot, event.pointerId);
        const at = place(event);
        offset = { x: dot.point.x - at.x, y: dot.point.y - at.y };
        act.choose(index);
      });
      dot.addEventListener("pointermove", (event) => {
        if (!offset) return;
        const at = place(event);
        move({ x: at.x + offset.x, y: at.y + offset.y });
      });
      for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) dot.addEventListener(end, () => (offset = null));
      dot.addEventListener("dblclick", () => act.remove(index));
      dot.addEventListener("focus", () => act.choose(index));
      dot.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
        const size = event.shiftKey ? STEP / 5 : STEP;
        if (by) move({ x: dot.point.x + size * by[0], y: dot.point.y + size * by[1] });
        else if (event.key === "Delete" || event.key === "Backspace") act.remove(index);
        else return;
        event.preventDefault();
      });
      return dot;
    }

    // Points as the reader has them; only the first picture's are met by Tab and read aloud, the other's are the same.
    function show(points, chosen, said) {
      if (dots.length !== points.length) {
        dots = points.map((_, index) => makeDot(index));
        handles.replaceChildren(...dots);
      }
      points.forEach((point, index) => {
        const dot = dots[index];
        dot.point = point;
        set(dot, { transform: `translate(${across(point.x)} ${up(point.y)})`, "data-x": point.x, "data-y": point.y });
        dot.classList.toggle("sine-chosen", index === chosen);
        for (const name of ["tabindex", "role", "aria-label", "aria-roledescription", "aria-valuenow", "aria-valuetext"])
          dot.removeAttribute(name);
        if (!first) return set(dot, { "aria-hidden": true });
        dot.removeAttribute("aria-hidden");
        set(dot, {
          tabindex: 0, role: "slider", "aria-roledescription": kind, "aria-label": said[index].name,
          "aria-valuenow": point.y.toFixed(2), "aria-valuetext": said[index].value,
        });
      });
    }

    function line(name, xs, ys) {
      const points = Array.from(xs, (x, i) => `${across(x).toFixed(1)} ${up(bounded(ys[i], [-99, 99])).toFixed(1)}`);
      lines[name].setAttribute("d", points.length ? `M${points.join("L")}` : "");
    }

    function resize() {
      width = Math.max(180, svg.parentElement.clientWidth);
      height = Math.round(Math.min(0.72 * width, 300));
      set(svg, { viewBox: `0 0 ${width} ${height}`, width, height });
      const box = { x: across(-5), y: up(5.5), width: across(5) - across(-5), height: up(-5.5) - up(5.5) };
      set(clip, box);
      const text = (x, y, tick, anchor) => draw("text", { x, y, "text-anchor": anchor }, numeral(tick));
      frame.replaceChildren(
        draw("rect", box),
        draw("path", { class: "sine-zero", d: `M${across(-5)} ${up(0)}H${across(5)}` }),
        ...TICKS.flatMap((tick) => [text(across(tick), height - 5, tick, "middle"), text(MARGIN.left - 5, up(tick) + 4, tick, "end")]),
      );
    }

    return { svg, show, line, resize, focus: (index) => dots[index]?.focus({ preventScroll: true }), set first(is) { first = is; } };
  }

  scope.metaSgdSineCurves = curves;
})(typeof self === "undefined" ? globalThis : self);
