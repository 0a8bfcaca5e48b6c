"use strict";
// What the charts of every page share: lines with bands, legends, arrow keys, zoom, themes and paper.
const charts = (() => {
  const points = ["circle", "triangle", "rect", "rectRot", "star", "crossRot"];
  const signs = ["●", "▲", "■", "◆", "✱", "✕"];
  const dashes = [[], [7, 4], [2, 3], [9, 3, 2, 3]];
  const crowded = 30; // more places than this along an axis can be zoomed into
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const figure = (value) => (value !== 0 && Math.abs(value) < 5e-4 ? value.toExponential(1) : value.toPrecision(3));

  function bound(values, line, fill, isFaint) {
    return { isFaint, data: values, line, pointRadius: 0, pointHoverRadius: 0, pointHitRadius: 0, borderWidth: 0, fill, isBound: true };
  }
  // One line; `marked` tells which of its points are large. One radius per point, for Chart.js would keep the first
  // colour of points that share all their options.
  function plain(name, values, line, { width = 1.8, marked = [], many = false } = {}) {
    const size = (large, small) => values.map((_, at) => (marked[at] ? large : small));
    return { label: name, data: values, line, borderWidth: width, borderDash: dashes[Math.floor(line / 6) % dashes.length],
      pointStyle: points[line % 6], pointRadius: size(many ? 4.5 : 6, many ? 0 : 2.5), pointHoverRadius: size(9, 5),
      pointBorderWidth: line % 6 > 3 ? 2 : 1, tension: 0, clip: 8 };
  }
  // A line in its 95 % band: three data sets.
  function banded(series, line, { faint = false, ...options }) {
    return [bound(series.low, line, false, faint), bound(series.high, line, "-1", faint),
      plain(series.name, series.mean, line, { ...options, marked: series.rank })];
  }
  // `label` tells a place of a line, `title` a place of the axis, `chosen` what Enter does there.
  function draw(canvas, data, { x, y, title, label, type = "line", chosen = null, sorted = true }) {
    const chart = new Chart(canvas, {
      type, data,
      options: {
        animation: false, responsive: true, maintainAspectRatio: false, spanGaps: false, normalized: true,
        interaction: { mode: "index", intersect: false },
        scales: { x: { grid: {}, ...x }, y: { grid: {}, ticks: {}, ...y } },
        plugins: {
          legend: { display: false },
          tooltip: { filter: (item) => !item.dataset.isBound, usePointStyle: true,
            ...(sorted ? { itemSort: (a, b) => b.parsed.y - a.parsed.y } : {}),
            callbacks: { title: ([item]) => item && title(item.dataIndex), label } },
        },
      },
    });
    const window = data.labels.length > crowded && x.type !== "linear" ? windowOf(chart) : null;
    canvas.addEventListener("keydown", keys(chart, { told: readout(chart), window, chosen }));
    return chart;
  }
  // The numbers at the marked place in words, below the chart: the box beside the pointer is a picture.
  function readout(chart) {
    const line = document.createElement("p");
    line.className = "readout";
    line.setAttribute("role", "status");
    chart.canvas.parentElement.after(line);
    return () => {
      const { title, body } = chart.tooltip;
      line.textContent = [...title, ...body.flatMap(({ lines }) => lines)].map((text) => text.trim()).join(" · ");
    };
  }
  // Buttons that show a part of a long axis.
  function windowOf(chart) {
    const end = chart.data.labels.length - 1;
    let [first, last] = [0, end];
    const box = document.createElement("div");
    const status = document.createElement("span");
    box.className = "zoom";
    status.setAttribute("role", "status");
    function show(from, size) {
      const wide = Math.max(8, Math.min(end, Math.round(size)));
      first = Math.max(0, Math.min(end - wide, Math.round(from)));
      last = first + wide;
      Object.assign(chart.options.scales.x, { min: first, max: last });
      chart.update("none");
      status.textContent = wide === end ? "" : `${first} to ${last} of ${end}`;
    }
    const size = () => last - first;
    const zoom = (factor) => show(first + (size() - size() * factor) / 2, size() * factor);
    const move = (part) => show(first + part * size(), size());
    const uses = { "+": ["Zoom in", () => zoom(1 / 2)], "−": ["Zoom out", () => zoom(2)], "◀": ["Earlier layers", () => move(-1 / 2)],
      "▶": ["Later layers", () => move(1 / 2)], All: ["All layers", () => show(0, end)] };
    for (const [sign, [name, use]] of Object.entries(uses)) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "plain";
      button.textContent = sign;
      button.setAttribute("aria-label", name);
      button.addEventListener("click", use);
      box.append(button);
    }
    box.append(status);
    chart.canvas.parentElement.before(box);
    return { zoom, all: () => show(0, end), reach: (at) => (at < first || at > last) && show(at - size() / 2, size()) };
  }
  // Colours of the present theme; `marked` tells which ticks of the x axis stand out.
  function paint(chart, marked = () => false) {
    chart.data.datasets.forEach((set) => {
      const line = colour(`--c${set.line % 8}`);
      set.borderColor = set.isThreshold ? colour("--soft") : line;
      set.backgroundColor = set.isBound ? line + (set.isFaint ? "14" : "2b") : line;
    });
    const { x, y } = chart.options.scales;
    for (const axis of [x, y]) {
      axis.grid.color = colour("--line");
      axis.ticks.color = colour("--soft");
      axis.title.color = colour("--soft");
    }
    x.ticks.color = (context) => colour(marked(context.tick.value) ? "--ink" : "--soft");
    chart.options.plugins.tooltip.backgroundColor = colour("--ink");
    chart.options.plugins.tooltip.titleColor = colour("--page");
    chart.options.plugins.tooltip.bodyColor = colour("--page");
    chart.update("none");
  }
  function keys(chart, { told, window, chosen }) {
    let active = -1;
    return (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const last = chart.data.labels.length - 1;
      const target = { ArrowLeft: active - 1, ArrowRight: active + 1, PageUp: active - 10, PageDown: active + 10, Home: 0,
        End: last }[event.key];
      const use = { "+": () => window?.zoom(1 / 2), "-": () => window?.zoom(2), 0: () => window?.all(),
        Enter: () => active >= 0 && chosen?.(active) }[event.key];
      if (target === undefined && use === undefined) return;
      event.preventDefault();
      use?.();
      if (target === undefined) return;
      active = Math.max(0, Math.min(last, target));
      window?.reach(active);
      light(chart, active);
      told();
    };
  }
  function light(chart, index) {
    const items = chart.data.datasets.map((set, datasetIndex) => ({ set, datasetIndex, index }))
      .filter(({ set, datasetIndex }) => !set.isBound && chart.isDatasetVisible(datasetIndex) && (set.data[index] ?? null) !== null);
    const middle = chart.chartArea.top + chart.chartArea.height / 2;
    const place = items.length ? chart.getDatasetMeta(items[0].datasetIndex).data[index].x : 0;
    chart.setActiveElements(items);
    chart.tooltip.setActiveElements(items, { x: place, y: middle });
    chart.update("none");
  }
  function addToLegend(element, chart, { name, mark, line, places }) {
    const button = document.createElement("button");
    const sign = document.createElement("i");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    sign.textContent = mark ?? `─${signs[line % 6]}─`;
    sign.style.color = `var(--c${line % 8})`;
    sign.setAttribute("aria-hidden", "true");
    button.append(sign, name);
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", String(shown));
      places.forEach((place) => chart.setDatasetVisibility(place, shown));
      chart.update("none");
    });
    element.append(button);
  }
  // Paints now and whenever the theme or the medium changes; on paper charts have its width and are sharp.
  function follow(drawn, repaint) {
    const ratio = (value) => drawn.forEach((chart) => { chart.options.devicePixelRatio = value; });
    repaint();
    page.onTheme(repaint);
    page.onPrint(() => {
      ratio(2.5);
      drawn.forEach((chart) => chart.resize(690, chart.canvas.parentElement.classList.contains("low") ? 260 : 340));
      repaint();
    }, () => {
      ratio(undefined);
      drawn.forEach((chart) => chart.resize());
      repaint();
    });
  }
  return { colour, figure, plain, banded, draw, paint, addToLegend, follow };
})();
