"use strict";
// Quality against a cost: one plot for each length of training, and the switch of costs.
(function () {
  const data = plots.data, narrow = plots.narrow, config = plots.config;
  const colour = plots.colour, withAlpha = plots.withAlpha, layout = plots.layout;
  let cost = data.scatter.costs.length ? data.scatter.costs[0].name : null;

  function trace(group) {
    const faded = group.look === "trial" || group.look === "stopped";
    const shade = colour(faded ? "faded" : group.look);
    return {
      type: "scatter", mode: "markers", name: group.name, x: group.x[cost], y: group.y, hovertext: group.hover, hoverinfo: "text",
      marker: { symbol: group.symbol, color: faded ? withAlpha(shade, 0.5) : shade, size: faded ? 7 : group.look === "front" ? 10 : 11,
        line: { width: faded ? 0 : 1.4, color: group.front.map(function (on) { return colour(on && group.look === "baseline" ? "front" : "paper"); }) } },
      error_y: { type: "data", array: group.half, visible: group.half.some((half) => half !== null),
        thickness: 1.2, width: 3, color: withAlpha(shade, faded ? 0.35 : 0.6) },
    };
  }

  function steps(panel) {
    const line = panel.steps[cost];
    return { type: "scatter", mode: "lines", name: "front of these two quantities", x: line.x, y: line.y, hoverinfo: "skip",
      line: { shape: "hv", color: colour("front"), width: 1.6 } };
  }

  function drawPanel(element, panel) {
    const title = data.scatter.costs.find((entry) => entry.name === cost).title;
    element.style.height = narrow.matches ? 330 + 20 * (panel.groups.length + 1) + "px" : "";  // the legend in one column
    const traces = [steps(panel)].concat(panel.groups.map(trace));
    return Plotly.react(element, traces, layout(title, data.scatter.quality), config).then(function () { label(element, panel); });
  }

  // Name the baselines where no other name and no mark is; on a narrow screen the legend must do.
  const places = [[9, -9], [9, 11], [-9, -9], [-9, 11], [0, -16], [0, 18], [20, -24], [20, 26], [-20, -24], [-20, 26], [0, -32], [0, 34], [34, -44], [-34, -44], [48, -9], [48, 11], [48, -28], [48, 30], [-48, -9], [-48, 11], [70, 48], [70, -60]];

  function label(element, panel) {
    const full = element._fullLayout, x = full.xaxis, y = full.yaxis, pen = document.createElement("canvas").getContext("2d");
    const marks = [], taken = [], annotations = [];
    pen.font = "11.5px " + full.font.family;
    panel.groups.forEach(function (group) {
      group.y.forEach(function (value, i) {
        if (group.x[cost][i] === null) return;
        const mark = { px: x.l2p(group.x[cost][i]), py: y.l2p(value), x: group.x[cost][i], y: value, name: group.names[i] };
        if (mark.px < 0 || mark.px > x._length || mark.py < 0 || mark.py > y._length) return;
        taken.push([mark.px - 6, mark.py - 6, mark.px + 6, mark.py + 6]);
        if (group.look === "baseline") marks.push(mark);
      });
    });
    marks.sort(function (a, b) { return a.py - b.py; });
    marks.forEach(function (mark) {
      const width = pen.measureText(mark.name).width + 4;
      const spot = (narrow.matches ? places.slice(0, 6) : places).map(function (place) { return box(mark, place, width); })
        .find(function (box) { return inside(box, x._length, y._length) && !taken.some(function (other) { return overlap(box, other); }); });
      if (!spot) return;
      taken.push(spot);
      annotations.push({ x: mark.x, y: mark.y, ax: (spot[0] + spot[2]) / 2 - mark.px, ay: (spot[1] + spot[3]) / 2 - mark.py,
        text: mark.name, font: { size: 11.5, color: colour("ink") }, showarrow: true, arrowhead: 0, arrowwidth: 0.8,
        arrowcolor: spot[4] ? colour("faded") : "rgba(0,0,0,0)", standoff: 6, borderpad: 0, bgcolor: "rgba(0,0,0,0)" });
    });
    return Plotly.relayout(element, { annotations: annotations });
  }

  function box(mark, place, width) {
    const left = place[0] > 0 ? mark.px + place[0] : place[0] < 0 ? mark.px + place[0] - width : mark.px - width / 2;
    const middle = mark.py + place[1];
    return [left, middle - 8, left + width, middle + 8, Math.abs(place[1]) > 20 || Math.abs(place[0]) > 20];
  }

  function overlap(a, b) { return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]; }

  function inside(a, width, height) { return a[0] >= 0 && a[2] <= width && a[1] >= 0 && a[3] <= height; }

  function drawScatter() {
    data.scatter.panels.forEach(function (panel) { drawPanel(document.getElementById("plot-" + panel.stage), panel); });
  }

  function relabelWhenChanged(panel) {
    const element = document.getElementById("plot-" + panel.stage);
    let size = "";
    element.on("plotly_afterplot", function () {
      const full = element._fullLayout, now = [full.width, full.height, full.xaxis.range, full.yaxis.range].join();
      if (now !== size) { size = now; label(element, panel); }
    });
  }

  plots.add(drawScatter);
  data.scatter.panels.forEach(relabelWhenChanged);
  document.querySelectorAll("input[name=cost]").forEach(function (input) {
    input.addEventListener("change", function () { cost = input.value; drawScatter(); });
  });
})();
