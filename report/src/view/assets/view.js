"use strict";
(() => {
  const root = document.documentElement;
  const stored = (() => { try { return localStorage; } catch { return null; } })();
  const themes = ["system", "light", "dark"];

  const theme = () => (themes.includes(stored?.getItem("theme")) ? stored.getItem("theme") : "system");
  const paint = () => {
    root.dataset.theme = theme();
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${theme()}`;
  };
  const nextTheme = () => {
    const next = themes[(themes.indexOf(theme()) + 1) % themes.length];
    try { stored?.setItem("theme", next); } catch { /* Not kept then. */ }
    paint();
  };
  // Before the page is drawn, so that it does not flash.
  paint();

  // Rows, and the one that the keys are at.
  const rows = () => [...document.querySelectorAll(".list tbody tr")].filter((row) => !row.hidden);
  const step = (by) => {
    const all = rows();
    const link = document.querySelector(`main a[rel=${by > 0 ? "next" : "prev"}]`);
    if (all.length === 0) return link?.click();
    const at = all.findIndex((row) => row.classList.contains("here"));
    const to = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
    if (!to) return link?.click();
    all.forEach((row) => row.classList.toggle("here", row === to));
    to.querySelector("a.row, a")?.focus();
    to.scrollIntoView({ block: "nearest" });
  };

  const go = (target) => {
    const crumbs = document.querySelectorAll(".crumbs a");
    const link = target === "home" ? crumbs[0] : crumbs[crumbs.length - 1];
    link?.click();
  };
  const keys = {
    j: () => step(1),
    k: () => step(-1),
    t: nextTheme,
    "?": () => document.getElementById("keys").showModal(),
    "/": () => document.querySelector("#filter, input[data-rows]")?.focus(),
  };
  let before = "";
  const press = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, dialog, [contenteditable]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const combined = before === "g" && { h: () => go("home"), u: () => go("up") }[event.key];
    before = event.key;
    const act = combined || keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };

  // Filters the rows of the page by words.
  const filterRows = (input) => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of document.querySelectorAll(`#${input.dataset.rows} tbody tr`)) {
      const names = [...row.querySelectorAll("[aria-label]")].map((part) => part.getAttribute("aria-label"));
      const text = `${row.textContent} ${names.join(" ")}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  };

  // A narrow page shows rows as blocks. Without roles, some browsers then read no table.
  const roles = {
    ".list": "table", ".list thead, .list tbody": "rowgroup", ".list tr": "row",
    ".list thead th": "columnheader", ".list tbody th": "rowheader", ".list td": "cell",
  };
  const addRoles = (page) => {
    for (const [selector, role] of Object.entries(roles)) {
      page.querySelectorAll(selector).forEach((part) => part.setAttribute("role", role));
    }
  };

  // Asks for the version while something runs, and replaces the parts that changed.
  const update = async (main) => {
    const page = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!page.ok) return;
    const fresh = new DOMParser().parseFromString(await page.text(), "text/html");
    addRoles(fresh);
    for (const part of document.querySelectorAll("[data-part]")) {
      const other = fresh.getElementById(part.id);
      if (!other || other.outerHTML === part.outerHTML) continue;
      // Not while it is in use.
      if (part.contains(document.activeElement) && document.activeElement !== document.body) continue;
      const chosen = [...part.querySelectorAll("input:checked")].map((box) => box.value);
      part.replaceWith(document.importNode(other, true));
      const there = document.getElementById(part.id);
      for (const box of there.querySelectorAll("input[type=checkbox]")) box.checked = chosen.includes(box.value);
    }
    document.querySelectorAll("input[data-rows]").forEach(filterRows);
    const version = fresh.getElementById("main")?.dataset.version;
    if (version) main.dataset.version = version;
  };
  const watch = async (main) => {
    const note = document.getElementById("live");
    let running = true;
    try {
      const answer = await fetch(main.dataset.live, { headers: { accept: "application/json" } });
      if (answer.ok) {
        const state = await answer.json();
        if (state.version !== main.dataset.version) await update(main);
        running = state.running;
        if (note) note.textContent = running ? "updates by itself" : "finished";
      } else if (note) {
        note.textContent = "no updates: reload the page";
      }
    } catch {
      if (note) note.textContent = "no updates: fixfly view has stopped";
    }
    if (running) setTimeout(() => watch(main), document.hidden ? 10000 : 2000);
  };

  document.addEventListener("DOMContentLoaded", () => {
    paint();
    addRoles(document);
    for (const id of ["theme", "help"]) document.getElementById(id).hidden = false;
    document.querySelectorAll("[data-js]").forEach((part) => { part.hidden = false; });
    document.getElementById("theme").addEventListener("click", nextTheme);
    document.getElementById("help").addEventListener("click", keys["?"]);
    document.addEventListener("keydown", press);
    document.addEventListener("input", (event) => {
      if (event.target.matches("input[data-rows]")) filterRows(event.target);
    });
    const main = document.getElementById("main");
    if (main.dataset.live) setTimeout(() => watch(main), 2000);
  });
})();
