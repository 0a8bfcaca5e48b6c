// The perturbation that graph, box plots and table are about: choosing it in one place changes all.
const which = (() => {
  const selects = [...document.querySelectorAll(".which")];
  const listeners = [];
  const chosen = { at: page.data.headline, on: (listener) => { listeners.push(listener); listener(); } };
  selects.forEach((select) => select.addEventListener("change", () => {
    chosen.at = Number(select.value);
    selects.forEach((other) => { other.value = select.value; });
    listeners.forEach((listener) => listener());
  }));
  selects.forEach((select) => { select.value = String(chosen.at); });
  return chosen;
})();

(() => {
  const { data, find } = page;
  const perLine = 3; // data sets of one line of the chart: lower bound, upper bound, mean
  const many = data.layers.length > 80;

  // --- chart -----------------------------------------------------------------------------------
  const datasets = data.series.flatMap((series, index) =>
    charts.banded(series, index, { width: index === data.headline ? 3 : 1.8, faint: index !== data.headline, many }));
  if (data.baseline !== null) {
    datasets.push({ label: data.baseline.name, data: data.baseline.mean, line: data.headline, borderDash: [8, 4], borderWidth: 2,
      // One radius per point, as for the other lines.
      pointRadius: data.layers.map(() => (many ? 0 : 1.5)), pointHoverRadius: 4, tension: 0, isBaseline: true });
  }
  const baselinePlace = data.baseline === null ? -1 : datasets.length - 1;
  if (data.threshold !== null) {
    datasets.push({ data: data.layers.map(() => data.threshold), line: 0, borderDash: [5, 5], borderWidth: 1.5, pointRadius: 0,
      pointHoverRadius: 0, pointHitRadius: 0, isBound: true, isThreshold: true });
  }
  function tooltipLine(context) {
    const value = charts.figure(context.parsed.y);
    if (context.dataset.isBaseline) return ` ${data.baseline.name}: ${value}`;
    const series = data.series[context.dataset.line];
    const [at, rank] = [context.dataIndex, series.rank[context.dataIndex]];
    const range = series.low[at] === null ? "" : ` (${charts.figure(series.low[at])}–${charts.figure(series.high[at])})`;
    return ` ${series.name}: ${value}${range}${rank ? `  ● MVL ${rank}` : ""}`;
  }
  function tickLabel(value) {
    const layer = data.layers[value];
    return (layer.rank ? "● " : "") + (this.chart.width < 600 ? value : `${value} ${layer.short}`);
  }
  const chart = charts.draw(find("chart"), { labels: data.layers.map((_, number) => number), datasets }, {
    x: { title: { display: true, text: "layer, in graph order (● in the MVL list)" },
      ticks: { callback: tickLabel, maxRotation: 60, autoSkipPadding: 6, font: { size: 11 } } },
    y: { title: { display: true, text: "mean CM" }, beginAtZero: true },
    title: (number) => `${number} ${data.layers[number].name.slice(0, 90)} · ${data.layers[number].op.slice(0, 30)}`,
    label: tooltipLine,
    chosen: (number) => find(`node-${number}`).focus(),
  });
  const paint = () => charts.paint(chart, (number) => data.layers[number]?.rank);
  data.series.forEach((series, line) => {
    const places = Array.from({ length: perLine }, (_, part) => line * perLine + part);
    charts.addToLegend(find("legend"), chart, { name: series.name, line, places });
  });
  if (data.baseline !== null) {
    charts.addToLegend(find("legend"), chart, { name: data.baseline.name, mark: "╌╌╌", line: data.headline, places: [baselinePlace] });
  }
  find("log").addEventListener("change", (event) => {
    chart.options.scales.y.type = event.target.checked ? "logarithmic" : "linear";
    paint();
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
  which.on(() => {
    const series = data.series[which.at];
    find("details-title").textContent = `Under ${series.name}`;
    for (const row of rows) {
      const number = Number(row.dataset.layer);
      const cells = row.querySelectorAll(".d");
      series.details[number].forEach((text, position) => { cells[position].textContent = text; });
      cells[0].dataset.v = series.low[number] ?? "";
    }
  });
  // A link to a row shows it, whatever is searched for.
  addEventListener("hashchange", () => {
    const row = document.querySelector(location.hash.match(/^#row-\d+$/)?.[0] ?? "#none");
    if (row === null) return;
    find("search").value = "";
    find("search").dispatchEvent(new Event("input"));
    row.focus();
    row.scrollIntoView({ block: "center" });
  });

  charts.follow([chart], paint);
})();
