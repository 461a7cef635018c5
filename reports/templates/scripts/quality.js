// Quality against a cost: one plot for each length of training, and the switch of costs.
const quality = (function () {
  const scatter = data.scatter, narrow = plots.narrow, colour = plots.colour;
  const MANY = 1000;  // marks from which on a graphics card draws them, where there is one
  const gl = (function () {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl") || canvas.getContext("experimental-webgl"));
  })();
  let cost = scatter.costs.length ? scatter.costs[0].name : null;

  function isFaded(group) { return group.look === "trial" || group.look === "stopped"; }

  function trace(group) {
    const faded = isFaded(group), many = group.y.length > MANY, shade = colour(faded ? "faded" : group.look);
    const rim = faded ? { width: 0 } : { width: 1.4, color: group.front.map(function (on) { return colour(on && group.look === "baseline" ? "front" : "paper"); }) };
    const thin = group.symbol.endsWith("-open") ? 1.2 : 0;
    return {
      type: faded && many && gl ? "scattergl" : "scatter", mode: "markers", name: group.name, x: group.x[cost], y: group.y, hoverinfo: "none",
      marker: { symbol: group.symbol, color: faded ? plots.withAlpha(shade, many ? 0.35 : 0.5) : shade,
        size: faded ? (many ? 5 : 7) : group.look === "front" ? 10 : 11, line: faded && thin ? { width: thin } : rim },
      error_y: { type: "data", array: group.half, visible: group.half.some(function (half) { return half !== null; }),
        thickness: 1.2, width: 3, color: plots.withAlpha(shade, faded ? 0.35 : 0.6) },
    };
  }

  function steps(panel) {
    const line = panel.steps[cost];
    return { type: "scatter", mode: "lines", name: "front of these two quantities", x: line.x, y: line.y, hoverinfo: "skip",
      line: { shape: "hv", color: colour("front"), width: 1.6 } };
  }

  function elementOf(panel) { return document.getElementById("plot-" + panel.stage); }

  function drawPanel(panel) {
    const element = elementOf(panel), title = scatter.costs.find(function (entry) { return entry.name === cost; }).title;
    element.style.height = narrow.matches ? 330 + 20 * (panel.groups.length + 1) + "px" : "";  // the legend in one column
    const traces = [steps(panel)].concat(panel.groups.map(trace));
    return Plotly.react(element, traces, plots.layout(title, scatter.quality), plots.config).then(function () { label(panel); });
  }

  function drawAll() { return Promise.all(scatter.panels.map(drawPanel)); }

  // All marks of a panel that have this cost: {group, i, x, y}.
  function marksOf(panel) {
    const found = [];
    panel.groups.forEach(function (group) {
      group.y.forEach(function (y, i) { if (group.x[cost][i] !== null) found.push({ group: group, i: i, x: group.x[cost][i], y: y }); });
    });
    return found;
  }

  // Where a mark is within its plot, in pixels; null where it has no such cost.
  function pixel(panel, group, i) {
    const full = elementOf(panel)._fullLayout, x = group.x[cost][i];
    if (x === null || !full) return null;
    return [full.xaxis._offset + full.xaxis.l2p(x), full.yaxis._offset + full.yaxis.l2p(group.y[i])];
  }

  function plain(escaped) { return new DOMParser().parseFromString(escaped, "text/html").documentElement.textContent; }

  function label(panel) {
    const element = elementOf(panel), full = element._fullLayout, x = full.xaxis, y = full.yaxis;
    const marks = marksOf(panel).map(function (mark) {
      const name = mark.group.look === "baseline" ? mark.group.names[mark.i] : null;
      return { px: x.l2p(mark.x), py: y.l2p(mark.y), x: mark.x, y: mark.y, name: name, plain: name && plain(name), faded: isFaded(mark.group) };
    });
    return Plotly.relayout(element, { annotations: labels.place(marks, x._length, y._length, "11.5px " + full.font.family) });
  }

  function relabelWhenChanged(panel) {
    const element = elementOf(panel);
    let size = "";
    element.on("plotly_afterplot", function () {
      const full = element._fullLayout, now = [full.width, full.height, full.xaxis.range, full.yaxis.range].join();
      if (now !== size) { size = now; label(panel); }
    });
  }

  const ready = plots.add(drawAll);
  scatter.panels.forEach(relabelWhenChanged);
  document.querySelectorAll("input[name=cost]").forEach(function (input) {
    input.addEventListener("change", function () { cost = input.value; drawAll(); });
  });

  return { panels: scatter.panels, elementOf: elementOf, marksOf: marksOf, pixel: pixel, isFaded: isFaded, ready: ready };
})();
