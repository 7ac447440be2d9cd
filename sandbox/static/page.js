import { EMOJI, draw, el, mrkdwn } from "/static/blocks.js";

const PICK = ["white_check_mark", "+1", "x", "-1", "eyes", "bell"];
const $ = (selector) => document.querySelector(selector);
const query = new URLSearchParams(location.search);
const state = { me: query.get("me") ?? "U0CLEO", channel: query.get("channel") ?? "C0CAMPAIGNS", thread: null, world: null, fresh: new Set() };
let stream = null;

// --- talking to the workspace ----------------------------------------------------------------------------------------

async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ me: state.me, ...body }) } : {};
  const answer = await (await fetch(`/page/${path}`, options)).json();
  if (!answer.ok) notice(answer.error);
  return answer;
}
const read = (path, params = {}) => ask(`${path}?${new URLSearchParams({ me: state.me, ...params })}`);

const at = {
  get tz() { return state.world.people.find((p) => p.id === state.me)?.tz ?? "UTC"; },
  people: () => state.world.people,
  channels: () => state.world.channels.filter((c) => c.kind !== "im"),
  person: (id) => state.world.people.find((p) => p.id === id)?.real_name ?? (id === state.world.app.user ? state.world.app.name : undefined),
  channel: (id) => state.world.channels.find((c) => c.id === id)?.name,
  group: (id) => state.world.groups.find((g) => g.id === id)?.handle,
};

function around(place) {
  return {
    ...at, tz: at.tz, confirm: confirmed,
    act: (block, spec, value) => ask("action", { ...place(), block_id: block.block_id, action_id: spec.action_id, element: value }),
    suggest: async (block, typed) => (await ask("suggest", { ...place(), block_id: block.block_id, value: typed })).options ?? [],
  };
}

// --- messages --------------------------------------------------------------------------------------------------------

const HUES = [212, 18, 152, 268, 338, 90, 190, 42];
const hue = (id) => HUES[[...(id ?? "?")].reduce((sum, char) => sum + char.charCodeAt(0), 0) % HUES.length];

function avatar(message) {
  const app = Boolean(message.bot_id);
  const initials = app ? "🔔" : message.name.split(" ").map((word) => word[0]).slice(0, 2).join("");
  return el("span", { class: "avatar", "aria-hidden": "true", style: `background:${app ? "#1b2a41" : `hsl(${hue(message.user)} 45% 45%)`}` }, initials);
}

function messageNode(message, inThread = false) {
  const here = around(() => ({ channel: message.channel, ts: message.ts }));
  const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: at.tz }).format(new Date(Number(message.ts) * 1000));
  const content = message.blocks.length
    ? el("div", { class: message.blocks.length > 1 && message.bot_id ? "card" : "blocks" }, ...draw(message.blocks, here))
    : el("div", { class: "said" }, ...mrkdwn(message.text, here));
  return el("article", { class: `message ${message.ephemeral ? "ephemeral" : ""}`, "data-testid": message.ephemeral ? "ephemeral" : "message", "data-ts": message.ts, "aria-label": message.text },
    avatar(message),
    el("div", { class: "body" },
      message.ephemeral ? el("div", { class: "only-you" }, "👁 Only visible to you") : null,
      el("div", { class: "meta" }, el("b", {}, message.name), message.bot_id ? el("span", { class: "app" }, "APP") : null, el("small", {}, time, message.edited ? " (edited)" : "")),
      content,
      message.reactions.length ? el("div", { class: "reactions" }, ...message.reactions.map((r) => reaction(message, r))) : null,
      message.reply_count && !inThread ? el("button", { type: "button", class: "replies-link", "data-testid": "replies", onclick: () => openThread(message.ts) },
        `💬 ${message.reply_count} ${message.reply_count === 1 ? "reply" : "replies"}`) : null),
    message.ephemeral ? null : tools(message, inThread));
}

function reaction(message, r) {
  const mine = r.users.includes(state.me);
  return el("button", { type: "button", class: `reaction ${mine ? "mine" : ""}`, "data-reaction": r.name, title: r.users.map((u) => at.person(u)).join(", "),
    onclick: () => react(message, r.name, !mine) }, `${EMOJI[r.name] ?? `:${r.name}:`} ${r.users.length}`);
}

const react = (message, name, on) => ask("react", { channel: message.channel, ts: message.ts, name, on });

