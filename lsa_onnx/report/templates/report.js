"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const points = ["circle", "triangle", "rect", "rectRot", "star", "crossRot"];
  const signs = ["●", "▲", "■", "◆", "✱", "✕"];
  const dashes = [[], [7, 4], [2, 3], [9, 3, 2, 3]];
  const perLine = 3; // data sets of one line of the chart: lower bound, upper bound, mean
  const many = data.layers.length > 80;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const lineColour = (index) => colour(`--c${index % 8}`);
  const figure = (value) => (value !== 0 && Math.abs(value) < 5e-4 ? value.toExponential(1) : value.toPrecision(3));

  // --- chart -----------------------------------------------------------------------------------
  function bound(values, fill) {
    return { data: values, pointRadius: 0, pointHoverRadius: 0, pointHitRadius: 0, borderWidth: 0, fill, isBound: true };
  }
  function mean(series, index) {
    const size = (listed, plain) => series.rank.map((rank) => (rank ? listed : plain));
    return { label: series.name, data: series.mean, borderWidth: index === data.headline ? 3 : 1.8,
      borderDash: dashes[Math.floor(index / 6) % dashes.length], pointStyle: points[index % 6],
      pointRadius: size(6, many ? 0 : 2.5), pointHoverRadius: size(9, 5), pointBorderWidth: index % 6 > 3 ? 2 : 1, tension: 0 };
  }
  const datasets = data.series.flatMap((series, index) =>
    [bound(series.low, false), bound(series.high, "-1"), mean(series, index)]);
  if (data.baseline !== null) {
    datasets.push({ label: data.baseline.name, data: data.baseline.mean, borderDash: [8, 4], borderWidth: 2,
      // One radius per point, as above: Chart.js would keep the first colour of points that share all their options.
      pointRadius: data.layers.map(() => (many ? 0 : 1.5)), pointHoverRadius: 4, tension: 0, isBaseline: true });
  }
  const baselinePlace = data.baseline === null ? -1 : datasets.length - 1;
  if (data.threshold !== null) {
    datasets.push({ data: data.layers.map(() => data.threshold), borderDash: [5, 5], borderWidth: 1.5, pointRadius: 0,
      pointHoverRadius: 0, pointHitRadius: 0, isBound: true, isThreshold: true });
  }
  function paint(chart) {
    chart.data.datasets.forEach((set, position) => {
      const line = lineColour(set.isBaseline ? data.headline : Math.floor(position / perLine));
      set.borderColor = set.isThreshold ? colour("--soft") : line;
      set.backgroundColor = set.isBound ? line + "2b" : line;
    });
    const { x, y } = chart.options.scales;
    for (const axis of [x, y]) {
      axis.grid.color = colour("--line");
      axis.ticks.color = colour("--soft");
      axis.title.color = colour("--soft");
    }
    x.ticks.color = (context) => colour(data.layers[context.tick.value]?.rank ? "--ink" : "--soft");
    chart.options.plugins.tooltip.backgroundColor = colour("--ink");
    chart.options.plugins.tooltip.titleColor = colour("--page");
    chart.options.plugins.tooltip.bodyColor = colour("--page");
    chart.update("none");
  }
  function tooltipLine(context) {
    if (context.dataset.isBaseline) return ` ${data.baseline.name}: ${figure(context.parsed.y)}`;
    const series = data.series[Math.floor(context.datasetIndex / perLine)];
    const [at, rank] = [context.dataIndex, series.rank[context.dataIndex]];
    const range = series.low[at] === null ? "" : ` (${figure(series.low[at])}–${figure(series.high[at])})`;
    return ` ${series.name}: ${figure(context.parsed.y)}${range}${rank ? `  ● MVL ${rank}` : ""}`;
  }
  function tickLabel(value) {
    const layer = data.layers[value];
    return (layer.rank ? "● " : "") + (this.chart.width < 600 ? value : `${value} ${layer.short}`);
  }
  const chart = new Chart(find("chart"), {
    type: "line",
    data: { labels: data.layers.map((_, number) => number), datasets },
    options: {
      animation: false, responsive: true, maintainAspectRatio: false, spanGaps: false, normalized: true,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: { title: { display: true, text: "layer, in graph order (● in the MVL list)" }, grid: {},
          ticks: { callback: tickLabel, maxRotation: 60, autoSkipPadding: 6, font: { size: 11 } } },
        y: { title: { display: true, text: "mean CM" }, grid: {}, ticks: {}, beginAtZero: true },
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          filter: (item) => !item.dataset.isBound, itemSort: (a, b) => b.parsed.y - a.parsed.y, usePointStyle: true,
          callbacks: {
            title: ([item]) => item && `${item.dataIndex} ${data.layers[item.dataIndex].name.slice(0, 90)} · ${data.layers[item.dataIndex].op.slice(0, 30)}`,
            label: tooltipLine,
          },
        },
      },
    },
  });
  function addToLegend(name, mark, line, places) {
    const button = document.createElement("button");
    const sign = document.createElement("i");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    sign.textContent = mark;
    sign.style.color = `var(--c${line % 8})`;
    sign.setAttribute("aria-hidden", "true");
    button.append(sign, name);
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") === "false";
      button.setAttribute("aria-pressed", String(shown));
      places.forEach((place) => chart.setDatasetVisibility(place, shown));
      chart.update("none");
    });
    find("legend").append(button);
  }
  data.series.forEach((series, index) => {
    const places = Array.from({ length: perLine }, (_, part) => index * perLine + part);
    addToLegend(series.name, `─${signs[index % 6]}─`, index, places);
  });
  if (data.baseline !== null) addToLegend(data.baseline.name, "╌╌╌", data.headline, [baselinePlace]);
  find("log").addEventListener("change", (event) => {
    chart.options.scales.y.type = event.target.checked ? "logarithmic" : "linear";
    paint(chart);
  });
  let active = -1;
  function light(number) {
    active = Math.max(0, Math.min(data.layers.length - 1, number));
    const places = data.series.map((_, index) => index * perLine + perLine - 1);
    if (data.baseline !== null) places.push(baselinePlace);
    const items = places.map((datasetIndex) => ({ datasetIndex, index: active }))
      .filter((item) => chart.isDatasetVisible(item.datasetIndex) && chart.data.datasets[item.datasetIndex].data[active] !== null);
    const middle = chart.chartArea.top + chart.chartArea.height / 2;
    chart.setActiveElements(items);
    chart.tooltip.setActiveElements(items, { x: chart.scales.x.getPixelForValue(active), y: middle });
    chart.update("none");
  }
  find("chart").addEventListener("keydown", (event) => {
    const target = { ArrowLeft: active - 1, ArrowRight: active + 1, Home: 0, End: data.layers.length - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    light(target);
  });

  // --- table -----------------------------------------------------------------------------------
  const table = find("layer-table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const everything = find("count").textContent;
  const heads = [...table.tHead.rows[1].cells];
  function key(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent.replace(/[●,%]/g, "").trim();
    const number = text === "" ? NaN : Number(text);
    return Number.isNaN(number) ? text : number;
  }
  function compare(a, b) {
    const empty = (value) => value === "" || value === "—";
    if (empty(a) || empty(b)) return { last: Number(empty(a)) - Number(empty(b)) };
    return { order: typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }) };
  }
  function sort(column) {
    const head = heads[column];
    const down = head.getAttribute("aria-sort") === "ascending" ||
      (head.getAttribute("aria-sort") === null && head.classList.contains("number") && column > 1);
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = rows.map((row) => [key(row, column), row]);
    keyed.sort(([a], [b]) => {
      const { last, order } = compare(a, b);
      return last ?? (down ? -order : order);
    });
    body.append(...keyed.map(([, row]) => row));
  }
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => sort(column)));
  find("search").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    let count = 0;
    for (const row of rows) {
      row.hidden = !row.cells[2].textContent.toLowerCase().includes(wanted);
      count += row.hidden ? 0 : 1;
    }
    find("count").textContent = count === rows.length ? everything : `${count} of ${everything}`;
  });
  find("details").addEventListener("change", (event) => {
    const series = data.series[Number(event.target.value)];
    find("details-title").textContent = `Under ${series.name}`;
    for (const row of rows) {
      const number = Number(row.dataset.layer);
      const cells = row.querySelectorAll(".d");
      series.details[number].forEach((text, position) => { cells[position].textContent = text; });
      cells[0].dataset.v = series.low[number] ?? "";
    }
  });

  // --- themes and paper ------------------------------------------------------------------------
  paint(chart);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(chart));
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((element) => { element.open = true; });
    document.documentElement.dataset.print = "";
    chart.resize(680, 380);
    paint(chart);
  });
  addEventListener("afterprint", () => {
    opened.forEach((element) => { element.open = false; });
    delete document.documentElement.dataset.print;
    chart.resize();
    paint(chart);
  });
})();
