
// --- the graph of layers -----------------------------------------------------------------------
(() => {
  const { data, find } = page;
  const list = find("graph-list");
  const card = find("layer-card");
  const nodes = [...list.querySelectorAll(".node")];
  const rows = [...list.children];
  const fed = data.layers.map(() => []);
  data.layers.forEach(({ from }, number) => from.forEach((source) => fed[source].push(number)));
  const last = nodes.length - 1;
  let active = 0;

  // One stop of the Tab key for the list, and those of the links in its row.
  function stops(number, reached) {
    rows[number].querySelectorAll("a").forEach((link) => { link.tabIndex = reached ? 0 : -1; });
  }
  rows.forEach((_, number) => stops(number, number === 0));
  function enter(number) {
    stops(active, false);
    rows[active].classList.remove("active");
    active = number;
    stops(active, true);
    rows[active].classList.add("active");
    show();
  }
  const listed = () => data.series[which.at].rank;
  function nextListed(step) {
    for (let number = active + step; number >= 0 && number <= last; number += step) if (listed()[number]) return number;
    return active;
  }
  const targets = {
    ArrowUp: () => active - 1, ArrowDown: () => active + 1, PageUp: () => active - 10, PageDown: () => active + 10,
    Home: () => 0, End: () => last, m: () => nextListed(1), M: () => nextListed(-1),
    ArrowLeft: () => data.layers[active].from.at(-1) ?? active, ArrowRight: () => fed[active][0] ?? active,
  };
  list.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || targets[event.key] === undefined) return;
    event.preventDefault();
    nodes[Math.max(0, Math.min(last, targets[event.key]()))].focus();
  });
  list.addEventListener("focusin", ({ target }) => {
    const number = rows.indexOf(target.closest("li"));
    if (number !== -1 && (number !== active || card.hidden)) enter(number);
  });
  // A click shows a layer beside the list; Enter, which is a click without a pointer, goes to the table.
  list.addEventListener("click", (event) => {
    const row = event.target.closest("li");
    if (row === null || event.detail === 0 || event.target.closest(".near a") !== null) return;
    event.preventDefault();
    nodes[rows.indexOf(row)].focus({ preventScroll: true });
  });

  // --- the layer in focus ------------------------------------------------------------------------
  function element(tag, text, name = "") {
    const made = document.createElement(tag);
    made.textContent = text;
    made.className = name;
    return made;
  }
  function linksTo(title, numbers, none) {
    const line = element("p", numbers.length ? `${title} ` : none);
    numbers.forEach((number, place) => {
      const link = element("a", `${number} ${data.layers[number].short}`);
      link.href = `#node-${number}`;
      line.append(place ? ", " : "", link);
    });
    return line;
  }
  function scores() {
    const largest = Math.max(...data.series.map(({ mean }) => mean[active] ?? 0)) || 1;
    const body = element("dl", "");
    for (const { name, mean, low, high, rank } of data.series) {
      const value = element("dd", mean[active] === null ? "—" : charts.figure(mean[active]), "bar number");
      value.style.setProperty("--v", (mean[active] ?? 0) / largest);
      if (low[active] !== null) value.append(element("small", ` ${charts.figure(low[active])}–${charts.figure(high[active])}`));
      body.append(element("dt", `${name}${rank[active] ? ` ●${rank[active]}` : ""}`), value);
    }
    return body;
  }
  function show() {
    const layer = data.layers[active];
    const about = rows[active].querySelector("small").firstChild.textContent.replace(/ · $/, "");
    const table = element("a", "All its figures");
    table.href = `#row-${active}`;
    card.replaceChildren(element("h3", `${active} ${layer.name}`), element("p", about, "note"),
      linksTo("Fed by", layer.from, "Fed by the input."), linksTo("Feeds", fed[active], "Feeds no later scored layer."),
      element("p", "Mean CM with its 95 % interval, under each perturbation:", "note"), scores(), table);
    card.hidden = false;
  }

  which.on(() => {
    const { mean, rank } = data.series[which.at];
    const largest = Math.max(...mean.map((value) => value ?? 0)) || 1;
    rows.forEach((row, number) => {
      row.classList.toggle("in-mvl", Boolean(rank[number]));
      row.style.setProperty("--v", (mean[number] ?? 0) / largest);
      row.querySelector(".mark").textContent = rank[number] ? `●${rank[number]}` : "";
      row.querySelector(".cm").textContent = mean[number] === null ? "—" : charts.figure(mean[number]);
    });
  });
  const worst = listed().indexOf(1);
  enter(Math.max(0, worst));
  list.scrollTop = rows[active].offsetTop - list.clientHeight / 2;
})();
