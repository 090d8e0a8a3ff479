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

  // What a reader did in a part, to do it again in its successor.
  const all = (part, selector) => [...part.querySelectorAll(selector)];
  const scrollers = (part) => [part, ...all(part, ".wide, pre")];
  const keep = (part) => {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    return {
      focus: focused && [focused.tagName, focused.id, focused.getAttribute("href"), focused.value].join(" "),
      caret: focused && focused.selectionStart,
      checked: all(part, "input:checked").map((box) => box.value),
      texts: all(part, "input[type=search]").map((input) => input.value),
      open: all(part, "details").map((one) => one.open),
      here: part.querySelector("tr.here a")?.getAttribute("href"),
      scrolled: scrollers(part).map((one) => [one.scrollLeft, one.scrollTop]),
    };
  };
  const restore = (part, kept) => {
    all(part, "input[type=checkbox]").forEach((box) => { box.checked = kept.checked.includes(box.value); });
    all(part, "input[type=search]").forEach((input, at) => { input.value = kept.texts[at] ?? ""; });
    const details = all(part, "details");
    if (details.length === kept.open.length) details.forEach((one, at) => { one.open = kept.open[at]; });
    all(part, "tbody tr").forEach((row) => {
      const href = row.querySelector("a")?.getAttribute("href");
      row.classList.toggle("here", href !== undefined && href === kept.here);
    });
    scrollers(part).forEach((one, at) => {
      if (kept.scrolled[at]) [one.scrollLeft, one.scrollTop] = kept.scrolled[at];
    });
    if (!kept.focus) return;
    const same = (one) => [one.tagName, one.id, one.getAttribute("href"), one.value].join(" ") === kept.focus;
    const again = all(part, "a, button, input, select, summary, [tabindex]").find(same);
    again?.focus({ preventScroll: true });
    if (typeof kept.caret === "number") again?.setSelectionRange?.(kept.caret, kept.caret);
  };

  // Replaces the parts that changed.
  const update = async (main) => {
    const page = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!page.ok) return;
    const fresh = new DOMParser().parseFromString(await page.text(), "text/html");
    addRoles(fresh);
    const [left, top] = [scrollX, scrollY];
    for (const part of document.querySelectorAll("[data-part]")) {
      const other = fresh.getElementById(part.id);
      if (!other || other.outerHTML === part.outerHTML) continue;
      // A list that is open would close.
      if (document.activeElement?.tagName === "SELECT" && part.contains(document.activeElement)) continue;
      const kept = keep(part);
      part.replaceWith(document.importNode(other, true));
      const there = document.getElementById(part.id);
      all(there, "[data-js]").forEach((one) => { one.hidden = false; });
      restore(there, kept);
    }
    scrollTo(left, top);
    document.querySelectorAll("input[data-rows]").forEach(filterRows);
    const version = fresh.getElementById("main")?.dataset.version;
    if (version) main.dataset.version = version;
  };
  // Asks for the version: often while something runs, otherwise slowly.
  const watch = async (main) => {
    const note = document.getElementById("live");
    let seconds = 10;
    try {
      const answer = await fetch(main.dataset.live, { headers: { accept: "application/json" } });
      if (answer.ok) {
        const state = await answer.json();
        if (state.version !== main.dataset.version) await update(main);
        seconds = state.seconds;
        if (note) note.textContent = seconds ? "updates by itself" : "finished";
      } else if (note) {
        note.textContent = "no updates: reload the page";
      }
    } catch {
      if (note) note.textContent = "no updates: fixfly view has stopped";
    }
    if (seconds) setTimeout(() => watch(main), 1000 * (document.hidden ? Math.max(seconds, 10) : seconds));
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
    if (main.dataset.live) setTimeout(() => watch(main), 1000 * main.dataset.seconds);
  });
})();
