// Conveniences. The page works without a script too.
"use strict";

const one = (selector) => document.querySelector(selector);

// The database formats times in the viewer's zone, which only the browser knows.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const shown = one("#zone");
if (shown && zone && !document.cookie.split("; ").includes(`pgtrail_zone=${encodeURIComponent(zone)}`)) {
  document.cookie = `pgtrail_zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=lax`;
  // (Not in a loop where cookies are refused.)
  if (shown.dataset.zone !== zone && document.cookie.includes("pgtrail_zone=")) location.reload();
}

// Filters apply as they are chosen; typed ones with Enter.
const filters = one("form.filters");
if (filters) {
  const days = [filters.elements.from, filters.elements.to];
  filters.addEventListener("submit", () => {
    const isCustom = filters.elements.range.value === "custom";
    const hasDays = days.some((day) => day.value);
    // Without empty and default parameters a URL can be read, and shared.
    for (const field of filters.elements) {
      const isRedundant = field.name === "range" && (isCustom ? hasDays : field.value === "30d");
      if (field.value === "" || isRedundant || (days.includes(field) && !isCustom)) field.disabled = true;
    }
  });
  window.addEventListener("pageshow", () => {
    for (const field of filters.elements) field.disabled = false;
    // The form shows what the URL says, also after going back.
    filters.reset();
  });
  // With the keyboard choices pass through others, so only Apply submits.
  let byPointer = false;
  filters.addEventListener("pointerdown", () => { byPointer = true; });
  filters.addEventListener("keydown", () => { byPointer = false; });
  filters.addEventListener("change", ({ target }) => {
    if (!byPointer) return;
    if (target.name === "range" && target.value === "custom") days[0].focus();
    else if (["category", "node", "range"].includes(target.name) || (days.includes(target) && days.every((day) => day.value))) {
      filters.requestSubmit();
    }
  });
}

// New events are announced; the table does not move until the viewer follows the link.
const arrived = one("#arrived");
if (arrived && window.EventSource) {
  const title = document.title;
  let source = null;
  let after = arrived.dataset.after;
  const listen = () => {
    source?.close();
    source = null;
    // A hidden page holds no connection: a browser opens only six to a server.
    if (document.hidden) return;
    const separator = arrived.dataset.source.endsWith("?") ? "" : "&";
    source = new EventSource(`${arrived.dataset.source}${separator}after=${encodeURIComponent(after)}`);
    source.addEventListener("arrived", (event) => {
      after = event.lastEventId;
      const count = Number(event.data);
      const link = arrived.firstElementChild;
      const many = `${count.toLocaleString("en")}${count < 1000 ? "" : "+"}`;
      link.textContent = `${many} new ${count === 1 ? "event" : "events"}`;
      link.hidden = false;
      document.title = `(${many}) ${title}`;
    });
  };
  document.addEventListener("visibilitychange", listen);
  window.addEventListener("pagehide", () => source?.close());
  window.addEventListener("pageshow", listen);
}

// A search that looked at many events and found few continues by itself for a while.
const PAGES = 150;
async function lookFurther() {
  for (let page = 0; page < PAGES; page += 1) {
    const link = one("#further");
    if (!link || one("#events").rows.length >= Number(one("#pages").dataset.size)) return;
    link.textContent = "Looking further back …";
    const response = await fetch(link.href).catch(() => ({ ok: false }));
    if (!response.ok) { link.textContent = "Look further back"; return; }
    const next = new DOMParser().parseFromString(await response.text(), "text/html");
    const rows = next.querySelector("#events");
    if (rows) one("#events").append(...rows.rows);
    const pages = next.querySelector("#pages");
    const nothing = next.querySelector(".empty");
    if (nothing && !one("#events").rows.length) {
      one("table.log").remove();
      one("#pages").replaceWith(nothing);
      return;
    }
    one("#pages").replaceChildren(...(pages ? pages.childNodes : [document.createTextNode("No older events match.")]));
  }
}
lookFurther();

// The progress of an export, while the browser downloads it.
const exporting = one("form.export");
if (exporting) {
  exporting.addEventListener("submit", () => {
    const output = one("#progress");
    const id = `${Date.now()}-${Math.random().toString(36).slice(2)}`;
    exporting.elements.export_id.value = id;
    output.setAttribute("aria-live", "off");
    output.textContent = "Counting …";
    const timer = setInterval(async () => {
      const response = await fetch(output.dataset.source + id).catch(() => ({ ok: false }));
      const state = response.ok ? await response.json() : { ended: true };
      if (state.ended) { clearInterval(timer); output.setAttribute("aria-live", "polite"); }
      if (!state.begun) { if (state.ended) output.textContent = ""; return; }
      const sent = Math.min(state.sent, state.events).toLocaleString("en");
      output.textContent = `${sent} of ${state.events.toLocaleString("en")} events${state.done ? ", done" : state.ended ? ": it was cut off" : ""}`;
    }, 500);
  });
}

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    const copied = document.getElementById(button.dataset.copies);
    await navigator.clipboard.writeText(copied.href ?? copied.textContent);
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}
