"use strict";
// Hypervolume over trials or wall time, with the band of simulated random searches.
(function () {
  const curve = data.hypervolume, config = plots.config, colour = plots.colour, layout = plots.layout;
  let over = "trials";

  function band(xs) {
    const random = curve.random;
    if (!random || over !== "trials") return [];
    const line = { shape: "hv", width: 0, color: colour("faded") };
    return [
      { type: "scatter", mode: "lines", x: xs, y: random.low, line: line, hoverinfo: "skip", showlegend: false },
      { type: "scatter", mode: "lines", x: xs, y: random.high, line: line, fill: "tonexty", fillcolor: plots.withAlpha(colour("faded"), 0.2),
        name: "random search, estimated (95 %)", hoverinfo: "skip" },
      { type: "scatter", mode: "lines", x: xs, y: random.middle, line: { shape: "hv", width: 1.5, dash: "dot", color: colour("faded") },
        name: "its median", hovertemplate: "random, after %{x} trials: %{y:.4f}<extra>estimated</extra>" },
    ];
  }

  function drawHypervolume() {
    const element = document.getElementById("plot-hypervolume"), values = curve.values;
    if (!element) return;
    const byTime = over === "hours", unit = byTime ? "%{x:.3g} hours" : "%{x} trials";
    const shape = layout(byTime ? "Hours in which something was trained" : "Finished trials, baselines included", "Share of the largest volume");
    shape.yaxis.rangemode = "tozero";
    const xs = byTime ? curve.hours : values.map(function (_, i) { return i + 1; });
    const marked = curve.baselines;
    Plotly.react(element, band(xs).concat([
      { type: "scatter", mode: values.length > 1 ? "lines" : "markers", name: "all trials so far", x: xs, y: values,
        line: { shape: "hv", color: colour("front"), width: 2 }, hovertemplate: "after " + unit + ": %{y:.4f}<extra></extra>" },
      { type: "scatter", mode: "markers", name: "this trial was a baseline", x: marked.map(function (i) { return xs[i]; }), y: marked.map(function (i) { return values[i]; }),
        marker: { symbol: "square", size: 7, color: colour("baseline") }, hovertemplate: "after " + unit + ": %{y:.4f}<extra>baseline</extra>" },
    ]), shape, config);
  }

  plots.add(drawHypervolume);
  document.querySelectorAll("input[name=over]").forEach(function (input) {
    input.addEventListener("change", function () { over = input.value; drawHypervolume(); });
  });
})();
