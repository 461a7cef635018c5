"use strict";
// Pointing at a mark shows its placement beside it; a click, a tap or Enter keeps it under the plot.
(function () {
  const tip = document.body.appendChild(make("div", { class: "tip", id: "tip", "aria-hidden": "true", hidden: "" }));
  const told = document.getElementById("plot-told");
  const coarse = window.matchMedia("(pointer: coarse)");
  let pinned = null;

  function factsOf(group, i) { return group.facts[i].split("\n"); }

  function showTip(panel, group, i) {
    const at = quality.pixel(panel, group, i);
    if (!at) return;
    const frame = quality.elementOf(panel).getBoundingClientRect(), width = Math.min(460, document.documentElement.clientWidth - 48);
    tip.style.width = width + 26 + "px";
    tip.replaceChildren(outline.card(group.placed[i], factsOf(group, i), width));
    tip.hidden = false;
    const x = frame.left + at[0], y = frame.top + at[1], box = tip.getBoundingClientRect();
    const left = x + 18 + box.width < document.documentElement.clientWidth ? x + 18 : Math.max(8, x - 18 - box.width);
    const beside = left > x || left + box.width < x;
    const top = beside ? y - box.height / 2 : y + 18 + box.height < window.innerHeight ? y + 18 : y - 18 - box.height;
    tip.style.left = left + "px";
    tip.style.top = Math.max(8, Math.min(top, window.innerHeight - box.height - 8)) + "px";
  }

  function hideTip() { tip.hidden = true; }

  function ringOf(panel, kind) {
    const element = quality.elementOf(panel);
    return element.querySelector(".ring." + kind) || element.appendChild(make("div", { class: "ring " + kind, hidden: "" }));
  }

  function ring(panel, kind, mark) {
    const circle = ringOf(panel, kind), at = mark && quality.pixel(panel, mark.group, mark.i);
    const full = quality.elementOf(panel)._fullLayout, x = full.xaxis, y = full.yaxis;
    const seen = at && at[0] >= x._offset && at[0] <= x._offset + x._length && at[1] >= y._offset && at[1] <= y._offset + y._length;
    circle.hidden = !seen;
    if (seen) { circle.style.left = at[0] + "px"; circle.style.top = at[1] + "px"; }
  }

  function pinnedBox(panel) { return document.getElementById("pinned-" + panel.stage); }

  function unpin() {
    if (!pinned) return;
    pinnedBox(pinned.panel).hidden = true;
    ring(pinned.panel, "kept", null);
    pinned = null;
  }

  function pin(panel, mark) {
    unpin();
    pinned = { panel: panel, mark: mark };
    drawPinned();
  }

  function drawPinned() {
    const panel = pinned.panel, mark = pinned.mark, number = mark.group.placed[mark.i], box = pinnedBox(panel);
    box.hidden = false;
    const style = getComputedStyle(box), width = box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const close = make("button", { type: "button", class: "close", "aria-label": "Let go of this architecture" }, "×");
    close.addEventListener("click", unpin);
    const words = make("ul", { class: "words" }, outline.lines(number).map(function (line) { return make("li", {}, line); }));
    const file = outline.file(number), next = make("p", { class: "next" });
    if (file) next.append(make("a", { href: file }, file));
    else next.append("Its file: ", make("code", {}, "nas export " + quoted(data.study) + " --pick " + outline.ids[number]));
    box.replaceChildren(close, outline.card(number, factsOf(mark.group, mark.i), width), words, next);
    ring(panel, "kept", mark);
  }

  function quoted(path) { return /^[\w./~+:-]+$/.test(path) ? path : "'" + path.replaceAll("'", "'\\''") + "'"; }

  function tell(mark) { told.textContent = factsOf(mark.group, mark.i).concat(outline.lines(mark.group.placed[mark.i])).join(". "); }

  function markOf(panel, point) {
    const group = panel.groups[point.curveNumber - 1];
    return group && { group: group, i: point.pointNumber };
  }

  function listen(panel) {
    const element = quality.elementOf(panel);
    let order = [], at = -1, all = null;
    element.on("plotly_hover", function (event) {
      const mark = markOf(panel, event.points[0]);
      if (mark && !coarse.matches) showTip(panel, mark.group, mark.i);
    });
    element.on("plotly_unhover", hideTip);
    element.on("plotly_click", function (event) {
      const mark = markOf(panel, event.points[0]);
      if (!mark) return;
      hideTip();
      pin(panel, mark);
      pinnedBox(panel).scrollIntoView({ block: "nearest", behavior: "auto" });
    });
    element.on("plotly_afterplot", function () { if (pinned && pinned.panel === panel) ring(panel, "kept", pinned.mark); });

    function go(step, everything) {
      const before = order[at];
      if (everything !== all || step === null) {
        all = everything;
        order = quality.marksOf(panel).filter(function (mark) { return everything || !quality.isFaded(mark.group); });
        order.sort(function (a, b) { return a.x - b.x || a.y - b.y; });
        at = before ? order.findIndex(function (mark) { return mark.group === before.group && mark.i === before.i; }) : -1;
      }
      if (!order.length) return;
      at = Math.max(0, Math.min(order.length - 1, at + (step || 0)));
      const mark = order[at];
      ring(panel, "pointed", mark);
      showTip(panel, mark.group, mark.i);
      tell(mark);
    }

    element.addEventListener("keydown", function (event) {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
      if (step !== undefined) go(step, event.shiftKey);
      else if ((event.key === "Enter" || event.key === " ") && order[at]) pin(panel, order[at]);
      else if (event.key === "Escape") { hideTip(); ring(panel, "pointed", null); unpin(); }
      else return;
      event.preventDefault();
    });
    element.addEventListener("blur", function () { hideTip(); ring(panel, "pointed", null); });
    document.querySelectorAll("input[name=cost]").forEach(function (input) {
      input.addEventListener("change", function () { all = null; });
    });
  }

  // The page opens with the front's best compromise drawn, so that paper shows one as well.
  function pinFirst() {
    for (const panel of quality.panels) {
      const mark = quality.marksOf(panel).find(function (each) { return each.group.placed[each.i] === data.first && each.group.look !== "stopped"; });
      if (mark) { pin(panel, mark); return; }
    }
  }

  quality.panels.forEach(listen);
  window.addEventListener("scroll", hideTip, { passive: true });
  let resizing = 0;
  window.addEventListener("resize", function () {
    clearTimeout(resizing);
    resizing = setTimeout(function () { if (pinned) drawPinned(); }, 150);
  });
  quality.ready.then(pinFirst);
})();
