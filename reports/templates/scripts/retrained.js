"use strict";
// Full trainings against what the study measured, one plot for each recipe.
(function () {
  const colour = plots.colour;

  function draw(group, element) {
    const shape = plots.layout(group.x_title, group.y_title);
    shape.showlegend = false;
    const bars = function (low, high, values) {
      return { type: "data", symmetric: false, array: high.map(function (v, i) { return v === null ? 0 : v - values[i]; }),
        arrayminus: low.map(function (v, i) { return v === null ? 0 : values[i] - v; }), thickness: 1, width: 0, color: colour("faded") };
    };
    Plotly.react(element, [{
      type: "scatter", mode: "markers+text", x: group.x, y: group.y, text: group.names, textposition: "top center", cliponaxis: false,
      textfont: { size: 11, color: colour("ink") },
      error_x: bars(group.x_low, group.x_high, group.x), error_y: bars(group.y_low, group.y_high, group.y),
      marker: { size: 10, color: group.baselines.map(function (baseline) { return colour(baseline ? "baseline" : "front"); }),
        symbol: group.hosts.map(function (host) { return host ? "star-diamond" : "circle"; }) },
      hovertemplate: "%{text}: %{x:.2f} % in the study, %{y:.2f} % in full<extra></extra>",
    }], shape, plots.config);
  }

  data.retrained.forEach(function (group, i) {
    const element = document.getElementById("plot-retrained-" + i);
    if (element) plots.add(function () { draw(group, element); });
  });
})();
