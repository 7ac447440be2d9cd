// The panel of the pretend vendors: what the phones would receive.
import { $, el } from "/static/parts.js";
import { ask, read } from "/static/wire.js";

export async function showVendors() {
  const { vendors } = await read("vendors");
  $("#panel").replaceChildren(...(vendors ?? []).map((vendor) => el("section", { class: "vendor", "data-vendor": vendor.name, "aria-label": vendor.title },
    el("h2", {}, vendor.title), el("p", {}, vendor.note),
    ...(vendor.sends.length ? vendor.sends.map((sending) => sendingNode(vendor, sending)) : [el("div", { class: "empty" }, "Nothing received yet.")]))));
}

function sendingNode(vendor, sending) {
  const counts = Object.entries(sending.statuses).map(([word, n]) => `${word} ${n}`).join(", ");
  return el("div", { class: `sending ${sending.what}` },
    el("div", {}, el("span", { class: "what" }, sending.what), ` · ${sending.audience} · ${sending.count} people`),
    el("div", { class: "text" }, sending.text),
    el("div", { class: "ids" }, `${sending.ids.join(", ")}${counts ? ` — ${counts}` : ""}`),
    sending.can.length ? el("div", { class: "can" }, "report as:", ...sending.can.map((word) => el("button", { type: "button", "data-deliver": word, onclick: () => ask("vendors/deliver", { vendor: vendor.name, id: sending.id, status: word }) }, word))) : null);
}
