// The frame of the page: who looks, where, and what comes in.
import { SIGNS, draw } from "/static/blocks.js";
import { Composer } from "/static/composer.js";
import { Forms, confirmed } from "/static/forms.js";
import { Look, MessageList } from "/static/messages.js";
import { $, el, icon, isRaised, lower, openMenu, raise } from "/static/parts.js";
import { showVendors } from "/static/vendors.js";
import { ask, at, kept, me, problems, read, state } from "/static/wire.js";

const NARROW = matchMedia("(max-width: 899px)");
let stream = null;

function around(place) {
  return {
    ...at, tz: at.tz, locale: at.locale, words: at.words, confirm: confirmed,
    act: (block, spec, value) => ask("action", { ...place(), block_id: block.block_id, action_id: spec.action_id, element: value }),
    suggest: async (block, spec, typed) => (await ask("suggest", { ...place(), block_id: block.block_id, action_id: spec.action_id, value: typed })).options ?? [],
  };
}

// --- what the app offers besides commands ----------------------------------------------------------------------------

const shortcuts = (kind, more) => (state.world.shortcuts ?? []).filter((s) => s.type === kind).map((s) => ({
  label: s.name, hint: s.description ?? "", data: { "data-shortcut": s.callback_id }, act: () => ask("shortcut", { callback_id: s.callback_id, ...more }),
}));

const ofMessage = (message) => [
  ...shortcuts("message", { channel: message.channel, ts: message.ts }),
  { label: "Copy the text", data: { "data-entry": "copy" }, act: () => navigator.clipboard?.writeText(message.text) },
];
const globals = () => shortcuts("global", {});

// --- messages --------------------------------------------------------------------------------------------------------

const forms = new Forms(around);
const look = new Look(around, openThread, ofMessage);
const page = (beyond) => read("channel", { id: state.channel, ...beyond });
const messages = new MessageList($("#messages"), $("#pill"), look, { page, reload: showChannel, beginning, read: seen });
const replies = new MessageList($("#replies"), $("#replies-pill"), look, { inThread: true });
problems.show = tell;

/** Say what did not work where it can be seen. */
function tell(text) {
  if (state.tab === "home") $("#home").prepend(el("div", { class: "notice", role: "alert", "data-testid": "notice" }, text));
  else (state.thread && NARROW.matches ? replies : messages).notice(text);
}

// An answer that was written before an event may arrive after it: what came meanwhile is put in again.
const meanwhile = new Set();

async function catchingUp(reading) {
  const came = [];
  meanwhile.add(came);
  const answer = await reading;
  meanwhile.delete(came);
  return { answer, came };
}

async function showChannel() {
  const channel = state.channel;
  const unread = Number(kept.get(seenKey(channel)) ?? 0);
  const { answer, came } = await catchingUp(read("channel", { id: channel }));
  if (channel !== state.channel || !answer.ok) return;
  messages.show(answer.messages, { more: answer.more, unread });
  came.forEach(arrived);
}

async function openThread(ts) {
  state.thread = ts;
  const { answer, came } = await catchingUp(read("thread", { channel: state.channel, ts }));
  if (ts !== state.thread || !answer.ok) return;
  $("#thread").hidden = false;
  $("#thread-of").textContent = $("#title").textContent;
  if (!isRaised($("#thread"))) raise($("#thread"), closeThread, NARROW.matches ? [$("main"), $("#top")] : []);
  document.body.classList.add("in-thread");
  replies.show(answer.messages);
  came.forEach(arrived);
  reply.open();
  reply.area.focus();
}

function closeThread() {
  state.thread = null;
  $("#thread").hidden = true;
  document.body.classList.remove("in-thread");
  lower($("#thread"));
}

function arrived({ message }) {
  meanwhile.forEach((came) => came.push({ message }));
  const top = !message.thread_ts || message.thread_ts === message.ts;
  const channel = state.world.channels.find((c) => c.id === message.channel);
  if (top && channel && !message.ephemeral) { channel.latest = Math.max(channel.latest ?? 0, Number(message.ts)); drawSide(); }
  if (message.channel !== state.channel) return;
  if (top) messages.put(message);
  if (state.thread && [message.ts, message.thread_ts].includes(state.thread)) replies.put(message);
}

