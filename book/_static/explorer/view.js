// The explorer's page: choices in, charts, sentence, table and downloads out. No library, no network.
(function () {
  "use strict";

  const DATA = window.ExplorerData, { gaps } = window.ExplorerStatistics;
  const SCALES = {
    log_odds: { title: "log odds ratio of error", neutral: 0, show: (v) => signed(v, 2) },
    difference: { title: "difference in error (percentage points)", neutral: 0, show: (v) => signed(100 * v, 1) },
    ratio: { title: "ratio of error rates", neutral: 1, show: (v) => fixed(v, 2) },
  };
  const DEFAULT = {
    corpus: "speechocean762", task: "sid", encoder: DATA?.lead, scale: "log_odds", layer: "", controls: "1",
    "a.age_group": "child", "b.age_group": "adult",
  };
  const COLOURS = { a: "var(--explorer-a)", b: "var(--explorer-b)", gap: "var(--explorer-ink)" };
  const root = document.getElementById("explorer");
  if (!root || !DATA) return;

  const fixed = (v, digits) => (Number.isFinite(v) ? v.toFixed(digits) : "unknown");
  const signed = (v, digits) => (Number.isFinite(v) ? (v < 0 ? "−" : "+") + Math.abs(v).toFixed(digits) : "unknown");
  const tickOf = (text) => (/[1-9]/.test(text) ? text.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "") : "0");
  const percent = (v) => (Number.isFinite(v) ? fixed(100 * v, 1) + " %" : "unknown");
  const pOf = (p) => (p < 0.001 ? "< 0.001" : fixed(p, 3)); // none of so many resamples is no probability of zero
  const name = (column) => column.replace(/_/g, " ");
  const make = (tag, attributes = {}, ...children) => {
    const svg = ["svg", "g", "path", "line", "circle", "rect", "text", "title"].includes(tag) && attributes.ns !== 0;
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) if (key !== "ns") node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  // ---- what is chosen, kept in the page's address ----

  let chosen = read();
  function read() {
    const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    return Object.keys(given).length ? { ...DEFAULT, "a.age_group": "", "b.age_group": "", ...given } : { ...DEFAULT };
  }
  function choose(changes) {
    chosen = { ...chosen, ...changes };
    keep();
    draw();
  }
  function keep() {
    history.replaceState(null, "", "#" + new URLSearchParams(Object.entries(chosen).filter(([, value]) => value !== "")));
  }

  // ---- data ----

  const unpacked = new Map();
  function unpack(packed) {
    if (!unpacked.has(packed)) {
      const bytes = Uint8Array.from(atob(packed.values), (letter) => letter.charCodeAt(0));
      unpacked.set(packed, packed.bits === 8 ? bytes : new Uint16Array(bytes.buffer));
    }
    return unpacked.get(packed);
  }
  const setsOf = (corpus, task) => DATA.corpora[corpus].sets.filter((set) => set.task === task);

  // Speakers of a side, as places among those of the corpus.
  function members(side) {
    const { columns, count } = DATA.corpora[chosen.corpus];
    const picked = [];
    for (let speaker = 0; speaker < count; speaker++) {
      const fits = Object.entries(columns).every(([column, values]) => {
        const wanted = chosen[`${side}.${column}`] || "";
        if (wanted === "") return true;
        const value = values[speaker];
        if (value === null) return false;
        if (column !== "age") return String(value) === wanted;
        const [least, most] = wanted.split("-").map((part) => (part === "" ? null : Number(part)));
        return (least === null || value >= least) && (most === null || value <= most);
      });
      if (fits) picked.push(speaker);
    }
    return picked;
  }
  const restricted = (side) =>
    Object.keys(DATA.corpora[chosen.corpus].columns).some((column) => chosen[`${side}.${column}`]);

  function called(side) {
    const { columns, people } = DATA.corpora[chosen.corpus];
    const parts = Object.keys(columns).map((column) => {
      const wanted = chosen[`${side}.${column}`] || "";
      if (!wanted) return "";
      if (column !== "age") return (people[column] || {})[wanted] || wanted;
      const [least, most] = wanted.split("-");
      return least && least === most ? `aged ${least}` : least && most ? `aged ${least} to ${most}` : least ? `aged ${least} or more` : `aged up to ${most}`;
    }).filter(Boolean);
    return parts.length ? parts.join(", ") : "all speakers";
  }

  function sides(set) {
    const place = new Map(set.speakers.map((speaker, at) => [speaker, at]));
    const inside = (side) => members(side).filter((speaker) => place.has(speaker)).map((speaker) => place.get(speaker));
    return [inside("a"), inside("b")];
  }

  function analysed(set) {
    const corpus = DATA.corpora[chosen.corpus];
    const [one, other] = sides(set);
    const data = {
      layers: set.layers.length, seeds: set.seeds, errors: unpack(set.errors), units: unpack(set.units),
      most: DATA.tasks[set.task].bounded ? 1 : 0,
    };
    const words = {
      resample: set.speakers.map((speaker) => corpus.resample[speaker]),
      permute: set.speakers.map((speaker) => corpus.permute[speaker]), seeds: corpus.seeds,
    };
    return { set, data, one, other, rows: gaps(data, one, other, words, chosen.scale) };
  }

  function refusal(set) {
    const [one, other] = sides(set), shared = one.filter((speaker) => other.includes(speaker));
    if (!restricted("a") && !restricted("b")) return "Choose what makes the two groups, by at least one column.";
    if (shared.length) return `${shared.length} speakers are in both groups: choose groups that exclude each other.`;
    for (const [side, group] of [["first", one], ["second", other]]) {
      if (group.length < 2) {
        return `The ${side} group has ${group.length === 1 ? "one speaker" : "no speaker"} among those tested: at least two are needed.`;
      }
    }
    return "";
  }

  // ---- the form ----

  const form = make("form", { class: "explorer-form" });
  const output = make("div", { class: "explorer-output" });
  const said = make("p", { class: "explorer-said", role: "status", "aria-live": "polite" });
  root.append(form, said, output);
  form.addEventListener("submit", (event) => event.preventDefault());

  function select(label, key, options) {
    const field = make("select", { name: key });
    for (const [value, text] of options) {
      const option = make("option", { value }, text);
      if (value === (chosen[key] || "")) option.selected = true;
      field.append(option);
    }
    field.addEventListener("change", () => choose({ [key]: field.value }));
    return make("label", {}, make("span", {}, label), field);
  }

  function ages(side) {
    const [least = "", most = ""] = (chosen[`${side}.age`] || "").split("-");
    const box = (label, value) => make("input", { type: "number", min: 0, max: 120, value, "aria-label": label });
    const from = box("youngest age", least), to = box("oldest age", most);
    const changed = () => choose({ [`${side}.age`]: from.value || to.value ? `${from.value}-${to.value}` : "" });
    from.addEventListener("change", changed);
    to.addEventListener("change", changed);
    return make("div", { class: "explorer-ages" }, make("span", {}, "age from "), from, make("span", {}, " to "), to);
  }

  function group(side, title) {
    const { columns, people } = DATA.corpora[chosen.corpus];
    const box = make("fieldset", { class: `explorer-group explorer-${side}` }, make("legend", {}, title));
    for (const [column, values] of Object.entries(columns)) {
      if (column === "age") { box.append(ages(side)); continue; }
      const there = [...new Set(values.filter((value) => value !== null).map(String))].sort();
      const options = there.map((value) => [value, (people[column] || {})[value] || value]);
      box.append(select(name(column), `${side}.${column}`, [["", "any"], ...options]));
    }
    return box;
  }

  function fill(focused) {
    form.replaceChildren();
    const corpora = Object.keys(DATA.corpora).map((corpus) => [corpus, corpus]);
    const tasks = Object.entries(DATA.tasks).filter(([task]) => setsOf(chosen.corpus, task).length)
      .map(([task, about]) => [task, about.title]);
    const encoders = setsOf(chosen.corpus, chosen.task).map((set) => [set.encoder, set.label]);
    const what = make("fieldset", {}, make("legend", {}, "What"));
    what.append(
      select("task", "task", tasks), select("encoder", "encoder", encoders), select("speech", "corpus", corpora),
      select("scale of the gap", "scale", Object.entries(SCALES).map(([key, scale]) => [key, scale.title])),
      select("controls", "controls", [["1", "shown"], ["0", "not shown"]]),
    );
    form.append(what, group("a", "First group"), group("b", "Second group"));
    if (focused) form.querySelector(`[name="${CSS.escape(focused)}"]`)?.focus();
  }

  // ---- charts ----

  function scaleOf(values, height, top, room = 0.06) {
    const finite = values.filter(Number.isFinite);
    let low = Math.min(...finite), high = Math.max(...finite);
    const apart = Math.max(high - low, 1e-6);
    low -= room * apart; high += room * apart;
    const y = (value) => top + ((high - value) / (high - low)) * height;
    const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
    const ticks = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(Math.abs(tick) < step / 1e6 ? 0 : tick);
    return { y, ticks };
  }

  // lines: {name, colour, dash, values, low, high}; band: {low, high}; level: a rule.
  function chart({ title, axis, format, layers, lines, band, level, onLayer, active }) {
    const width = Math.max(300, root.clientWidth), height = 220, top = 14, left = 46, right = 12, bottom = 40;
    const svg = make("svg", { viewBox: `0 0 ${width} ${height + top + bottom}`, role: "img", "aria-label": title, class: "explorer-chart" });
    const all = lines.flatMap((line) => [...line.values, ...(line.low || []), ...(line.high || [])]);
    const { y, ticks } = scaleOf([...all, ...(band ? [...band.low, ...band.high] : []), ...(level === undefined ? [] : [level])], height, top);
    const x = (place) => left + ((width - left - right) * (place + 0.5)) / layers.length;
    for (const tick of ticks) {
      svg.append(make("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "grid" }));
      svg.append(make("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, format(tick)));
    }
    const area = (low, high, attributes) => {
      const there = layers.map((_, place) => place).filter((place) => Number.isFinite(low[place]) && Number.isFinite(high[place]));
      if (!there.length) return;
      const points = there.length === 1
        ? [[x(there[0]) - 8, high[there[0]]], [x(there[0]) + 8, high[there[0]]], [x(there[0]) + 8, low[there[0]]], [x(there[0]) - 8, low[there[0]]]]
        : [...there.map((place) => [x(place), high[place]]), ...there.reverse().map((place) => [x(place), low[place]])];
      svg.append(make("path", { d: "M" + points.map(([px, value]) => `${px},${y(value)}`).join("L") + "Z", ...attributes }));
    };
    if (band) area(band.low, band.high, { class: "null" });
    if (level !== undefined) svg.append(make("line", { x1: left, x2: width - right, y1: y(level), y2: y(level), class: "level" }));
    for (const line of lines) {
      if (line.low) area(line.low, line.high, { fill: line.colour, "fill-opacity": 0.16 });
      const there = layers.map((_, place) => place).filter((place) => Number.isFinite(line.values[place]));
      const path = there.map((place) => `${x(place)},${y(line.values[place])}`).join("L");
      if (there.length) svg.append(make("path", { d: "M" + path, fill: "none", stroke: line.colour, "stroke-width": 2.2, "stroke-dasharray": line.dash || "none" }));
      for (const place of there) if (!line.plain) svg.append(make("circle", { cx: x(place), cy: y(line.values[place]), r: 4, fill: line.colour }));
    }
    layers.forEach((layer, place) => {
      svg.append(make("text", { x: x(place), y: height + top + 16, "text-anchor": "middle" }, layer === "logmel" ? "log-mel" : layer));
      const wide = (width - left - right) / layers.length;
      const hit = make("rect", { x: x(place) - wide / 2, y: top, width: wide, height, class: "hit" + (layer === active ? " active" : "") });
      hit.addEventListener("click", () => onLayer(layer));
      hit.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && onLayer(layer, true));
      svg.append(hit);
    });
    svg.append(make("text", { x: left + (width - left - right) / 2, y: height + top + 34, "text-anchor": "middle" }, "layer"));
    const figure = make("figure", { class: "explorer-figure" });
    const key = make("figcaption", {}, make("strong", {}, title), make("br"), make("span", { class: "axis" }, axis + ": "));
    for (const line of [...lines].reverse()) key.append(make("span", { class: "key" }, make("span", { class: "swatch", style: `background:${line.colour}` }), line.name));
    if (band) key.append(make("span", { class: "key" }, make("span", { class: "swatch null" }), "group labels shuffled"));
    figure.append(key, svg);
    return figure;
  }

  function strip(found, layer) { // one dot a speaker
    const at = found.set.layers.indexOf(layer), { seeds, layers, errors, units } = found.data;
    const rate = (speaker) => {
      let wrong = 0, all = 0;
      for (let seed = 0; seed < seeds; seed++) {
        wrong += errors[(speaker * seeds + seed) * layers + at];
        all += units[speaker * seeds + seed];
      }
      return wrong / all;
    };
    const groups = [["a", found.one], ["b", found.other]];
    const width = Math.max(300, root.clientWidth), left = 46, right = 26;
    const most = Math.max(...groups.flatMap(([, who]) => who.map(rate)), 0.01);
    const x = (value) => left + ((width - left - right) * value) / most;
    const svg = make("svg", { viewBox: `0 0 ${width} 122`, role: "img", class: "explorer-chart", "aria-label": `Error of each speaker at layer ${layer}` });
    groups.forEach(([side, who], row) => who.forEach((speaker, n) => {
      const spread = ((n * 0.618034) % 1) * 30 - 15; // a fixed scatter
      svg.append(make("circle", { cx: x(rate(speaker)), cy: 24 + 44 * row + spread, r: 4, fill: COLOURS[side], "fill-opacity": 0.55 }));
    }));
    for (let part = 0; part <= 4; part++) svg.append(make("text", { x: x((most * part) / 4), y: 112, "text-anchor": "middle" }, Math.round((1000 * most * part) / 4) / 10 + " %"));
    return make("figure", { class: "explorer-figure" }, make("figcaption", {}, make("strong", {}, `Each speaker’s error at layer ${layer}: one dot a person, ${called("a")} above, ${called("b")} below`)), svg);
  }

  // ---- what is found, drawn and said ----

  let shown = null, filled = "";
  function draw() {
    const corpus = Object.hasOwn(DATA.corpora, chosen.corpus) ? chosen.corpus : "speechocean762";
    if (!setsOf(corpus, chosen.task).length) chosen.task = DATA.corpora[corpus].sets[0].task;
    chosen.corpus = corpus;
    const sets = setsOf(corpus, chosen.task);
    const set = sets.find((one) => one.encoder === chosen.encoder) || sets[0];
    chosen.encoder = set.encoder;
    if (!Object.hasOwn(SCALES, chosen.scale)) chosen.scale = "log_odds";
    // Made anew only where it offers something else: who types an age keeps the field that has the focus.
    if (filled !== `${corpus} ${chosen.task}`) fill(document.activeElement && document.activeElement.name);
    filled = `${corpus} ${chosen.task}`;
    const why = refusal(set);
    output.replaceChildren();
    shown = null;
    if (why) { said.textContent = why; return; }
    const found = analysed(set);
    if (!set.layers.includes(chosen.layer)) {
      const pooled = found.rows.map((row) => row.errors[0].error * found.one.length + row.errors[1].error * found.other.length);
      chosen.layer = set.layers[pooled.indexOf(Math.min(...pooled))];
    }
    const controls = chosen.controls === "1"
      ? sets.filter((one) => (one.encoder === set.twin || one.encoder === "logmel") && one !== set && !refusal(one)).map(analysed)
      : [];
    shown = { found, controls };
    render();
  }

  function lineOf(found, layers, pick, more) {
    const level = found.set.layers.length === 1; // log-mel has one layer, and is drawn at all of the encoder's
    const at = (layer) => (level ? 0 : found.set.layers.indexOf(layer));
    const value = (key) => layers.map((layer) => (at(layer) < 0 ? NaN : pick(found.rows[at(layer)], key)));
    return { values: value("value"), low: value("low"), high: value("high"), ...more };
  }

  function render() {
    const { found, controls } = shown, { layers } = found.set, scale = SCALES[chosen.scale];
    const onLayer = (layer, hover) => {
      if (layer === chosen.layer) return;
      chosen.layer = layer;
      if (!hover) keep();
      render();
    };
    const error = (side) => (row, key) => row.errors[side][key === "value" ? "error" : key];
    const gap = (row, key) => row[key === "value" ? "estimate" : key];
    const task = DATA.tasks[found.set.task];
    // As fairlib.findings.gaps has it: beyond chance over all layers, and an interval that excludes no gap.
    const shownAt = found.rows.filter((row) => row.pFamilywise < 0.05 && (row.low > scale.neutral || row.high < scale.neutral)).length;
    output.replaceChildren(
      chart({
        title: `${task.title}, ${found.set.label}: the error of ${called("a")} and of ${called("b")}`, axis: `${task.axis} (%)`,
        layers, onLayer, active: chosen.layer, format: (v) => Math.round(1000 * v) / 10 + "",
        lines: [
          lineOf(found, layers, error(1), { name: `${called("b")} (${found.other.length})`, colour: COLOURS.b }),
          lineOf(found, layers, error(0), { name: `${called("a")} (${found.one.length})`, colour: COLOURS.a }),
        ],
      }),
      chart({
        title: `A gap beyond chance is shown at ${shownAt} of ${layers.length} ${layers.length === 1 ? "layer" : "layers"}`,
        axis: `${scale.title}, first group against second`, layers, onLayer, active: chosen.layer, level: scale.neutral,
        format: (v) => tickOf(scale.show(v)),
        band: { low: found.rows.map((row) => row.nullLow), high: found.rows.map((row) => row.nullHigh) },
        lines: [
          ...controls.map((one) => lineOf(one, layers, gap, {
            name: one.set.encoder === "logmel" ? one.set.label : "untrained twin", plain: true, dash: one.set.encoder === "logmel" ? "2 3" : "6 3",
            colour: one.set.encoder === "logmel" ? "var(--explorer-mel)" : "var(--explorer-twin)", low: null,
          })),
          lineOf(found, layers, gap, { name: found.set.label, colour: COLOURS.gap }),
        ],
      }),
      layerButtons(layers, onLayer), strip(found, chosen.layer), downloads(), table(found),
    );
    say(found);
  }

  function say(found) {
    const row = found.rows[found.set.layers.indexOf(chosen.layer)], scale = SCALES[chosen.scale], task = DATA.tasks[found.set.task];
    const [a, b] = row.errors, of = (one) => `${percent(one.error)} [${percent(one.low)}, ${percent(one.high)}]`;
    const few = Math.min(found.one.length, found.other.length) < 10 ? " With fewer than 10 people in a group, take this as a hint and no more." : "";
    const heard = found.set.heard ? " This encoder heard some of this corpus’s speakers in its own training." : "";
    said.textContent = `Layer ${chosen.layer} of ${found.set.label}, ${task.axis}: ${called("a")} (${found.one.length} speakers) ${of(a)}, `
      + `${called("b")} (${found.other.length}) ${of(b)}. ${scale.title[0].toUpperCase() + scale.title.slice(1)}: ${scale.show(row.estimate)} [${scale.show(row.low)}, ${scale.show(row.high)}], `
      + `p ${pOf(row.p)}, over all layers ${pOf(row.pFamilywise)}.${few}${heard}`;
  }

  function layerButtons(layers, onLayer) {
    const box = make("div", { class: "explorer-layers", role: "group", "aria-label": "layer to look at" }, make("span", {}, "Layer: "));
    for (const layer of layers) {
      const button = make("button", { type: "button", "aria-pressed": String(layer === chosen.layer) }, layer === "logmel" ? "log-mel" : layer);
      button.addEventListener("click", () => {
        onLayer(layer);
        [...output.querySelectorAll(".explorer-layers button")].find((one) => one.getAttribute("aria-pressed") === "true")?.focus();
      });
      box.append(button);
    }
    return box;
  }

  function table(found) {
    const head = ["layer", `${called("a")}, error %`, `${called("b")}, error %`, SCALES[chosen.scale].title, "p", "p over all layers"];
    const cell = (text) => make("td", {}, text), of = (one) => `${fixed(100 * one.error, 1)} [${fixed(100 * one.low, 1)}, ${fixed(100 * one.high, 1)}]`;
    const { show } = SCALES[chosen.scale];
    const body = found.rows.map((row, at) => make("tr", {}, cell(found.set.layers[at]), ...row.errors.map((one) => cell(of(one))),
      cell(`${show(row.estimate)} [${show(row.low)}, ${show(row.high)}]`), cell(pOf(row.p)), cell(pOf(row.pFamilywise))));
    return make("details", {}, make("summary", {}, "All layers as a table"), make("div", { class: "fairlib-table", tabindex: "0", role: "region", "aria-label": "all layers" },
      make("table", {}, make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, ...body))));
  }

  // ---- downloads ----

  function save(content, type, file) {
    const link = make("a", { href: typeof content === "string" && content.startsWith("data:") ? content : URL.createObjectURL(new Blob([content], { type })), download: file });
    document.body.append(link); link.click(); link.remove();
  }

  function csv() {
    const { found, controls } = shown;
    const lines = ["corpus,task,encoder,layer,first group,second group,speakers a,speakers b,error a,error a low,error a high,error b,error b low,error b high,scale,estimate,low,high,null low,null high,p,p familywise"];
    const quoted = (text) => `"${String(text).replace(/"/g, '""')}"`;
    for (const one of [found, ...controls]) one.rows.forEach((row, at) => lines.push([
      chosen.corpus, chosen.task, one.set.encoder, one.set.layers[at], quoted(called("a")), quoted(called("b")), one.one.length, one.other.length,
      ...row.errors.flatMap((each) => [each.error, each.low, each.high]), chosen.scale, row.estimate, row.low, row.high, row.nullLow, row.nullHigh, row.p, row.pFamilywise,
    ].join(",")));
    return lines.join("\n") + "\n";
  }

  function picture() { // both charts, one below the other, with their keys, and colours that stand by themselves
    const charts = [...output.querySelectorAll("figure")].slice(0, 2), style = getComputedStyle(root);
    const colour = (text) => text.replace(/var\((--[\w-]+)\)/g, (_, variable) => style.getPropertyValue(variable).trim());
    const safe = (text) => text.replace(/[&<]/g, (c) => (c === "&" ? "&amp;" : "&lt;"));
    let top = 4, inside = "", width = 0;
    for (const figure of charts) {
      const svg = figure.querySelector("svg").cloneNode(true), [, , w, h] = svg.getAttribute("viewBox").split(" ").map(Number);
      svg.querySelectorAll(".hit").forEach((hit) => hit.remove());
      width = w;
      const write = (text, more = "", x = 4) => { // in lines as long as the picture is wide
        const lines = safe(text.trim()).match(new RegExp(`\\S.{0,${Math.floor((w - x) / 7) - 1}}(?=\\s|$)|\\S+`, "g")) || [];
        for (const line of lines) inside += `<text x="${x}" y="${(top += 16) - 2}"${more}>${line}</text>`;
      };
      write(figure.querySelector("strong").textContent, ' font-weight="600"');
      write(figure.querySelector(".axis").textContent);
      for (const key of figure.querySelectorAll(".key")) {
        const fill = colour(key.firstChild.style.background) || "#8886"; // the swatch's, or that of shuffled labels
        inside += `<rect x="4" y="${top + 5}" width="10" height="10" fill="${fill}"/>`;
        write(key.textContent, "", 20);
      }
      inside += `<g transform="translate(0 ${top})">${colour(svg.innerHTML)}</g>`;
      top += h + 12;
    }
    const ink = style.getPropertyValue("--explorer-ink").trim();
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top}" viewBox="0 0 ${width} ${top}" font-family="sans-serif" font-size="12" fill="${ink}">`
      + `<style>.grid{stroke:#8884}.level{stroke:${ink}}.null{fill:#8886}</style><rect width="100%" height="100%" fill="${style.getPropertyValue("--explorer-paper").trim()}"/>${inside}</svg>`;
  }

  function downloads() {
    const box = make("p", { class: "explorer-downloads" });
    const button = (text, act) => {
      const one = make("button", { type: "button" }, text);
      one.addEventListener("click", act);
      box.append(one);
    };
    const file = `fairness-${chosen.task}-${chosen.encoder.replace(/[^\w.-]+/g, "-")}`;
    button("CSV", () => save(csv(), "text/csv", file + ".csv"));
    button("SVG", () => save(picture(), "image/svg+xml", file + ".svg"));
    button("PNG", () => {
      const image = new Image(), source = picture();
      image.onload = () => {
        const canvas = make("canvas", { width: 2 * image.width, height: 2 * image.height });
        canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
        save(canvas.toDataURL("image/png"), "image/png", file + ".png");
      };
      image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(source);
    });
    button("Copy link", () => {
      keep(); // the layer may be one that was pointed at, of which the address does not know
      navigator.clipboard?.writeText(location.href);
    });
    return box;
  }

  window.Explorer = { analysed: (changes) => { chosen = { ...DEFAULT, "a.age_group": "", "b.age_group": "", ...changes }; filled = ""; draw(); return shown && { layers: shown.found.set.layers, sizes: [shown.found.one.length, shown.found.other.length], rows: shown.found.rows }; } };
  window.addEventListener("hashchange", () => { chosen = read(); filled = ""; draw(); });
  let narrow = root.clientWidth;
  window.addEventListener("resize", () => { if (shown && Math.abs(root.clientWidth - narrow) > 20) { narrow = root.clientWidth; render(); } });
  draw();
})();
