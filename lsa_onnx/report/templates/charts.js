"use strict";
// What the charts of every page share: lines with bands, legends, arrow keys, themes and paper.
const charts = (() => {
  const points = ["circle", "triangle", "rect", "rectRot", "star", "crossRot"];
  const signs = ["●", "▲", "■", "◆", "✱", "✕"];
  const dashes = [[], [7, 4], [2, 3], [9, 3, 2, 3]];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const figure = (value) => (value !== 0 && Math.abs(value) < 5e-4 ? value.toExponential(1) : value.toPrecision(3));

  function bound(values, line, fill) {
    return { data: values, line, pointRadius: 0, pointHoverRadius: 0, pointHitRadius: 0, borderWidth: 0, fill, isBound: true };
  }
  // One line; `marked` tells which of its points are large. One radius per point, for Chart.js would keep the first
  // colour of points that share all their options.
  function plain(name, values, line, { width = 1.8, marked = [], many = false } = {}) {
    const size = (large, small) => values.map((_, at) => (marked[at] ? large : small));
    return { label: name, data: values, line, borderWidth: width, borderDash: dashes[Math.floor(line / 6) % dashes.length],
      pointStyle: points[line % 6], pointRadius: size(6, many ? 0 : 2.5), pointHoverRadius: size(9, 5),
      pointBorderWidth: line % 6 > 3 ? 2 : 1, tension: 0, clip: 8 };
  }
  // A line in its 95 % band: three data sets.
  function banded(series, line, options) {
    return [bound(series.low, line, false), bound(series.high, line, "-1"),
      plain(series.name, series.mean, line, { ...options, marked: series.rank })];
  }
  function draw(canvas, data, { x, y, title, label }) {
    const chart = new Chart(canvas, {
      type: "line", data,
      options: {
        animation: false, responsive: true, maintainAspectRatio: false, spanGaps: false, normalized: true,
        interaction: { mode: "index", intersect: false },
        scales: { x: { grid: {}, ...x }, y: { grid: {}, ticks: {}, ...y } },
        plugins: {
          legend: { display: false },
          tooltip: { filter: (item) => !item.dataset.isBound, itemSort: (a, b) => b.parsed.y - a.parsed.y,
            usePointStyle: true, callbacks: { title: ([item]) => item && title(item.dataIndex), label } },
        },
      },
    });
    canvas.addEventListener("keydown", keys(chart));
    return chart;
  }
  // Colours of the present theme; `marked` tells which ticks of the x axis stand out.
  function paint(chart, marked = () => false) {
    chart.data.datasets.forEach((set) => {
      const line = colour(`--c${set.line % 8}`);
      set.borderColor = set.isThreshold ? colour("--soft") : line;
      set.backgroundColor = set.isBound ? line + "2b" : line;
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
  function keys(chart) {
    let active = -1;
    return (event) => {
      const last = chart.data.labels.length - 1;
      const target = { ArrowLeft: active - 1, ArrowRight: active + 1, Home: 0, End: last }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      active = Math.max(0, Math.min(last, target));
      light(chart, active);
    };
  }
  function light(chart, index) {
    const items = chart.data.datasets.map((set, datasetIndex) => ({ set, datasetIndex, index }))
      .filter(({ set, datasetIndex }) => !set.isBound && chart.isDatasetVisible(datasetIndex) && set.data[index] !== null);
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
  // Paints now and whenever the theme or the medium changes; on paper everything is open.
  function follow(drawn, repaint) {
    let opened = [];
    repaint();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    addEventListener("beforeprint", () => {
      opened = [...document.querySelectorAll("details:not([open])")];
      opened.forEach((element) => { element.open = true; });
      document.documentElement.dataset.print = "";
      drawn.forEach((chart) => chart.resize(680, 380));
      repaint();
    });
    addEventListener("afterprint", () => {
      opened.forEach((element) => { element.open = false; });
      delete document.documentElement.dataset.print;
      drawn.forEach((chart) => chart.resize());
      repaint();
    });
  }
  return { figure, plain, banded, draw, paint, addToLegend, follow };
})();
