"use strict";
// Surfaces and contours of a loss landscape, drawn by plotly.js from numbers alone: no name reaches it.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  // No button but these: plotly's own also send the data to its maker, and export through what the policy forbids.
  const config = (buttons) => ({ displaylogo: false, responsive: true, modeBarButtons: [buttons] });
  const solidConfig = config(["resetCameraDefault3d"]);
  const flatConfig = config(["zoom2d", "pan2d", "resetScale2d"]);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const said = (value) => (value === null ? "—" : String(Number(value.toPrecision(4))));
  const panes = ["left", "right"].map((name) => document.getElementById(name)).filter(Boolean);
  const solid = (pane) => document.getElementById(`${pane.id}-solid`);
  const flat = (pane) => document.getElementById(`${pane.id}-flat`);

  function hover({ loss, accuracy }) {
    return loss.map((row, j) => row.map((value, i) => {
      const lines = [`α ${said(data.alpha[i])}`, `β ${said(data.beta[j])}`, `loss ${said(value)}`];
      if (accuracy) lines.push(`accuracy ${(100 * accuracy[j][i]).toFixed(1)} %`);
      return lines.join("<br>");
    }));
  }
  function trace(surface) {
    return { x: data.alpha, y: data.beta, z: surface.heights, text: hover(surface), hovertemplate: "%{text}<extra></extra>",
      colorscale: "Viridis",
      colorbar: { tickvals: data.ticks, ticktext: data.labels, title: { text: "loss" }, thickness: 14, outlinewidth: 0 } };
  }
  const surface = (index) => ({ ...trace(data.surfaces[index]), type: "surface", cmin: data.low, cmax: data.high,
    showscale: false });
  const contour = (index) => ({ ...trace(data.surfaces[index]), type: "contour", zmin: data.low, zmax: data.high,
    zauto: false, autocontour: false, connectgaps: false, line: { width: 0.7, color: "#ffffff", smoothing: 0 },
    contours: { start: data.low + data.step, end: data.high - data.step, size: data.step, coloring: "heatmap" } });
  // One mark in the middle of a contour: the model or the samples themselves.
  const middle = { type: "scatter", x: [0], y: [0], mode: "markers", hoverinfo: "skip", showlegend: false,
    marker: { symbol: "cross", size: 9, color: "#1b1d21", line: { width: 1.2, color: "#ffffff" } } };

  function look() {
    return { paper_bgcolor: "transparent", plot_bgcolor: colour("--panel"), font: { color: colour("--ink"), size: 12 },
      modebar: { bgcolor: "transparent", color: colour("--soft"), activecolor: colour("--ink") } };
  }
  function axis(text, more = {}) {
    return { title: { text }, gridcolor: colour("--line"), zerolinecolor: colour("--line"), ...more };
  }
  function solidLayout(camera) {
    const height = axis("loss", { range: [data.low, data.high], tickvals: data.ticks, ticktext: data.labels });
    return { ...look(), margin: { l: 0, r: 0, t: 0, b: 0 },
      scene: { xaxis: axis("α"), yaxis: axis("β"), zaxis: height, camera, aspectratio: { x: 1, y: 1, z: 0.75 } } };
  }
  function flatLayout() {
    return { ...look(), margin: { l: 60, r: 10, t: 24, b: 50 }, xaxis: axis("α"), yaxis: axis("β") };
  }
  let camera = { eye: { x: -1.15, y: -1.45, z: 0.8 }, center: { x: 0, y: 0, z: -0.12 } };
  function draw(pane) {
    const index = Number(pane.value);
    return Promise.all([
      Plotly.react(solid(pane), [surface(index)], solidLayout(camera), solidConfig),
      Plotly.react(flat(pane), [contour(index), middle], flatLayout(), flatConfig),
    ]);
  }
  // Both sides are seen from the same place.
  function follow(pane) {
    solid(pane).on("plotly_relayout", (change) => {
      const moved = change["scene.camera"];
      if (!moved || JSON.stringify(moved) === JSON.stringify(camera)) return;
      camera = moved;
      panes.filter((other) => other !== pane).forEach((other) => Plotly.relayout(solid(other), { "scene.camera": moved }));
    });
  }
  panes.forEach((pane) => {
    draw(pane).then(() => follow(pane));
    pane.addEventListener("change", () => draw(pane));
  });
  page.onTheme(() => panes.forEach(draw));
  page.onPrint(() => panes.forEach(draw), () => panes.forEach(draw));
})();
