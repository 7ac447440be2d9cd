// The stage, which the demo alone has: weather at the vendors, a clock that moves, a bot that can be killed, and a
// ledger of how often phones rang. It stands by itself beside the page.

const WEATHERS = { works: "works", 503: "answers 503", lost: "loses the answer", login: "refuses the login", slow: "slow: eight seconds", away: "away" };
const PLACES = { monday: "Next Monday 8:00", tomorrow: "Tomorrow 9:00", hour: "An hour on", now: "Back to now" };
const BOT = { starting: "starts…", running: "runs", killed: "was killed", ended: "has ended: see the terminal" };

export function make(tag, given = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "hidden" || name === "disabled") node[name] = value;
    else if (value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Who looks at the page, and from where. */
export const me = () => new URLSearchParams(location.search).get("me") ?? "U0CLEO";

export async function read(path, given = {}) {
  const answer = await fetch(`/page/${path}?${new URLSearchParams({ me: me(), ...given })}`);
  return answer.json();
}

/** Ask for something, and return the sentence that says why not, if it did not happen. */
export async function act(path, body) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ me: me(), ...body }) };
  try {
    const answer = await (await fetch(`/page/${path}`, options)).json();
    return answer.ok ? "" : answer.error;
  } catch {
    return "The demo does not answer. Start it again in its terminal.";
  }
}

export const times = (n) => (n === 1 ? "once" : n === 2 ? "twice" : `${n} times`);
export const rang = ({ text, phones, times: n }) => `“${text}” rang ${times(n)}, on ${phones} ${phones === 1 ? "phone" : "phones"}.`;

// --- the parts -------------------------------------------------------------------------------------------------------

const parts = {};

function mount() {
  const select = ({ vendor, title }) => make("label", {}, make("span", {}, title),
    make("select", { "data-weather": vendor, onchange: (event) => tell("weather", { vendor, kind: event.target.value }) },
      ...Object.entries(WEATHERS).map(([kind, said]) => make("option", { value: kind }, said))));
  parts.rows = make("div", { class: "rows" });
  parts.select = select;
  parts.time = make("b", { "data-testid": "clock" });
  parts.bot = make("b", { "data-testid": "bot" });
  parts.kill = make("button", { type: "button", class: "small danger", "data-testid": "kill", onclick: () => tell("bot", { do: "kill" }) }, "Kill the bot");
  parts.start = make("button", { type: "button", class: "small", "data-testid": "start", onclick: () => tell("bot", { do: "start" }) }, "Start it again");
  parts.aloud = make("p", { class: "aloud", role: "status", "data-testid": "ledger" });
  parts.older = make("ul", { class: "older", "aria-label": "Earlier" });
  parts.wrong = make("p", { class: "wrong", role: "alert", hidden: true });
  parts.tour = make("button", { type: "button", class: "small", "data-testid": "take-tour" }, "Take the tour");
  document.querySelector("#panel").before(make("section", { id: "weather", "aria-label": "Weather, clock and bot", tabindex: "0" },
    make("div", { class: "ledger" }, make("h3", {}, "Ledger of the vendors"), parts.aloud, parts.older),
    make("h3", {}, "The bot ", parts.bot),
    make("div", { class: "buttons" }, parts.kill, parts.start, parts.tour),
    parts.wrong,
    make("h3", {}, "Weather at the vendors"), parts.rows,
    make("h3", {}, "The bot’s clock: ", parts.time),
    make("div", { class: "buttons" }, ...Object.entries(PLACES).map(([to, said]) => make("button", { type: "button", class: "small", "data-clock": to, onclick: () => tell("clock", { to }) }, said))),
    make("p", { class: "hint" }, "Ahead, it is as if this machine had slept until then: what came due long before is held, not sent late. Back, what has happened stays, and what waits for Monday waits again.")));
}

async function tell(path, body) {
  const wrong = await act(path, body);
  parts.wrong.textContent = wrong;
  parts.wrong.hidden = !wrong;
  await refresh();
}

let stage = null;

function draw() {
  if (!parts.rows.children.length) parts.rows.append(...stage.weather.map(parts.select));
  for (const { vendor, kind } of stage.weather) {
    const box = parts.rows.querySelector(`[data-weather="${vendor}"]`);
    box.value = kind;
    box.classList.toggle("bad", kind !== "works");
  }
  const { state, pid } = stage.bot;
  parts.bot.textContent = `${BOT[state]}${pid ? `, process ${pid}` : ""}`;
  parts.bot.className = pid ? "" : "bad";
  parts.kill.disabled = !pid;
  parts.start.disabled = Boolean(pid);
  const [latest, ...others] = stage.ledger;
  say(parts.aloud, latest ? rang(latest) : "No phone has rung.");
  parts.aloud.classList.toggle("bad", Boolean(latest && latest.times > 1));
  parts.older.replaceChildren(...others.slice(0, 4).map((told) => make("li", { class: told.times > 1 ? "bad" : "" }, rang(told))));
  tick();
}

/** Change a text only when it differs: what did not change is not read aloud again. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function tick() {
  if (!stage) return;
  const at = new Date(Date.now() + stage.clock.ahead * 1000 + stage.drift);
  const format = { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: zone };
  say(parts.time, new Intl.DateTimeFormat("en-GB", format).format(at));
  parts.time.className = stage.clock.ahead ? "moved" : "";
}

// --- in step with the demo -------------------------------------------------------------------------------------------

let zone = "UTC";
let known = "";
const watchers = [];

/** Call this after each change of the stage or of the workspace. */
export function watch(watcher) {
  watchers.push(watcher);
  watcher(stage);
}

async function refresh() {
  const [answer, who] = [await read("stage").catch(() => null), me()];
  if (!answer?.stage) return false;
  if (known !== who) {
    known = who;
    zone = (await read("state")).people?.find((person) => person.id === who)?.tz ?? "UTC";
  }
  stage = answer.stage;
  stage.drift = stage.clock.at * 1000 - stage.clock.ahead * 1000 - Date.now();
  draw();
  watchers.forEach((watcher) => watcher(stage));
  return true;
}

let soon = 0;
function changed() {
  clearTimeout(soon);
  soon = setTimeout(refresh, 120);
}

async function begin() {
  const { stage: there } = await read("stage");
  if (!there) return null; // this sandbox has no bot of its own
  mount();
  await refresh();
  const stream = new EventSource("/page/events?me=");
  for (const kind of ["stage", "vendors", "connected", "message", "changed", "open"]) stream.addEventListener(kind, changed);
  setInterval(tick, 1000);
  document.querySelector("#who").addEventListener("change", () => setTimeout(changed, 0));
  return parts.tour;
}

/** The button that offers the tour, once there is a stage; null where there is none. */
export const ready = begin();
