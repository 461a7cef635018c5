"use strict";
// The table of all trials: sorted, searched, and a page at a time, so that any number of them is no burden.
(function () {
  const table = document.getElementById("trial-table"), trials = data.trials;
  if (!table) return;
  const PAGE = 50, DASH = "–";
  const body = table.tBodies[0], search = document.getElementById("trial-search"), shown = document.getElementById("trial-state");
  const number = new Intl.NumberFormat("en");
  const rows = trials.number.map(function (_, i) { return i; });
  const texts = new Map();
  let key = "number", falling = false, start = 0, found = rows;

  function amount(value) {
    for (const [size, letter, digits] of [[1e9, "G", 2], [1e6, "M", 2], [1e4, "k", 1]]) {
      if (value >= size) return (value / (letter === "k" ? 1e3 : size)).toFixed(digits) + " " + letter;
    }
    return number.format(value);
  }

  function duration(seconds) {
    if (seconds < 60) return seconds.toFixed(1) + " s";
    const minutes = Math.floor(seconds / 60), two = function (value) { return String(Math.floor(value)).padStart(2, "0"); };
    return minutes < 60 ? minutes + " min " + two(seconds % 60) + " s" : number.format(Math.floor(minutes / 60)) + " h " + two(minutes % 60) + " min";
  }

  const cells = {
    quality: function (value) { return value.toFixed(2) + " %"; },
    loss: function (value) { return value.toFixed(3); },
    params: number.format, macs: amount,
    latency: function (value) { return Number(value.toPrecision(3)) + " ms"; },
    wall: duration,
  };

  function stateOf(i) { return trials.states[trials.state[i]]; }

  function textOf(i) {
    if (!texts.has(i)) {
      const placed = trials.placed[i];
      texts.set(i, [trials.number[i], trials.label[i] || "", outline.ids[placed], stateOf(i), trials.reason[i] || ""].concat(outline.lines(placed)).join(" ").toLowerCase());
    }
    return texts.get(i);
  }

  function valueOf(i) {
    if (key === "id") return (trials.label[i] || "~") + outline.ids[trials.placed[i]];
    return trials[key][i];
  }

  function find() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean), state = shown.value;
    found = rows.filter(function (i) {
      if (state === "baseline" ? !trials.label[i] : state !== "" && trials.state[i] !== Number(state)) return false;
      return words.every(function (word) { return textOf(i).includes(word); });
    });
    const values = new Map(found.map(function (i) { return [i, valueOf(i)]; })), sign = falling ? -1 : 1;
    found.sort(function (a, b) {  // what was not measured always comes last
      const x = values.get(a), y = values.get(b);
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return (x < y ? -sign : x > y ? sign : 0) || a - b;
    });
    start = 0;
    show();
  }

  function cell(content, kind) { return make("td", { class: kind || null }, content); }

  function row(i) {
    const id = outline.ids[trials.placed[i]], file = outline.file(trials.placed[i]), label = trials.label[i];
    const name = make("span", { class: "id" }, file ? make("a", { href: file }, id) : id);
    const values = Object.entries(cells).map(function ([column, write]) {
      const value = trials[column][i];
      return cell(value === null ? DASH : write(value), "number");
    });
    const placement = cell(outline.lines(trials.placed[i]).join("; "), "placement");
    if (trials.reason[i]) placement.append(make("span", { class: "small" }, trials.reason[i]));
    return make("tr", {}, [make("th", { scope: "row" }, String(trials.number[i])), cell(label ? [label + " ", name] : name), cell(stateOf(i)), ...values, placement]);
  }

  function show() {
    body.replaceChildren(...found.slice(start, start + PAGE).map(row));
    const end = Math.min(start + PAGE, found.length);
    document.getElementById("trial-count").textContent = found.length ? number.format(start + 1) + " to " + number.format(end) + " of " + number.format(found.length) : "none";
    document.getElementById("trial-back").disabled = start === 0;
    document.getElementById("trial-on").disabled = end === found.length;
    table.querySelectorAll("thead [data-key]").forEach(function (head) {
      if (head.dataset.key === key) head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  table.querySelectorAll("thead [data-key]").forEach(function (head) {
    head.querySelector("button").addEventListener("click", function () {
      falling = head.dataset.key === key ? !falling : head.dataset.key === "quality";  // of accuracy the best come first
      key = head.dataset.key;
      find();
    });
  });
  let typing = 0;
  search.addEventListener("input", function () { clearTimeout(typing); typing = setTimeout(find, 120); });
  shown.addEventListener("change", find);
  document.getElementById("trial-back").addEventListener("click", function () { start = Math.max(0, start - PAGE); show(); });
  document.getElementById("trial-on").addEventListener("click", function () { start += PAGE; show(); });
  document.getElementById("trial-tools").hidden = false;
  show();
})();
