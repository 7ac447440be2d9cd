// What every part of the page is made of: elements, icons, menus, and layers that Escape closes from the top.

export const $ = (selector) => document.querySelector(selector);

export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// --- icons -----------------------------------------------------------------------------------------------------------

const ICONS = {
  hash: "M7.5 3 6 17M14 3l-1.5 14M3.5 7.5h14M2.5 12.5h14",
  lock: "M5 9h10v8H5zM7 9V6.5a3 3 0 0 1 6 0V9",
  bell: "M5 14h10l-1.2-2V8.5a3.8 3.8 0 0 0-7.6 0V12zM8.5 16.5a1.6 1.6 0 0 0 3 0M10 4.5V3",
  home: "M3 9.5 10 3.5l7 6M5 8.5V16.5h3.5v-4h3v4H15V8.5",
  bolt: "M11 2.5 4.5 11H9l-.5 6.5L15.5 9H11z",
  smile: "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM6.8 11.5a3.5 3.5 0 0 0 6.4 0M7.5 8v.2M12.5 8v.2",
  reply: "M3 4.5h14v9H9.5L6 16.5v-3H3zM6.5 7.8h7M6.5 10.5h4.5",
  more: "M10 4.5v.1M10 10v.1M10 15.5v.1",
  close: "m5 5 10 10M15 5 5 15",
  send: "M3 3.5 17.5 10 3 16.5 5 10zM5 10h5.5",
  menu: "M3 5.5h14M3 10h14M3 14.5h14",
  phone: "M6.5 2.5h7v15h-7zM9.5 15h1",
  down: "M10 4v12M5 11l5 5 5-5",
  theme: "M10 3a7 7 0 1 0 0 14zM10 3v14M10 3a7 7 0 0 1 0 14",
  slash: "M12.5 3.5l-5 13",
  at: "M12.8 10a2.8 2.8 0 1 1-5.6 0 2.8 2.8 0 0 1 5.6 0zM12.8 7v4a2 2 0 0 0 4 0v-1A6.8 6.8 0 1 0 14 15.5",
  people: "M7.5 9.5a2.7 2.7 0 1 0 0-5.4 2.7 2.7 0 0 0 0 5.4zM2.5 16c0-3 2-4.5 5-4.5s5 1.5 5 4.5M13 4.5a2.5 2.5 0 0 1 0 5M14.5 11.8c2 .4 3 1.8 3 4.2",
};

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  for (const [key, value] of Object.entries({ viewBox: "0 0 20 20", class: `icon of-${name}`, "aria-hidden": "true" })) svg.setAttribute(key, value);
  return svg;
}

export const iconButton = (name, label, onclick, more = {}) =>
  el("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...more }, icon(name));

for (const node of document.querySelectorAll("[data-icon]")) node.prepend(icon(node.dataset.icon));

// --- for those who listen --------------------------------------------------------------------------------------------

/** Let a screen reader say this, once it has said what it is saying. */
export function announce(text) {
  const list = $("#announcer");
  list.append(el("p", {}, text));
  if (list.children.length > 5) list.firstChild.remove();
}

// --- focus -----------------------------------------------------------------------------------------------------------

const MARKS = ["data-action-id", "data-react", "data-reaction", "data-testid", "aria-label"];

/** How to find this control again, even if its message was drawn anew meanwhile. */
export function locate(node) {
  const list = node?.closest?.(".feed")?.id, form = node?.closest?.("dialog");
  const ts = node?.closest?.("[data-ts]")?.dataset.ts;
  const mark = MARKS.filter((name) => node?.hasAttribute?.(name)).map((name) => `[${name}="${CSS.escape(node.getAttribute(name))}"]`)[0];
  return () => {
    if (node?.isConnected) return node;
    if (form) return (mark && form.querySelector(mark)) || null;
    const row = list && ts && $(`#${list} [data-ts="${ts}"]`);
    return row ? (mark && row.querySelector(mark)) || row : null;
  };
}

/** Focus on this. What shows only while its message has the focus is reached by way of the message. */
export function focusOn(node) {
  node.closest("article")?.focus({ preventScroll: true });
  node.focus({ preventScroll: true });
}

// --- layers: what lies over something else ---------------------------------------------------------------------------

const layers = [];

/** Something opened over the rest. `covers` is inert meanwhile; `close` is what Escape does. Focus goes back on `lower`. */
export function raise(node, close, covers = []) {
  const layer = { node, close, covers, back: locate(document.activeElement) };
  layers.push(layer);
  covers.forEach((other) => { other.inert = true; });
  return layer;
}

export function lower(node) {
  const at = layers.findIndex((layer) => layer.node === node);
  if (at < 0) return;
  const [layer] = layers.splice(at, 1);
  const covered = new Set(layers.flatMap((other) => other.covers));
  layer.covers.forEach((other) => { other.inert = covered.has(other); });
  const lost = document.activeElement === document.body || node.contains(document.activeElement);
  if (lost) focusOn(layer.back() ?? $("#composer textarea"));
}

export const isRaised = (node) => layers.some((layer) => layer.node === node);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || !layers.length) return;
  event.preventDefault();
  layers.at(-1).close();
});

// --- menus -----------------------------------------------------------------------------------------------------------

/** Open a menu at this button. An entry is `{label, hint, act}`; `grid` shows the labels as tiles with their hints as names. */
export function openMenu(button, entries, { label, grid = false, testid = "menu" } = {}) {
  const close = () => { menu.remove(); removeEventListener("pointerdown", outside, true); lower(menu); button.setAttribute("aria-expanded", "false"); };
  const outside = (event) => { if (!menu.contains(event.target)) close(); };
  const items = entries.map((entry) => el("button", {
    type: "button", role: "menuitem", tabindex: "-1", "aria-label": grid ? entry.hint : null, "data-entry": entry.id, ...entry.data,
    onclick: () => { close(); entry.act(); },
  }, entry.label, entry.hint && !grid ? el("small", {}, entry.hint) : null));
  const menu = el("div", { class: `menu ${grid ? "grid" : ""}`, role: "menu", "aria-label": label, "data-testid": testid, onkeydown: (event) => {
    const step = { ArrowDown: grid ? 6 : 1, ArrowUp: grid ? -6 : -1, ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Tab") { event.preventDefault(); close(); }
    if (step === undefined) return;
    event.preventDefault();
    const at = items.indexOf(document.activeElement) + step;
    items[Math.abs(step) === 1 ? (at + items.length) % items.length : Math.max(0, Math.min(items.length - 1, at))].focus();
  } }, ...(items.length ? items : [el("p", { class: "empty" }, "Nothing here yet.")]));
  raise(menu, close);
  button.setAttribute("aria-expanded", "true");
  document.body.append(menu);
  const [spot, size] = [button.getBoundingClientRect(), menu.getBoundingClientRect()];
  menu.style.left = `${Math.max(8, Math.min(innerWidth - size.width - 8, spot.right - size.width))}px`;
  menu.style.top = `${spot.bottom + size.height + 8 < innerHeight ? spot.bottom + 4 : Math.max(8, spot.top - size.height - 4)}px`;
  addEventListener("pointerdown", outside, true);
  items[0]?.focus();
}
