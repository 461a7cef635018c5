"use strict";
// Hypervolume over trials.
(function () {
  const config = plots.config, colour = plots.colour, layout = plots.layout;

  function drawHypervolume() {
    const element = document.getElementById("plot-hypervolume"), values = data.hypervolume.values;
    if (!element) return;
    const shape = layout("Finished trials, baselines included", "Share of the largest volume");
    shape.yaxis.rangemode = "tozero";
    const marked = data.hypervolume.baselines;
    Plotly.react(element, [
      { type: "scatter", mode: values.length > 1 ? "lines" : "markers", name: "all trials so far", x: values.map(function (_, i) { return i + 1; }), y: values,
        line: { shape: "hv", color: colour("front"), width: 2 }, hovertemplate: "after %{x} trials: %{y:.4f}<extra></extra>" },
      { type: "scatter", mode: "markers", name: "this trial was a baseline", x: marked.map(function (i) { return i + 1; }), y: marked.map(function (i) { return values[i]; }),
        marker: { symbol: "square", size: 7, color: colour("baseline") }, hovertemplate: "after %{x} trials: %{y:.4f}<extra>baseline</extra>" },
    ], shape, config);
  }

  plots.add(drawHypervolume);
})();
