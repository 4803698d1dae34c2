// Draws the plots, sorts and filters the tables, changes the theme and MLflow's address. Every figure comes from the page.
(() => {
  "use strict";
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const root = document.documentElement;
  const element = (name, fields = {}, ...children) => {
    const made = Object.assign(document.createElement(name), fields);
    made.append(...children);
    return made;
  };
  // A file opened from disk may be denied a memory: then the choice holds for this visit.
  const memory = {
    get(key) { try { return localStorage.getItem(key); } catch { return null; } },
    set(key, value) { try { localStorage.setItem(key, value); } catch { /* not remembered */ } },
  };

  // --- theme
  const system = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const dark = () => !printing && (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const remembered = memory.get("breakeven-theme");
  if (remembered) root.dataset.theme = remembered;
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    memory.set("breakeven-theme", root.dataset.theme);
    redrawAll();
  });
  system.addEventListener("change", () => redrawAll());

  // --- plots
  const shade = (colour, alpha) => {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    return `rgba(${r},${g},${b},${alpha})`;
  };
  const hue = (one) => one.colours[dark() ? 1 : 0];

  function traces(series) {
    const colour = hue(series), base = { x: series.x, y: series.y, name: series.label, type: "scatter", showlegend: false,
      text: series.texts, meta: series.cells, hovertemplate: `${series.label}<br>%{x:,.4~g}: ` + (series.texts ? "%{text}" : "%{y:.4~g}") + "<extra></extra>" };
    if (series.kind === "published")
      return [{ ...base, mode: "lines+markers", opacity: 0.45, line: { color: colour, width: 1, dash: "dot" },
        marker: { symbol: `${series.symbol}-open`, size: 10, color: colour, line: { width: 1.4 } }, error_y: bars(series, colour, 1) }];
    if (series.kind === "above" || series.kind === "below")
      return [{ ...base, mode: "markers", marker: { symbol: `triangle-${series.kind === "above" ? "up" : "down"}-open`, size: 10, color: colour, line: { width: 1.6 } },
        error_y: bars(series, colour, 1.3) }];
    if (series.kind === "curve") {
      const made = [];
      if (series.low && series.low.some((value) => value !== null))
        made.push({ x: [...series.x, ...series.x.slice().reverse()], y: [...series.high, ...series.low.slice().reverse()], fill: "toself",
          fillcolor: shade(colour, 0.15), line: { width: 0 }, mode: "lines", type: "scatter", hoverinfo: "skip", showlegend: false });
      const cut = series.split === undefined ? series.x.length : series.x.findIndex((value) => value > series.split * 1.000001);
      const part = (from, to, dash) => ({ ...base, x: series.x.slice(from, to), y: series.y.slice(from, to), mode: "lines",
        text: series.texts && series.texts.slice(from, to), line: { color: colour, width: 2, dash } });
      made.push(part(0, cut < 0 ? series.x.length : cut, series.split === undefined ? series.dash : "solid"));
      if (cut > 0 && cut < series.x.length) made.push(part(cut - 1, series.x.length, "dot"));
      return made;
    }
    return [{ ...base, mode: series.kind === "markers" ? "markers" : "lines+markers",
      line: { color: colour, width: series.hollow ? 1.5 : 2, dash: series.dash },
      marker: { symbol: series.hollow ? `${series.symbol}-open` : series.symbol, size: series.hollow ? 6 : 7, color: colour },
      error_y: bars(series, colour, 1.3) }];
  }
  function bars(series, colour, thickness) {
    if (!series.low) return undefined;
    const away = (end) => series.y.map((y, i) => (end[i] === null || end[i] === undefined ? 0 : Math.abs(end[i] - y)));
    return { type: "data", symmetric: false, array: away(series.high), arrayminus: away(series.low), color: colour, thickness, width: 3 };
  }
  // Series of different treatments at one size are set apart by a few per cent, so that their error bars can be told.
  function apart(panel) {
    const beside = panel.series.filter((one) => one.kind === "points").map((one) => one.label), place = (one) => beside.indexOf(one.label);
    return panel.series.map((one) => (panel.xlog && ["points", "above", "below"].includes(one.kind) && place(one) >= 0
      ? { ...one, x: one.x.map((x) => x * (1 + 0.05 * (place(one) - (beside.length - 1) / 2))), at: one.x } : one));
  }
  const count = (value) => (value >= 1e6 ? `${value / 1e6}M` : value >= 1e3 ? `${value / 1e3}k` : `${value}`);
  const labelled = (ticks) => ({ tickmode: "array", tickvals: ticks, ticktext: ticks.map(count) });
  // 1, 2, 5, 10 ... around these values; decades alone where they span more than three, more where they span little.
  function steps(values) {
    const positive = values.filter((value) => value > 0);
    if (!positive.length) return [1];
    const low = Math.floor(Math.log10(Math.min(...positive))), high = Math.ceil(Math.log10(Math.max(...positive)));
    const span = Math.max(...positive) / Math.min(...positive);
    const within = span < 4 ? [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9] : span < 20 ? [1, 2, 3, 5, 7] : high - low > 3 ? [1] : [1, 2, 5], made = [];
    for (let power = low; power <= high; power += 1) made.push(...within.map((digit) => Number(`${digit}e${power}`)));
    return made;
  }

  function layout(panel) {
    const ink = getComputedStyle(root).getPropertyValue("--soft"), rule = getComputedStyle(root).getPropertyValue("--rule");
    const axis = { gridcolor: rule, linecolor: rule, zeroline: false, color: ink, tickfont: { size: 11 }, automargin: true };
    const published = panel.series.filter((one) => one.kind === "published").flatMap((one) => one.x);
    const ticks = [...new Set([...panel.ticks, ...published])].sort((a, b) => a - b);
    const few = panel.xlog && ticks.length > 0 && ticks.length <= 6;
    const alone = panel.xlog && ticks.length === 1;
    return {
      margin: { l: 52, r: 10, t: 8, b: 42 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      font: { family: "system-ui, sans-serif", size: 12, color: ink }, barmode: "stack", bargap: 0.35, dragmode: "zoom",
      hoverlabel: { font: { size: 12 }, align: "left" },
      xaxis: { ...axis, title: { text: panel.x, standoff: 6, font: { size: 12 } }, type: panel.xlog ? "log" : "linear", showgrid: panel.bars.length > 0,
        rangemode: panel.xlog ? "normal" : "tozero",
        ...(few ? labelled(ticks) : panel.xlog ? labelled(steps(panel.series.flatMap((one) => one.x))) : { nticks: 6 }),
        ...(alone ? { range: [Math.log10(ticks[0] / 2), Math.log10(ticks[0] * 2)] } : {}) },
      yaxis: { ...axis, title: { text: panel.y, standoff: 6, font: { size: 12 } }, type: panel.bars.length ? "category" : panel.ylog ? "log" : "linear",
        autorange: panel.bars.length ? "reversed" : true,
        ...(panel.ylog ? labelled(steps(panel.series.flatMap((one) => [...one.y, ...(one.low || []), ...(one.high || [])]))) : { nticks: 6 }) },
      shapes: panel.references.map(([y]) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, layer: "below", line: { color: ink, width: 1, dash: "dash" } })),
      annotations: panel.references.filter(([, words]) => words).map(([y, words]) => ({ xref: "paper", x: 1, xanchor: "right", y: panel.ylog ? Math.log10(y) : y,
        yanchor: "bottom", text: words, showarrow: false, font: { size: 10, color: ink } })),
    };
  }

  function data(panel, hidden) {
    const lines = apart(panel).filter((one) => !hidden.has(one.kind === "published" ? "published" : one.label));
    return [
      ...lines.flatMap((one) => traces(one).map((trace) => (one.at ? { ...trace, customdata: one.at, hovertemplate: trace.hovertemplate.replace("%{x:", "%{customdata:") } : trace))),
      ...panel.bars.filter((one) => !hidden.has(one.part)).map((one) => ({ type: "bar", orientation: "h", x: one.values, y: one.categories, name: one.part,
        marker: { color: hue(one) }, showlegend: false, hovertemplate: `${one.part}, %{y}: %{x:.3~g}<extra></extra>` })),
    ];
  }

  const settings = { displaylogo: false, responsive: true, displayModeBar: false };
  const drawn = new Set();

  function draw(figure) {
    const plot = plots[figure.dataset.plot], panels = figure.querySelector(".panels");
    const names = plot.variants.map(([name]) => name), chosen = figure.state.variant;
    const shown = plot.variants.find(([name]) => name === chosen)[1];
    panels.className = "panels" + (shown.length === 1 ? " single" : shown.length === 2 ? " double" : "");
    if (panels.children.length !== shown.length || figure.state.drawn !== chosen) {
      panels.replaceChildren(...shown.map((panel) => {
        const drawing = element("div", { className: "drawing" });
        if (panel.bars.length) drawing.style.height = `${110 + 32 * panel.bars[0].categories.length}px`;
        return element("div", { className: "panel" }, ...(panel.title ? [element("h4", { textContent: panel.title })] : []), drawing,
          ...(panel.remark ? [element("p", { className: "remark", textContent: panel.remark })] : []));
      }));
      figure.state.drawn = chosen;
    }
    [...panels.querySelectorAll(".drawing")].forEach((drawing, index) => {
      const first = !drawing.classList.contains("js-plotly-plot");
      Plotly.react(drawing, data(shown[index], figure.state.hidden), layout(shown[index]), settings);
      if (first) drawing.on("plotly_click", (event) => picked(figure, event.points[0]));
    });
    legend(figure, plot, names, shown);
    drawn.add(figure);
  }

  function legend(figure, plot, names, shown) {
    const controls = figure.querySelector(".controls");
    const keys = new Map();
    for (const panel of shown) {
      for (const one of panel.series) {
        const label = one.kind === "published" ? "published" : one.label, known = keys.get(label);
        if (!known || (known.kind !== "points" && one.kind !== "curve")) keys.set(label, one);
      }
      for (const one of panel.bars) keys.set(one.part, one);
    }
    const last = keys.get("published");
    if (last && keys.delete("published")) keys.set("published", last);
    const made = [...keys].map(([label, one]) => {
      const key = element("button", { type: "button", className: "key", title: "hide or show" });
      key.setAttribute("aria-pressed", String(!figure.state.hidden.has(label)));
      key.innerHTML = swatch(one);
      key.append(label === "published" ? "published (arXiv 2412.10665)" : label);
      key.addEventListener("click", () => {
        if (!figure.state.hidden.delete(label)) figure.state.hidden.add(label);
        draw(figure);
      });
      return key;
    });
    if (names.length > 1) {
      const choice = element("select", {}, ...names.map((name) => element("option", { value: name, textContent: name, selected: name === figure.state.variant })));
      choice.addEventListener("change", () => { figure.state.variant = choice.value; draw(figure); });
      made.unshift(element("label", {}, `${plot.choice} `, choice));
    }
    controls.replaceChildren(...made);
  }

  function swatch(one) {
    const colour = one.kind === "published" ? getComputedStyle(root).getPropertyValue("--soft") : hue(one);
    if (one.part) return `<svg width="14" height="12"><rect width="14" height="12" fill="${colour}"/></svg>`;
    const dash = one.kind === "published" ? "1.5 3" : one.dash === "solid" ? "none" : "5 3", hollow = one.hollow || one.kind === "published";
    const marks = { circle: '<circle cx="15" cy="7" r="3.6" @/>', square: '<rect x="11.6" y="3.6" width="6.8" height="6.8" @/>',
      diamond: '<path d="M15 2.4 19.6 7 15 11.6 10.4 7Z" @/>', "triangle-up": '<path d="M15 2.6 19.4 10.6H10.6Z" @/>' };
    const mark = one.kind === "curve" ? "" : (marks[one.kind === "published" ? "circle" : one.symbol] || marks["triangle-up"])
      .replace("@", `fill="${hollow ? "var(--ground)" : colour}" stroke="${colour}" stroke-width="1.4"`);
    return `<svg width="30" height="14"><line x1="0" x2="30" y1="7" y2="7" stroke="${colour}" stroke-width="2" stroke-dasharray="${dash}"/>${mark}</svg>`;
  }

  // --- from a point to its trials
  const anchor = (cell) => `trials-${cell.replace(/[^A-Za-z0-9_]+/g, "-")}`;
  function picked(figure, point) {
    const cells = point.data.meta || [], cell = cells.length > 1 ? cells[point.pointNumber] : cells[0];
    const said = figure.querySelector(".picked"), place = cell && document.getElementById(anchor(cell));
    if (!place) { said.textContent = ""; return; }
    const outside = place.querySelector("summary a.mlflow");
    said.replaceChildren(`${cell}: ${Array.isArray(point.data.text) ? point.data.text[point.pointNumber] : ""} `,
      element("a", { href: `#${place.id}`, textContent: "trials, seeds, hashes" }), " ",
      ...(outside ? [element("a", { href: outside.href, textContent: "MLflow" })] : []));
  }
  function unfold() {
    const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    for (let at = place; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    place.scrollIntoView();
  }
  addEventListener("hashchange", unfold);

  // --- tables
  const keyOf = (row, column) => { const entry = row.cells[column]; return entry.dataset.key === undefined ? entry.textContent : entry.dataset.key; };
  for (const head of document.querySelectorAll("table.sortable th button")) {
    head.addEventListener("click", () => {
      const th = head.parentElement, column = th.cellIndex, body = th.closest("table").tBodies[0];
      const sign = th.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of th.parentElement.cells) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const numeric = th.classList.contains("number");
      const value = (row) => { const key = keyOf(row, column); return key === "inf" ? Infinity : Number(key); };
      const rows = [...body.rows].map((row) => [row, keyOf(row, column)]);
      rows.sort(([a, x], [b, y]) => (x === "" || y === "" ? (x === "") - (y === "") : sign * (numeric ? value(a) - value(b) || 0 : x.localeCompare(y, "en", { numeric: true }))));
      body.append(...rows.map(([row]) => row));
    });
  }
  for (const filter of document.querySelectorAll(".filter"))
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of filter.parentElement.querySelectorAll("tbody tr"))
        row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    });

  // --- MLflow's address
  const address = document.getElementById("mlflow");
  if (address) {
    const apply = (base) => { for (const link of document.querySelectorAll("a.mlflow")) link.href = base.replace(/\/+$/, "") + link.getAttribute("href").replace(/^.*?(?=\/#\/)/, ""); };
    const kept = memory.get("breakeven-mlflow");
    if (kept) { address.value = kept; apply(kept); }
    address.addEventListener("change", () => { const base = address.value || address.dataset.address; apply(base); memory.set("breakeven-mlflow", address.value); });
  }

  // --- drawn when it comes into view, and all of it before printing
  const figures = [...document.querySelectorAll("figure.plot")];
  for (const figure of figures) figure.state = { variant: plots[figure.dataset.plot].variants[0][0], hidden: new Set() };
  const redrawAll = () => drawn.forEach(draw);
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { watch.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "600px" });
  figures.forEach((figure) => watch.observe(figure));
  addEventListener("beforeprint", () => { printing = true; figures.forEach(draw); });
  addEventListener("afterprint", () => { printing = false; redrawAll(); });
  unfold();
})();
