"use strict";
// What all plots share: the page's data, colours and axes, and when everything is drawn again.
const plots = (function () {
  const touch = window.matchMedia("(pointer: coarse)").matches;
  const narrow = window.matchMedia("(max-width: 600px)");
  const config = { displaylogo: false, responsive: true, displayModeBar: touch || narrow.matches ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
  const drawings = [];

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  }

  function withAlpha(hex, alpha) {
    const part = (i) => parseInt(hex.slice(i, i + 2), 16);
    return "rgba(" + part(1) + "," + part(3) + "," + part(5) + "," + alpha + ")";
  }

  function axis(title) {
    return { title: { text: title, standoff: 8 }, gridcolor: colour("line"), zerolinecolor: colour("line"),
      linecolor: colour("line"), automargin: true };
  }

  function layout(xTitle, yTitle) {
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: touch ? false : "zoom",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("ink") },
      margin: { l: 50, r: 12, t: narrow.matches ? 8 : 26, b: 45 }, hovermode: "closest",
      hoverlabel: { align: "left", bgcolor: colour("panel"), bordercolor: colour("line"), font: { size: 12, color: colour("ink") } },
      legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, font: { size: 11.5 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("faded"), activecolor: colour("ink") },
      xaxis: axis(xTitle), yaxis: axis(yTitle),
    };
  }

  // Draw now, and again whenever colours change.
  function add(draw) {
    drawings.push(draw);
    return draw();
  }

  function drawAll() { drawings.forEach(function (draw) { draw(); }); }

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  window.matchMedia("print").addEventListener("change", function () {
    drawAll();  // paper is always light
    document.querySelectorAll(".plot").forEach(function (plot) { Plotly.Plots.resize(plot); });
  });

  return { data: data, narrow: narrow, config: config, colour: colour, withAlpha: withAlpha, layout: layout, add: add };
})();