function gone(ts) {
  messages.remove(ts);
  replies.remove(ts);
}

// --- what was read ---------------------------------------------------------------------------------------------------

const seenKey = (channel) => `seen ${state.world.team.id} ${state.me} ${channel}`;
const isUnread = (channel) => (channel.latest ?? 0) > Number(kept.get(seenKey(channel.id)) ?? 0);

function seen(ts) {
  if (state.tab !== "messages" || Number(kept.get(seenKey(state.channel)) ?? 0) >= Number(ts)) return;
  kept.set(seenKey(state.channel), ts);
  drawSide();
}

// --- the frame -------------------------------------------------------------------------------------------------------

function drawSide() {
  const world = state.world;
  const link = (c) => {
    const [here, fresh] = [c.id === state.channel, c.id !== state.channel && isUnread(c)];
    return el("li", {}, el("a", {
      href: `?${new URLSearchParams({ me: state.me, channel: c.id })}`, "data-channel": c.id, class: `${here ? "here" : ""} ${fresh ? "new" : ""}`, "aria-current": here ? "page" : null,
      onclick: (event) => { event.preventDefault(); go({ channel: c.id }); },
    }, icon({ im: "bell", private: "lock" }[c.kind] ?? "hash"), el("span", {}, c.name), c.bot || c.kind === "im" ? null : el("small", {}, "no bot"), fresh ? el("span", { class: "dot" }, el("span", { class: "unseen" }, "unread")) : null));
  };
  const focused = document.activeElement?.dataset?.channel;
  $("#channels").replaceChildren(...world.channels.filter((c) => c.kind !== "im").map(link));
  $("#directs").replaceChildren(...world.channels.filter((c) => c.kind === "im").map(link));
  if (focused) $(`#side [data-channel="${focused}"]`)?.focus();
}

function drawFrame() {
  const world = state.world, here = world.channels.find((c) => c.id === state.channel);
  drawSide();
  drawLink();
  $("#team").textContent = world.team.name;
  $("#who").replaceChildren(...world.people.filter((p) => p.kind === "member" || p.kind === "guest").map((p) => el("option", { value: p.id, selected: p.id === state.me }, role(p))));
  $("#whoami").textContent = `${me().groups.length ? `@${me().groups.join(", @")}` : me().kind} · ${me().tz}`;
  $("#title").replaceChildren(icon({ im: "bell", private: "lock" }[here.kind] ?? "hash"), here.name);
  $("#topic").textContent = here.kind === "im" ? "App" : `${here.members.length} people${here.bot ? "" : " · the bot is not in this channel"}`;
  $("#composer textarea").placeholder = `Message ${here.kind === "im" ? here.name : `#${here.name}`} as ${me().real_name}, or type /`;
  $("#tabs").hidden = here.kind !== "im" || !("home" in world);
  drawTab();
}

const role = (p) => `${p.real_name}${p.groups.includes("marketing-approvers") ? " · approver" : p.groups.length ? ` · ${p.groups[0]}` : p.kind === "guest" ? "" : " · member"}`;

function drawLink() {
  const { name } = state.world.app;
  const lost = state.lost ? "The sandbox does not answer." : !state.world.connected ? `${name} is not running.` : state.dead ? `${name} does not answer.` : "";
  document.body.classList.toggle("is-dead", Boolean(lost));
  $("#link").textContent = lost ? lost : `${name} is connected`;
  $("#dead").hidden = !lost;
  $("#dead").textContent = lost ? `${lost} What you type is kept, and can be sent again.` : "";
}

async function go(change) {
  if (isRaised($("#side"))) closeDrawer($("#side"));
  if (state.thread) closeThread();
  const tab = change.tab ?? "messages";
  Object.assign(state, change, { tab });
  history.replaceState(null, "", `?${new URLSearchParams({ me: state.me, channel: state.channel })}`);
  if (change.me) { await load(); return; }
  drawFrame();
  composer.open();
  await showChannel();
}

async function load() {
  const answer = await read("state");
  if (!answer.ok) return;
  state.world = answer;
  Object.assign(state, { dead: false, lost: false });
  if (!answer.channels.some((c) => c.id === state.channel)) state.channel = answer.channels[0].id;
  drawFrame();
  forms.start(answer.views);
  await listen();
  await Promise.all([showChannel(), showVendors()]);
  const area = $("#composer textarea");
  if (area.disabled) { area.disabled = false; }
  composer.open();
}

