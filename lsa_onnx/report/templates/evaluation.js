(() => {
  const { find } = page;
  const { eps, texts, unit, series } = page.data;
  const share = (value) => `${(100 * value).toFixed(1)} %`;
  const datasets = series.flatMap((each, line) => charts.banded(each, line, { width: 2.2 }));

  function tooltipLine({ parsed, dataset, dataIndex: at }) {
    const each = series[dataset.line];
    return ` ${each.name}: ${share(parsed.y)} (${(100 * each.low[at]).toFixed(1)}–${share(each.high[at])})`;
  }
  const chart = charts.draw(find("chart"), { labels: eps, datasets }, {
    x: { type: "linear", title: { display: true, text: unit }, min: eps[0], max: eps[eps.length - 1],
      ticks: { font: { size: 11 } } },
    y: { title: { display: true, text: "samples still right" }, min: 0, max: 1,
      ticks: { callback: (value) => `${Math.round(100 * value)} %` } },
    title: (at) => `eps ${texts[at]}`,
    label: tooltipLine,
  });
  series.forEach(({ name }, line) => {
    charts.addToLegend(find("legend"), chart, { name, line, places: [0, 1, 2].map((part) => 3 * line + part) });
  });
  charts.follow([chart], () => charts.paint(chart));
})();