function tools(message, inThread) {
  return el("div", { class: "tools" },
    ...PICK.map((name) => el("button", { type: "button", "data-react": name, "aria-label": `React with ${name}`, onclick: () => react(message, name, true) }, EMOJI[name])),
    inThread ? null : el("button", { type: "button", "aria-label": "Reply in thread", onclick: () => openThread(message.ts) }, "💬"));
}

function place(list, node, ts) {
  const old = list.querySelector(`[data-ts="${ts}"]`);
  if (old) { old.replaceWith(node); return; }
  const low = list.scrollHeight - list.scrollTop - list.clientHeight < 140;
  list.append(node);
  if (low) list.scrollTop = list.scrollHeight;
}

function notice(text) {
  const list = $("#messages");
  list.append(el("div", { class: "notice", role: "status", "data-testid": "notice" }, text));
  list.scrollTop = list.scrollHeight;
}

// An answer that was written before an event may arrive after it: what came meanwhile is put in again.
const meanwhile = new Set();

async function showChannel() {
  const came = [];
  meanwhile.add(came);
  const [channel, answer] = [state.channel, await read("channel", { id: state.channel })];
  meanwhile.delete(came);
  if (channel !== state.channel) return;
  $("#messages").replaceChildren(...hello(), ...(answer.messages ?? []).map((message) => messageNode(message)));
  came.forEach(arrived);
  $("#messages").scrollTop = $("#messages").scrollHeight;
}

async function openThread(ts) {
  state.thread = ts;
  const came = [];
  meanwhile.add(came);
  const answer = await read("thread", { channel: state.channel, ts });
  meanwhile.delete(came);
  if (ts !== state.thread) return;
  $("#thread").hidden = false;
  $("#replies").replaceChildren(...(answer.messages ?? []).map((message) => messageNode(message, true)));
  came.forEach(arrived);
  $("#replies").scrollTop = $("#replies").scrollHeight;
}

function arrived({ message }) {
  meanwhile.forEach((came) => came.push({ message }));
  if (message.channel !== state.channel) {
    if (!message.thread_ts || message.thread_ts === message.ts) { state.fresh.add(message.channel); drawSide(); }
    return;
  }
  const top = !message.thread_ts || message.thread_ts === message.ts;
  if (top) place($("#messages"), messageNode(message), message.ts);
  if (state.thread && [message.ts, message.thread_ts].includes(state.thread)) place($("#replies"), messageNode(message, true), message.ts);
}

// --- the frame -------------------------------------------------------------------------------------------------------

function drawSide() {
  const world = state.world;
  const link = (c) => el("li", {}, el("a", {
    href: "#", "data-channel": c.id, class: `${c.id === state.channel ? "here" : ""} ${state.fresh.has(c.id) ? "new" : ""}`,
    onclick: (event) => { event.preventDefault(); go({ channel: c.id }); },
  }, c.kind === "im" ? `🔔 ${c.name}` : `${c.kind === "private" ? "🔒" : "#"} ${c.name}`, c.bot || c.kind === "im" ? "" : el("small", {}, " (bot not here)")));
  $("#channels").replaceChildren(...world.channels.filter((c) => c.kind !== "im").map(link));
  $("#directs").replaceChildren(...world.channels.filter((c) => c.kind === "im").map(link));
  $("#team").textContent = world.team.name;
  $("#link").textContent = world.connected ? "the bot is connected" : "waiting for the bot";
  $("#link").className = world.connected ? "on" : "off";
  $("#who").replaceChildren(...world.people.filter((p) => p.kind === "member" || p.kind === "guest").map((p) => el("option", { value: p.id, selected: p.id === state.me }, role(p))));
  const me = world.people.find((p) => p.id === state.me);
  $("#whoami").textContent = `${me.groups.length ? `@${me.groups.join(", @")}` : me.kind} · ${me.tz}`;
  const here = world.channels.find((c) => c.id === state.channel);
  $("#title").textContent = here ? (here.kind === "im" ? `🔔 ${here.name}` : `# ${here.name}`) : "";
  $("#topic").textContent = here ? `${here.members.length} people${here.bot ? "" : " · the bot is not in this channel"}` : "";
  $("#composer textarea").placeholder = here ? `Message ${here.kind === "im" ? here.name : `#${here.name}`} as ${me.real_name}, or type /` : "";
}

const role = (p) => `${p.real_name}${p.groups.includes("marketing-approvers") ? " · approver" : p.groups.length ? ` · ${p.groups[0]}` : p.kind === "guest" ? "" : " · member"}`;

