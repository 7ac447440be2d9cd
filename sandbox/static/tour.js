// A tour of two minutes. Each step says what to press, and notices by itself when it has happened.
import { act, make, me, rang, read, ready, watch } from "/static/weather.js";

const HERE = "C0CAMPAIGNS";
const CLEO = "U0CLEO";
const BEN = "U0BEN";
const KEY = "tour";

// --- where one is: kept in this browser, so that one can leave and go on -----------------------------------------------

const fresh = () => ({ step: 0, open: true, one: `Umbrellas at half price, ${mark()}`, two: `Boots at half price, ${mark()}` });
const mark = () => `no. ${100 + Math.floor(Math.random() * 900)}`;
let tour = null; // null: not begun

function load() {
  try { tour = JSON.parse(localStorage.getItem(KEY)); } catch { tour = null; }
}

function keep(change = {}) {
  tour = { ...tour, ...change };
  try { localStorage.setItem(KEY, JSON.stringify(tour)); } catch { /* this browser keeps nothing */ }
}

// --- what has happened -------------------------------------------------------------------------------------------------

/** What the stage and the channel show of a text: the actions on its card, and how often phones rang for it. */
async function look(stage) {
  const messages = (await read("channel", { id: HERE })).messages ?? [];
  const of = (text) => {
    const card = messages.findLast((message) => message.blocks.length && !message.ephemeral && JSON.stringify(message.blocks).includes(text));
    const actions = new Set((card?.blocks ?? []).flatMap((block) => block.elements ?? []).map((element) => element.action_id));
    const told = stage.ledger.find((one) => one.text.includes(text));
    return { asked: Boolean(card), can: (action) => actions.has(`broadcast.${action}`), told, times: told?.times ?? 0 };
  };
  return { stage, one: of(tour.one), two: of(tour.two), weather: Object.fromEntries(stage.weather.map(({ vendor, kind }) => [vendor, kind])) };
}

const approved = (seen) => seen.asked && !seen.can("approve") && (seen.can("stop") || seen.can("mark_sent") || seen.times > 0);

// --- the steps ---------------------------------------------------------------------------------------------------------

const line = (text) => `/broadcast send clients marketing ${text}`;
const write = (text) => ({ label: "Be Cleo, and write it", press: () => compose(line(text)) });
const weather = (kind, label) => ({ label, press: () => act("weather", { vendor: "encom", kind }) });
const start = { label: "Start it again", press: () => act("bot", { do: "start" }) };
const ben = () => (me() === BEN ? [] : [{ label: "Be Ben", press: () => become(BEN) }]);

const STEPS = [
  { say: () => "A vendor may do its work and lose the answer. Under Weather, set Encom to *loses the answer*.",
    help: () => [weather("lost", "Let it lose the answer")], done: (now) => now.weather.encom === "lost" || approved(now.one) },
  { say: () => `Ask for a broadcast as Cleo: *${line(tour.one)}*, then Enter.`,
    help: () => [write(tour.one)], done: (now) => now.one.asked },
  { say: () => `Ben may approve. Be Ben, and press *Approve* on the card of “${tour.one}”.`,
    help: ben, done: (now) => approved(now.one) },
  { say: () => "For five seconds it can still be stopped. Then the phones ring, and the connection breaks before the answer.",
    help: () => [], done: (now) => now.one.can("mark_sent") || now.one.can("follow_up") },
  { say: (now) => `Unknown: the bot cannot know, so it does not say “failed”, and sends nothing again. The vendor’s ledger: ${now.one.told ? rang(now.one.told) : "…"} Settle it: as Ben, press *It went out* on the card.`,
    help: ben, done: (now) => now.one.asked && now.one.times > 0 && !now.one.can("mark_sent") },
  { say: () => "Now the bot itself. First set Encom back to *works*.",
    help: () => [weather("works", "Let it work")], done: (now) => now.weather.encom === "works" },
  { say: () => `Ask once more as Cleo: *${line(tour.two)}*, then Enter.`,
    help: () => [write(tour.two)], done: (now) => now.two.asked },
  { say: () => `Be Ben, and press *Approve* on the card of “${tour.two}”. Five seconds later it would go out. Kill the bot before that.`,
    help: ben, done: (now) => approved(now.two) },
  { say: (now) => (now.two.times ? "That was too late: it is out already, once. Try again with another text." : "Quick: press *Kill the bot*, while the broadcast is about to go out."),
    help: (now) => (now.two.times ? [{ label: "Try again", press: () => keep({ step: 6, two: fresh().two }) }] : [{ label: "Kill the bot", press: () => act("bot", { do: "kill" }), danger: true }]),
    done: (now) => now.stage.bot.pid === null && now.two.times === 0 },
  { say: () => "Its process is gone, in the middle of its work. Press *Start it again*.",
    help: () => [start], done: (now) => now.stage.bot.state === "running" },
  { say: (now) => (now.two.can("send_now") ? "It was dead for long, so the broadcast is held: nothing goes out late by surprise. Press *Send now* on its card." : "It goes on from its database. Watch the ledger."),
    help: () => [], done: (now) => now.two.times > 0 },
  { say: (now) => `${[now.one.told, now.two.told].filter(Boolean).map(rang).join(" ")} That is the promise: never twice, and never “failed” when it does not know.`,
    help: () => [{ label: "Close", press: () => keep({ open: false, step: 0, ended: true }) }], done: () => false },
];

