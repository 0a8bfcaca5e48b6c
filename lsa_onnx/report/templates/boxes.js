
// --- how much samples differ ---------------------------------------------------------------------
(() => {
  const { data, find } = page;
  const names = ["min", "whiskerMin", "q1", "median", "q3", "whiskerMax", "max", "mean", "n"];
  const box = (values) => {
    if (values === null) return undefined;
    const made = Object.fromEntries(values.map((value, place) => [names[place], value]));
    return { ...made, items: [], outliers: [made.min, made.max] };
  };
  const ranks = () => data.series[which.at].rank;
  const figure = () => Number(find("boxes-figure").value);
  const set = { label: "", data: [], line: 0, borderWidth: 1.2, outlierRadius: data.layers.length > 80 ? 1 : 2, itemRadius: 0,
    outlierHitRadius: 0, meanRadius: 0, medianColor: "", maxBarThickness: 34 };

  function tickLabel(value) {
    return (ranks()[value] ? "● " : "") + (this.chart.width < 600 ? value : `${value} ${data.layers[value].short}`);
  }
  function told({ parsed }) {
    const value = (name) => charts.figure(parsed[name]);
    return [` median ${value("median")}, mean ${value("mean")}`, ` half of the samples ${value("q1")} to ${value("q3")}`,
      ` 5 % to 95 % ${value("whiskerMin")} to ${value("whiskerMax")}`, ` all ${value("min")} to ${value("max")}`];
  }
  const chart = charts.draw(find("boxes"), { labels: data.layers.map((_, number) => number), datasets: [set] }, {
    type: "boxplot", sorted: false,
    x: { title: { display: true, text: "layer, in graph order (● in the MVL list)" },
      ticks: { callback: tickLabel, maxRotation: 60, autoSkipPadding: 6, font: { size: 11 } } },
    y: { title: { display: true, text: "" }, grace: "4%" },
    title: (number) => `${number} ${data.layers[number].name.slice(0, 90)}`,
    label: told,
    chosen: (number) => find(`node-${number}`).focus(),
  });
  function paint() {
    charts.paint(chart, (number) => ranks()[number]);
    const [accent, plain] = [charts.colour("--accent"), charts.colour("--c0")];
    const lines = ranks().map((rank) => (rank ? accent : plain));
    Object.assign(set, { borderColor: lines, backgroundColor: lines.map((line) => `${line}40`), outlierBackgroundColor: lines,
      outlierBorderColor: lines });
    chart.update("none");
  }
  function fill() {
    set.data = data.boxes[which.at][figure()].map(box);
    chart.options.scales.y.title.text = data.figures[figure()].axis;
    chart.options.scales.y.type = find("boxes-log").checked ? "logarithmic" : "linear";
    paint();
  }
  find("boxes-figure").addEventListener("change", fill);
  find("boxes-log").addEventListener("change", fill);
  charts.follow([chart], paint);
  which.on(fill);
})();