async function go(change) {
  Object.assign(state, change, { thread: null });
  $("#thread").hidden = true;
  state.fresh.delete(state.channel);
  history.replaceState(null, "", `?${new URLSearchParams({ me: state.me, channel: state.channel })}`);
  if (change.me) { await load(); return; }
  drawSide();
  await showChannel();
}

async function load() {
  const answer = await read("state");
  if (!answer.ok) return;
  state.world = answer;
  if (!answer.channels.some((c) => c.id === state.channel)) state.channel = answer.channels[0].id;
  stack = answer.views;
  typed.clear();
  drawSide();
  drawModals();
  await listen();
  await Promise.all([showChannel(), showVendors()]);
  $("#composer textarea").disabled = false;
}

function listen() {
  stream?.close();
  stream = new EventSource(`/page/events?me=${state.me}`);
  let lost = false;
  stream.onerror = () => { lost = true; };
  const on = (name, act) => stream.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on("message", arrived);
  on("changed", arrived);
  on("deleted", ({ ts }) => document.querySelectorAll(`[data-ts="${ts}"]`).forEach((node) => node.remove()));
  on("notice", ({ text }) => notice(text));
  on("view", ({ view }) => viewCame(view));
  on("view_closed", ({ view_id, all }) => { stack = all ? [] : stack.filter((view) => view.id !== view_id); drawModals(); });
  on("vendors", showVendors);
  on("connected", ({ connected }) => { state.world.connected = connected; drawSide(); });
  // What happens between reading and listening would be lost, so reading waits until the stream is open.
  return new Promise((opened) => { stream.onopen = () => { if (lost) load(); opened(); }; });
}

// --- first visit -----------------------------------------------------------------------------------------------------

function hello() {
  if (localStorage.getItem("hello") === "seen" || state.channel !== "C0CAMPAIGNS") return [];
  const line = "/broadcast send clients marketing Soldes demain";
  const fill = () => { const box = $("#composer textarea"); box.value = line; box.focus(); suggest(); };
  const close = () => { localStorage.setItem("hello", "seen"); $(".hello")?.remove(); };
  return [el("div", { class: "hello" },
    el("button", { type: "button", class: "close", "aria-label": "Close the welcome", onclick: close }, "✕"),
    el("h2", {}, "Welcome to Bellville 🔔"),
    el("p", {}, "The workspace and the vendors are pretend. The bot between them is real."),
    el("ol", {},
      el("li", {}, "As Cleo, type ", el("button", { type: "button", class: "try", onclick: fill }, line)),
      el("li", {}, "At the lower left, switch to Ana, who may approve"),
      el("li", {}, "Press ", el("b", {}, "Approve"), " or react with ✅, then watch the thread and the vendors")))];
}

// --- the message box -------------------------------------------------------------------------------------------------

function suggest() {
  const value = $("#composer textarea").value;
  const found = value.startsWith("/") ? state.world.commands.filter((c) => c.command.startsWith(value.split(" ")[0])) : [];
  $("#suggest").hidden = !found.length;
  $("#suggest").replaceChildren(...found.map((c) => el("div", {}, el("b", {}, c.command), c.usage_hint ?? "", el("small", {}, c.description ?? ""))));
}

function box(form, send) {
  const area = form.querySelector("textarea");
  const go = async () => {
    const text = area.value;
    if (!text.trim()) return;
    area.value = "";
    suggest();
    const answer = await send(text);
    if (!answer.ok) area.value = text;
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); go(); });
  area.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); go(); } });
}

// --- modals ----------------------------------------------------------------------------------------------------------

let stack = [];
const typed = new Map();

function viewCame(view) {
  const known = stack.findIndex((old) => old.id === view.id);
  if (known >= 0) { remember(); stack[known] = view; } else stack.push(view);
  drawModals();
}

function remember() {
  for (const box of document.querySelectorAll("#modals .field"))
    if (box.control?.value !== undefined) typed.set(box.key, box.control.keep ? box.control.keep() : box.control.value);
}

// Where somebody types, so that a form that is drawn again does not take the cursor away.
function cursor() {
  const box = document.activeElement?.closest?.("#modals .field");
  if (!box) return () => false;
  const { key, control: { selectionStart, selectionEnd } } = box;
  return () => {
    const again = [...document.querySelectorAll("#modals .field")].find((other) => other.key === key)?.control;
    if (!again) return false;
    again.focus();
    if (selectionStart !== undefined && selectionStart !== null) again.setSelectionRange?.(selectionStart, selectionEnd);
    return true;
  };
}