/** What stands in for every step that needs a bot, while it is dead. */
const DEAD = {
  say: (now) => (now.stage.bot.state === "starting" ? "The bot starts…" : "The bot is dead, and takes no part. Press *Start it again*."),
  help: (now) => (now.stage.bot.state === "starting" ? [] : [start]),
};
const WITHOUT_BOT = [0, 5, 8, 9, STEPS.length - 1];
const stepOf = (now) => (now.stage.bot.state !== "running" && !WITHOUT_BOT.includes(tour.step) ? DEAD : STEPS[tour.step]);

// --- doing it for you ----------------------------------------------------------------------------------------------------

const sleep = (ms) => new Promise((over) => { setTimeout(over, ms); });

/** Be this person, in the channel of the tour, as soon as the page shows it. */
async function become(person) {
  const who = document.querySelector("#who");
  if (me() !== person) {
    who.value = person;
    who.dispatchEvent(new Event("change", { bubbles: true }));
  }
  if ((new URLSearchParams(location.search).get("channel") ?? HERE) !== HERE) document.querySelector(`[data-channel="${HERE}"]`)?.click();
  const composer = document.querySelector("[data-testid=composer]");
  for (let calm = 0; calm < 3; calm += me() === person && !composer.disabled ? 1 : 0) await sleep(80);
  return composer;
}

async function compose(text) {
  const composer = await become(CLEO);
  composer.value = text;
  composer.focus();
  composer.dispatchEvent(new Event("input", { bubbles: true }));
}

// --- on the page -----------------------------------------------------------------------------------------------------------

let box = null;
let entry = null;
let latest = null; // the stage as it was last seen

/** Offer the tour: a line above the messages, and this button. */
function offerTour(button) {
  load();
  entry = button;
  box = make("section", { id: "tour", "data-testid": "tour", "aria-label": "Tour", hidden: true });
  document.querySelector("main > .bar").after(box);
  button.addEventListener("click", begin);
  document.addEventListener("keydown", (event) => {
    if (!event.altKey || event.code !== "KeyT" || box.hidden) return;
    event.preventDefault();
    (box.querySelector(".buttons button") ?? box.querySelector("button")).focus();
  });
  watch(notice);
}

function begin() {
  keep(tour?.step ? { open: true } : { ...fresh(), ended: tour?.ended });
  shown = "";
  notice(latest);
}

let looking = false;
let again = false;

async function notice(stage) {
  latest = stage;
  if (looking) { again = true; return; }
  looking = true;
  do {
    again = false;
    await step();
  } while (again);
  looking = false;
}

async function step() {
  entry.hidden = Boolean(tour?.open);
  entry.textContent = tour?.step ? "Resume the tour" : "Take the tour";
  if (!tour?.open) { offer(); return; }
  const now = await look(latest);
  const before = tour.step;
  while (STEPS[tour.step].done(now)) keep({ step: tour.step + 1 });
  draw(now, before !== tour.step);
}

function offer() {
  const refused = tour !== null; // somebody left it, or said no: the button with the weather stays
  if (box.hidden !== refused || (!refused && !box.children.length)) {
    box.className = "slim";
    box.hidden = refused;
    box.replaceChildren(make("header", {},
      make("p", {}, "Two minutes: a lost answer, a killed bot, and phones that ring once."),
      make("button", { type: "button", class: "small first", "data-testid": "begin-tour", onclick: begin }, "Take the tour"),
      make("button", { type: "button", class: "leave", "aria-label": "No tour", onclick: () => { keep({ open: false, step: 0 }); notice(latest); } }, "✕")));
  }
}

let shown = "";

function draw(now, moved) {
  const { say, help } = stepOf(now);
  const text = say(now);
  const all = [tour.step, me(), text].join(" ");
  if (shown === all && !box.hidden) return;
  shown = all;
  box.className = "";
  box.hidden = false;
  const hadFocus = box.contains(document.activeElement);
  const buttons = help(now).map(({ label, press, danger }, index) => make("button", { type: "button", class: `small ${danger ? "danger" : index ? "" : "first"}`, onclick: async () => { await press(); await notice(latest); } }, label));
  const said = box.querySelector("p[role=status]") ?? make("p", { role: "status", "data-testid": "tour-says" });
  said.replaceChildren(...text.split("*").map((part, index) => (index % 2 ? make("b", {}, part) : part)));
  box.replaceChildren(
    make("header", {}, make("h2", {}, `Tour: step ${tour.step + 1} of ${STEPS.length}`, make("small", {}, " · Alt+T comes here")),
      make("progress", { max: STEPS.length - 1, value: tour.step, "aria-label": "Progress of the tour" }),
      make("button", { type: "button", class: "leave", "aria-label": "Leave the tour", onclick: leave }, "✕")),
    said, make("div", { class: "buttons" }, ...buttons));
  if (moved && (hadFocus || document.activeElement === document.body)) buttons[0]?.focus({ preventScroll: true });
}

function leave() {
  keep({ open: false });
  box.hidden = true;
  entry.hidden = false;
  entry.focus();
  notice(latest);
}

ready.then((button) => button && offerTour(button));
