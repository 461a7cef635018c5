// What is placed where: in words, and drawn on the host's outline, a column for each block and a row for each place.
const outline = (function () {
  const tables = data.outlines;
  const used = tables.hosts.map(function () { return new Set(); });
  tables.placed.forEach(function (row) {
    for (let i = 1; i < row.length; i += 2) used[row[0]].add(tables.hosts[row[0]].sites[row[i]][1]);
  });

  function hostOf(number) { return tables.hosts[tables.placed[number][0]]; }

  // From site to filling.
  function fillings(number) {
    const row = tables.placed[number], found = new Map();
    for (let i = 1; i < row.length; i += 2) found.set(row[i], row[i + 1]);
    return found;
  }

  // One line per kind of module; where it stands at all sites of a place, these are written as a glob.
  function lines(number) {
    const host = hostOf(number), where = new Map();
    fillings(number).forEach(function (filling, site) {
      if (!where.has(filling)) where.set(filling, []);
      where.get(filling).push(site);
    });
    const found = Array.from(where, function ([filling, sites]) { return tables.fillings[filling].text + ": " + fold(host, sites).join(", "); });
    if (!found.length) found.push("bare host");
    return tables.several_hosts ? ["in " + host.name].concat(found) : found;
  }

  function fold(host, sites) {
    if (!host.counts) {
      host.counts = host.places.map(function () { return 0; });
      host.sites.forEach(function (site) { host.counts[site[1]] += 1; });
    }
    const here = host.places.map(function () { return 0; });
    sites.forEach(function (site) { here[host.sites[site][1]] += 1; });
    return Array.from(new Set(sites.map(function (site) {
      const place = host.sites[site][1];
      return here[place] > 1 && here[place] === host.counts[place] ? "*/" + host.places[place] : host.sites[site][0];
    })));
  }

  // Black or white, whichever is read better on the colour (WCAG's relative luminance).
  function textOn(colour) {
    const parts = [1, 3, 5].map(function (i) {
      const value = parseInt(colour.slice(i, i + 2), 16) / 255;
      return value <= 0.04045 ? value / 12.92 : Math.pow((value + 0.055) / 1.055, 2.4);
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2] > 0.18 ? "#000" : "#fff";
  }

  const ROW = 17, THIN = 7, GAP = 12, HEAD = 40, LINE_GAP = 14, LETTER = 5.3;

  // Return the blocks line by line, as many as the width takes, with the width of a column.
  function layOut(host, width) {
    const label = width < 420 ? 66 : 84, most = host.blocks.length, stages = host.stages.length;
    const room = width - label - 2;
    const column = Math.max(38, Math.min(92, Math.floor((room - GAP * stages) / most)));
    const rows = [[]];
    let x = 0;
    host.blocks.forEach(function (block, i) {
      let line = rows[rows.length - 1];
      const gap = line.length && host.blocks[i - 1][1] !== block[1] ? GAP : 0;
      if (line.length && x + gap + column > room) { line = []; rows.push(line); x = 0; } else x += gap;
      line.push({ block: i, x: label + x });
      x += column;
    });
    return { label: label, column: column, lines: rows };
  }

  function clip(text, room, letter) {
    const most = Math.floor(room / letter);
    return text.length <= most ? text : most < 2 ? "" : text.slice(0, most - 1) + "…";
  }

  // Blocks of one kind differ at the end of their names.
  function clipStart(text, room, letter) {
    const most = Math.floor(room / letter);
    return text.length <= most ? text : "…" + text.slice(text.length - most + 1);
  }

  function text(x, y, content, kind, anchor) {
    return make("svg:text", { x: x, y: y, class: kind, "text-anchor": anchor || null }, content);
  }

  // The placement of an architecture, drawn on its host, so wide.
  function draw(number, width) {
    const host = hostOf(number), found = fillings(number), plan = layOut(host, width), wide = used[tables.placed[number][0]];
    const svg = make("svg:svg", { width: width, class: "outline", role: "img", "aria-label": "Placement in " + host.name + ". " + lines(number).join("; ") });
    const bySlot = new Map();
    host.sites.forEach(function (site, i) { bySlot.set(site[2] + " " + site[1], i); });
    let top = 0;
    plan.lines.forEach(function (line) { top = drawLine(svg, host, plan, line, top, found, bySlot, wide) + LINE_GAP; });
    svg.setAttribute("height", top);
    svg.setAttribute("viewBox", "0 0 " + width + " " + top);
    return svg;
  }

  function drawLine(svg, host, plan, line, top, found, bySlot, wide) {
    drawHeads(svg, host, plan, line, top);
    const places = host.places.map(function (_, i) { return i; }).filter(function (place) {
      return line.some(function (entry) { return bySlot.has(entry.block + " " + place); });
    });
    let y = top + HEAD;
    places.forEach(function (place) {
      const height = wide.has(place) ? ROW : THIN;
      if (height === ROW) svg.append(text(plan.label - 6, y + 11, clip(host.places[place], plan.label - 6, LETTER), "place", "end"));
      line.forEach(function (entry) {
        const site = bySlot.get(entry.block + " " + place);
        if (site !== undefined) svg.append(slot(host.sites[site][0], tables.fillings[found.get(site)], entry.x + 1, y, plan.column - 3, height - 3));
      });
      y += height;
    });
    return y;
  }

  // Above the blocks: their stage, its channels and resolution, and the blocks' own names.
  function drawHeads(svg, host, plan, line, top) {
    let start = 0;
    line.forEach(function (entry, i) {
      const block = host.blocks[entry.block], next = line[i + 1];
      const stage = host.stages[block[1]];
      const short = block[0].startsWith(stage + ".") ? block[0].slice(stage.length + 1) : block[0].split(".").pop();
      svg.append(text(entry.x + plan.column / 2, top + 36, clipStart(short, plan.column - 4, LETTER), "block", "middle"));
      if (next && host.blocks[next.block][1] === block[1]) return;
      const left = line[start].x, right = entry.x + plan.column - 2, size = block[2] + " ch, " + block[3] + "×" + block[4];
      svg.append(make("svg:path", { d: "M" + left + " " + (top + 27) + "H" + right, class: "span" }));
      svg.append(make("svg:g", {}, [make("svg:title", {}, stage + ": " + size),
        text(left, top + 11, clip(stage, right - left, 6.2), "stage"), text(left, top + 23, clip(size, right - left, LETTER), "size")]));
      start = i + 1;
    });
  }

  function slot(name, filling, x, y, width, height) {
    const group = make("svg:g", {}, make("svg:title", {}, name + ": " + (filling ? filling.text : "nothing")));
    const parts = filling ? filling.parts : [[null, ""]];
    parts.forEach(function ([module, short], i) {
      const left = x + i * width / parts.length, room = width / parts.length;
      const colour = module === null ? null : tables.modules[module].colour;
      group.append(make("svg:rect", { x: left, y: y, width: room, height: height, rx: 2, class: module === null ? "empty" : "filled", fill: colour }));
      if (colour && height > 10) {
        const label = make("svg:text", { x: left + room / 2, y: y + height - 3.5, class: "module", "text-anchor": "middle", fill: textOn(colour) });
        label.append(clip(short, room - 2, LETTER));
        group.append(label);
      }
    });
    return group;
  }

  // A reader's card: the facts, the drawing, the words, the file.
  function card(number, facts, width) {
    const box = document.createDocumentFragment();
    box.append(make("p", { class: "name" }, facts[0]));
    box.append(make("p", { class: "facts-line" }, facts.slice(1).map(function (fact) { return make("span", {}, fact); })));
    box.append(draw(number, width));
    return box;
  }

  function file(number) { return data.files[number] || null; }

  return { ids: tables.ids, lines: lines, draw: draw, card: card, file: file };
})();
