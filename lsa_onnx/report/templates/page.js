"use strict";
// What every page can do: change the theme, copy a command, show everything on paper.
const page = (() => {
  const root = document.documentElement;
  const find = (id) => document.getElementById(id);
  const embedded = find("data");
  const [repaints, prints] = [[], []];

  // --- theme: nothing is stored, so that it works wherever the file lies -------------------------
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = find("theme");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  function repaint() {
    button.setAttribute("aria-pressed", String(isDark()));
    repaints.forEach((listener) => listener());
  }
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    repaint();
  });
  system.addEventListener("change", repaint);
  button.setAttribute("aria-pressed", String(isDark()));

  // --- commands --------------------------------------------------------------------------------
  // Where a browser keeps the clipboard from files, the command is selected and copied the old way.
  async function copy(code) {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return true;
    } catch {
      getSelection().selectAllChildren(code);
      return document.execCommand("copy");
    }
  }
  document.querySelectorAll("code.command").forEach((code) => {
    const copier = document.createElement("button");
    copier.type = "button";
    copier.className = "copy plain";
    copier.textContent = "Copy";
    copier.setAttribute("aria-label", "Copy the command");
    copier.addEventListener("click", async () => {
      copier.textContent = (await copy(code)) ? "Copied" : "Select it";
      setTimeout(() => { copier.textContent = "Copy"; }, 2000);
    });
    code.after(copier);
  });

  // --- paper -----------------------------------------------------------------------------------
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((element) => { element.open = true; });
    root.dataset.print = "";
    prints.forEach(({ before }) => before());
  });
  addEventListener("afterprint", () => {
    opened.forEach((element) => { element.open = false; });
    delete root.dataset.print;
    prints.forEach(({ after }) => after());
  });

  return {
    find,
    data: embedded === null ? null : JSON.parse(embedded.textContent),
    onTheme: (listener) => repaints.push(listener),
    onPrint: (before, after) => prints.push({ before, after }),
  };
})();
