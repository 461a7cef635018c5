"use strict";
// Several studies: hypervolume over trials or training time, and the fronts over a cost.
(function () {
  const costs = { macs: "FLOPs (MACs)", params: "Parameters", latency_ms: "Latency (ms)", memory_bytes: "Peak training memory (bytes)" };
  const over = { trials: "Finished trials, baselines included", hours: "Training time in hours, all workers together" };

  function chosen(name, otherwise) {
    const input = document.querySelector('input[name="' + name + '"]:checked');
    return input ? input.value : otherwise;
  }

  function drawCurves(group, number) {
    const element = document.getElementById("curves-" + number), by = chosen("over-" + number, "trials");
    const shape = plots.layout(over[by], "Hypervolume");
    shape.yaxis.rangemode = "tozero";
    Plotly.react(element, group.curves.map(function (curve) {
      return { type: "scatter", mode: curve.volumes.length > 1 ? "lines" : "markers", name: curve.name, x: curve[by], y: curve.volumes,
        line: { shape: "hv", color: curve.colour, width: 1.8 }, hovertemplate: "%{x}: %{y:.4f}<extra>" + curve.name + "</extra>" };
    }), shape, plots.config);
  }

  function drawFronts(group, number) {
    const element = document.getElementById("fronts-" + number), cost = chosen("cost-" + number, "macs");
    Plotly.react(element, group.fronts.map(function (front) {
      return { type: "scatter", mode: "markers", name: front.name, x: front.x[cost], y: front.y, hovertext: front.hover, hoverinfo: "text",
        marker: { size: 9, color: front.colour, line: { width: 1.2, color: plots.colour("paper") } },
        error_y: { type: "data", array: front.half, visible: front.half.some((half) => half !== null), thickness: 1.2, width: 3, color: plots.withAlpha(front.colour, 0.6) } };
    }), plots.layout(costs[cost], group.quality), plots.config);
  }

  data.groups.forEach(function (group, index) {
    const number = index + 1;
    document.querySelectorAll('input[name="cost-' + number + '"]').forEach(function (input) {
      const known = group.fronts.some((front) => front.x[input.value].some((value) => value !== null));
      input.parentElement.hidden = !known;
      input.checked = input.value === "macs";
      input.addEventListener("change", function () { drawFronts(group, number); });
    });
    document.querySelectorAll('input[name="over-' + number + '"]').forEach(function (input) {
      input.addEventListener("change", function () { drawCurves(group, number); });
    });
    plots.add(function () { drawCurves(group, number); drawFronts(group, number); });
  });
})();
