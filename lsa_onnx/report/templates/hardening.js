(() => {
  const { data, find } = page;
  const lines = { before: 1, after: 0, clean: 2, "one step": 1, robust: 0 }; // colours: after and robust alike
  const drawn = [];

  function layerChart({ names, short, regularised, series }) {
    const many = names.length > 80;
    const datasets = series.flatMap((each) => charts.banded(each, lines[each.name], { width: 2.4, many }));
    function tooltipLine({ parsed, dataset, dataIndex: at }) {
      const each = series.find(({ name }) => lines[name] === dataset.line);
      const range = each.low[at] === null ? "" : ` (${charts.figure(each.low[at])}–${charts.figure(each.high[at])})`;
      return ` ${each.name}: ${charts.figure(parsed.y)}${range}${each.rank[at] ? `  ● MVL ${each.rank[at]}` : ""}`;
    }
    function tickLabel(value) {
      return (regularised[value] ? "γ " : "") + (this.chart.width < 600 ? value : `${value} ${short[value]}`);
    }
    const chart = charts.draw(find("layer-chart"), { labels: names.map((_, number) => number), datasets }, {
      x: { title: { display: true, text: `layer, in graph order${regularised.some(Boolean) ? " (γ: regularised)" : ""}` },
        ticks: { callback: tickLabel, maxRotation: 60, autoSkipPadding: 6, font: { size: 11 } } },
      y: { title: { display: true, text: "mean CM" }, beginAtZero: true },
      title: (number) => `${number} ${names[number].slice(0, 90)}`,
      label: tooltipLine,
    });
    series.forEach(({ name }, index) => {
      charts.addToLegend(find("layer-legend"), chart, { name, line: lines[name], places: [0, 1, 2].map((part) => 3 * index + part) });
    });
    drawn.push([chart, (number) => regularised[number]]);
  }

  function historyChart({ steps, chosen, measure, series }) {
    const told = (value) => (measure === "accuracy" ? `${(100 * value).toFixed(1)} %` : charts.figure(value));
    const tick = (value) => (measure === "accuracy" ? `${Math.round(100 * value)} %` : Number(value.toFixed(6)));
    const datasets = series.map(({ name, values }) =>
      charts.plain(name, values, lines[name], { width: 2.4, marked: chosen, many: steps.length > 80 }));
    const chart = charts.draw(find("history-chart"), { labels: steps, datasets }, {
      x: { type: "linear", title: { display: true, text: "training step" }, min: steps[0], max: Math.max(...steps),
        ticks: { precision: 0, font: { size: 11 } } },
      y: { title: { display: true, text: measure }, ticks: { callback: tick }, beginAtZero: measure === "accuracy",
        ...(measure === "accuracy" ? { max: 1 } : {}) },
      title: (at) => `step ${steps[at]}${chosen[at] ? " (chosen)" : ""}`,
      label: ({ dataset, parsed }) => ` ${dataset.label}: ${told(parsed.y)}`,
    });
    series.forEach(({ name }, index) => {
      charts.addToLegend(find("history-legend"), chart, { name, line: lines[name], places: [index] });
    });
    drawn.push([chart, () => false]);
  }

  if (data.layers) layerChart(data.layers);
  if (data.history) historyChart(data.history);
  charts.follow(drawn.map(([chart]) => chart), () => drawn.forEach(([chart, marked]) => charts.paint(chart, marked)));
})();