function drawModals(errors = {}) {
  const view = stack.at(-1);
  if (!view) { typed.clear(); $("#modals").replaceChildren(); return; }
  const here = around(() => ({ view_id: view.id, state: { values: values() } }));
  const nodes = draw(view.blocks, here);
  const back = cursor();
  for (const node of nodes) {
    if (typed.has(node.key) && node.control) {
      if (node.control.restore) node.control.restore(typed.get(node.key));
      else node.control.value = typed.get(node.key);
    }
    const wrong = errors[node.dataset.blockId];
    if (wrong) { node.classList.add("wrong"); node.append(el("p", { class: "error", role: "alert", "data-testid": "error" }, wrong)); }
  }
  const close = () => ask("close", { view_id: view.id });
  const form = el("form", { class: "modal", "data-testid": "modal", role: "dialog", "aria-label": view.title.text, novalidate: true },
    el("header", {}, el("h1", {}, view.title.text), el("button", { type: "button", "aria-label": "Close", onclick: close }, "✕")),
    el("div", { class: "blocks" }, ...nodes),
    el("footer", {},
      el("button", { type: "button", class: "btn", onclick: close }, view.close?.text ?? "Close"),
      view.submit ? el("button", { type: "submit", class: "btn primary", "data-testid": "submit" }, view.submit.text) : null));
  form.addEventListener("submit", (event) => { event.preventDefault(); submit(view, nodes); });
  $("#modals").replaceChildren(el("div", { class: "veil" }, form));
  if (!back()) form.querySelector("textarea, input, select")?.focus();
}

function values() {
  const found = {};
  for (const box of document.querySelectorAll("#modals .field")) {
    const [block, action, value] = box.read();
    (found[block] ??= {})[action] = value;
  }
  return found;
}

async function submit(view, nodes) {
  remember();
  const missing = {};
  for (const block of view.blocks.filter((b) => b.type === "input" && !b.optional)) {
    const node = nodes.find((n) => n.dataset.blockId === block.block_id);
    const value = node.read()[2];
    if (Object.entries(value).every(([name, v]) => name === "type" || v === null || v?.length === 0)) missing[block.block_id] = "Please complete this required field.";
  }
  if (Object.keys(missing).length) { drawModals(missing); return; }
  const answer = await ask("submit", { view_id: view.id, state: { values: values() } });
  if (answer.errors && Object.keys(answer.errors).length) drawModals(answer.errors);
}

function confirmed(spec) {
  return new Promise((done) => {
    const finish = (yes) => { $("#confirm").replaceChildren(); done(yes); };
    $("#confirm").replaceChildren(el("div", { class: "veil" }, el("div", { class: "modal", role: "alertdialog", "data-testid": "confirm", "aria-label": spec.title.text },
      el("header", {}, el("h1", {}, spec.title.text)),
      el("div", { class: "blocks plain" }, spec.text.text),
      el("footer", {},
        el("button", { type: "button", class: "btn", onclick: () => finish(false) }, spec.deny.text),
        el("button", { type: "button", class: `btn ${spec.style ?? "primary"}`, "data-testid": "confirm-yes", onclick: () => finish(true) }, spec.confirm.text)))));
    $("#confirm [data-testid=confirm-yes]").focus();
  });
}

// --- the vendors' panel ----------------------------------------------------------------------------------------------

async function showVendors() {
  const { vendors } = await read("vendors");
  $("#panel").replaceChildren(...(vendors ?? []).map((vendor) => el("div", { class: "vendor", "data-vendor": vendor.name },
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

// --- start -----------------------------------------------------------------------------------------------------------

$("#who").addEventListener("change", (event) => go({ me: event.target.value }));
$("#composer textarea").addEventListener("input", suggest);
$("#close-thread").addEventListener("click", () => { state.thread = null; $("#thread").hidden = true; });
$("#toggle-vendors").addEventListener("click", () => {
  const panel = $("#vendors");
  panel.hidden = !panel.hidden;
  $("#toggle-vendors").setAttribute("aria-expanded", String(!panel.hidden));
});
box($("#composer"), (text) => ask("message", { channel: state.channel, text }));
box($("#reply"), (text) => ask("message", { channel: state.channel, text, thread_ts: state.thread }));
load();