function listen() {
  stream?.close();
  stream = new EventSource(`/page/events?me=${state.me}`);
  stream.onerror = () => { state.lost = true; drawLink(); };
  const on = (name, act) => stream.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on("message", arrived);
  on("changed", arrived);
  on("deleted", ({ ts }) => gone(ts));
  on("notice", ({ text }) => tell(text));
  on("view", ({ view }) => forms.came(view));
  on("view_closed", ({ view_id, all }) => forms.closed(view_id, all));
  on("vendors", showVendors);
  on("home", ({ view }) => { state.world.home = view; drawTab(); });
  on("connected", ({ connected }) => { state.world.connected = connected; state.dead = false; drawLink(); });
  // What happens between reading and listening would be lost, so reading waits until the stream is open.
  return new Promise((opened) => { stream.onopen = () => { if (state.lost) load(); opened(); }; });
}

// --- the app's Home tab ----------------------------------------------------------------------------------------------

function drawTab() {
  const home = state.tab === "home" && !$("#tabs").hidden;
  $("#home").hidden = !home;
  $("#channel").hidden = home;
  for (const [id, on] of [["#tab-home", home], ["#tab-messages", !home]]) {
    $(id).setAttribute("aria-selected", String(on));
    $(id).tabIndex = on ? 0 : -1;
  }
  if (!home) return;
  const view = state.world.home;
  const blocks = view?.blocks ?? [];
  $("#home").lang = at.language;
  $("#home").replaceChildren(el("div", { class: "blocks" }, ...draw(blocks, around(() => ({ view_id: view.id })))),
    ...(blocks.length ? [] : [el("p", { class: "empty", lang: "en" }, `${state.world.app.name} has not published anything here yet.`)]));
}

async function showTab(tab) {
  state.tab = tab;
  drawTab();
  await ask("home", { tab });
}

for (const [id, other, tab] of [["#tab-home", "#tab-messages", "home"], ["#tab-messages", "#tab-home", "messages"]]) {
  $(id).addEventListener("click", () => showTab(tab));
  $(id).addEventListener("keydown", (event) => { if (event.key === "ArrowLeft" || event.key === "ArrowRight") { $(other).focus(); $(other).click(); } });
}

// --- where a channel begins ------------------------------------------------------------------------------------------

function beginning() {
  const here = state.world.channels.find((c) => c.id === state.channel);
  const start = el("div", { class: "above start" }, el("h2", {}, here.kind === "im" ? here.name : `# ${here.name}`),
    el("p", {}, here.kind === "im" ? "What the app tells you, and nobody else." : "This is where the channel begins."));
  return [start, ...hello()];
}

function hello() {
  if (kept.get("hello") === "seen" || state.channel !== "C0CAMPAIGNS") return [];
  const line = "/broadcast send clients marketing Soldes demain";
  const fill = () => { composer.fill(line); composer.area.focus(); };
  const close = () => { kept.set("hello", "seen"); $(".hello")?.remove(); composer.area.focus(); };
  return [el("div", { class: "above hello" },
    el("button", { type: "button", class: "icon-button close", "aria-label": "Close the welcome", onclick: close }, icon("close")),
    el("h2", {}, "Welcome to Bellville"),
    el("p", {}, "The workspace and the vendors are pretend. The bot between them is real."),
    el("ol", {},
      el("li", {}, "As Cleo, type ", el("button", { type: "button", class: "try", onclick: fill }, line)),
      el("li", {}, "At the lower left, switch to Ana, who may approve"),
      el("li", {}, "Press ", el("b", {}, "Approve"), " or react with ✅, then watch the thread and the vendors")))];
}

// --- drawers ---------------------------------------------------------------------------------------------------------

const DRAWERS = [[$("#side"), $("#open-side")], [$("#vendors"), $("#toggle-vendors")]];
const buttonOf = (drawer) => DRAWERS.find(([node]) => node === drawer)[1];

