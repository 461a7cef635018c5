"use strict";
// Names the baselines where no other name and no mark is; on a narrow screen the legend must do.
const labels = (function () {
  const places = [[9, -9], [9, 11], [-9, -9], [-9, 11], [0, -16], [0, 18], [20, -24], [20, 26], [-20, -24], [-20, 26], [0, -32], [0, 34], [34, -44], [-34, -44], [48, -9], [48, 11], [48, -28], [48, 30], [-48, -9], [-48, 11], [70, 48], [70, -60]];
  const CROWD = 1000;  // among so many faded marks there is no free place, and a name may stand on them

  // Return the annotations of a plot for marks {px, py, x, y, name}; `name` is null of marks without one.
  function place(marks, width, height, font) {
    const pen = document.createElement("canvas").getContext("2d"), annotations = [];
    pen.font = font;
    const seen = marks.filter(function (mark) { return mark.px >= 0 && mark.px <= width && mark.py >= 0 && mark.py <= height; });
    const few = seen.length <= CROWD ? seen : seen.filter(function (mark) { return !mark.faded; });
    const taken = few.map(function (mark) { return [mark.px - 6, mark.py - 6, mark.px + 6, mark.py + 6]; });
    seen.filter(function (mark) { return mark.name !== null; }).sort(function (a, b) { return a.py - b.py; }).forEach(function (mark) {
      const long = pen.measureText(mark.plain).width + 4;
      const spot = (plots.narrow.matches ? places.slice(0, 6) : places).map(function (place) { return box(mark, place, long); })
        .find(function (box) { return inside(box, width, height) && !taken.some(function (other) { return overlap(box, other); }); });
      if (!spot) return;
      taken.push(spot);
      annotations.push({ x: mark.x, y: mark.y, ax: (spot[0] + spot[2]) / 2 - mark.px, ay: (spot[1] + spot[3]) / 2 - mark.py,
        text: mark.name, font: { size: 11.5, color: plots.colour("ink") }, showarrow: true, arrowhead: 0, arrowwidth: 0.8,
        arrowcolor: spot[4] ? plots.colour("faded") : "rgba(0,0,0,0)", standoff: 6, borderpad: 0,
        bgcolor: seen.length > CROWD ? plots.withAlpha(plots.colour("paper"), 0.75) : "rgba(0,0,0,0)" });
    });
    return annotations;
  }

  function box(mark, place, width) {
    const left = place[0] > 0 ? mark.px + place[0] : place[0] < 0 ? mark.px + place[0] - width : mark.px - width / 2;
    const middle = mark.py + place[1];
    return [left, middle - 8, left + width, middle + 8, Math.abs(place[1]) > 20 || Math.abs(place[0]) > 20];
  }

  function overlap(a, b) { return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]; }

  function inside(a, width, height) { return a[0] >= 0 && a[2] <= width && a[1] >= 0 && a[3] <= height; }

  return { place: place };
})();