function openDrawer(drawer) {
  raise(drawer, () => closeDrawer(drawer), [...$("#app").children, $("#top")].filter((other) => other !== drawer));
  drawer.classList.add("open");
  drawer.setAttribute("role", "dialog");
  drawer.setAttribute("aria-modal", "true");
  document.body.classList.add("in-drawer");
  buttonOf(drawer).setAttribute("aria-expanded", "true");
  drawer.querySelector("a, button").focus();
}

function closeDrawer(drawer) {
  drawer.classList.remove("open");
  drawer.removeAttribute("role");
  drawer.removeAttribute("aria-modal");
  document.body.classList.remove("in-drawer");
  buttonOf(drawer).setAttribute("aria-expanded", "false");
  lower(drawer);
}

function toggleVendors() {
  const panel = $("#vendors");
  if (isRaised(panel)) closeDrawer(panel);
  else if (NARROW.matches) openDrawer(panel);
  else { panel.hidden = !panel.hidden; $("#toggle-vendors").setAttribute("aria-expanded", String(!panel.hidden)); }
}

NARROW.addEventListener("change", () => fitWidth());

function fitWidth() {
  DRAWERS.filter(([drawer]) => isRaised(drawer)).forEach(([drawer]) => closeDrawer(drawer));
  if (state.thread) closeThread();
  $("#vendors").hidden = false;
  $("#toggle-vendors").setAttribute("aria-expanded", String(!NARROW.matches));
}

document.addEventListener("pointerdown", (event) => {
  for (const [drawer] of DRAWERS) if (isRaised(drawer) && !drawer.contains(event.target)) closeDrawer(drawer);
});

// --- light and dark --------------------------------------------------------------------------------------------------

function paint(theme) { document.documentElement.dataset.theme = theme ?? ""; }

$("#theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  kept.set("theme", now === "dark" ? "light" : "dark");
  paint(kept.get("theme"));
});
paint(kept.get("theme"));

// --- start -----------------------------------------------------------------------------------------------------------

/** Send what was typed, and let the answer scroll into sight. Returns whether it was taken. */
async function send(list, body) {
  const [answer] = await Promise.all([ask("message", body), list.toEnd()]);
  const taken = answer.ok && answer.delivered !== false;
  state.dead = answer.ok && !taken;
  drawLink();
  return taken;
}

const composer = new Composer($("#composer"), { globals, place: () => `${state.me} ${state.channel}`, send: (text) => send(messages, { channel: state.channel, text }) });
const reply = new Composer($("#reply"), { place: () => `${state.me} ${state.thread}`, send: (text) => send(replies, { channel: state.channel, text, thread_ts: state.thread }) });

// F6 walks from part to part, as in Slack.
const PARTS = ["#side a.here", "#feed article[tabindex='0']", "#composer textarea", "#replies-feed article[tabindex='0']", "#reply textarea", "#panel"];
document.addEventListener("keydown", (event) => {
  if (event.key !== "F6") return;
  event.preventDefault();
  const parts = PARTS.map($).filter((node) => node?.offsetParent && !node.closest("[inert]"));
  const at = parts.findIndex((node) => node === document.activeElement || node.closest(".scroll, form")?.contains(document.activeElement));
  parts.at((at + (event.shiftKey ? -1 : 1)) % parts.length)?.focus();
});

$("#who").addEventListener("change", (event) => go({ me: event.target.value }));
$("#close-thread").addEventListener("click", closeThread);
$("#open-side").addEventListener("click", () => openDrawer($("#side")));
$("#toggle-vendors").addEventListener("click", toggleVendors);
$("#close-vendors").addEventListener("click", toggleVendors);
$("#shortcuts").addEventListener("click", (event) => openMenu(event.currentTarget, globals(), { label: "Shortcuts", testid: "shortcut-menu" }));
$("#emoji").addEventListener("click", (event) => openMenu(event.currentTarget, SIGNS.map((sign) => ({ ...sign, act: () => composer.insert(`:${sign.hint}: `) })), { label: "Emoji", grid: true }));
$("#mention").addEventListener("click", () => composer.insert(composer.area.value && !/\s$/.test(composer.area.value) ? " @" : "@"));
$("#slash").addEventListener("click", () => { composer.fill("/"); composer.area.focus(); composer.typed(); });
fitWidth();
load();
