// What the page knows of the workspace, and how it speaks with it.

const query = new URLSearchParams(location.search);

export const state = {
  me: query.get("me") ?? "U0CLEO",
  channel: query.get("channel") ?? "C0CAMPAIGNS",
  tab: "messages",
  thread: null,
  world: null,
  dead: false, // the bot did not take the last thing that was brought to it
};

/** What to do with a sentence about something that did not work. The frame sets it. */
export const problems = { show: (text) => console.warn(text) };

export async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ me: state.me, ...body }) } : {};
  let answer;
  try {
    answer = await (await fetch(`/page/${path}`, options)).json();
  } catch {
    answer = { ok: false, error: "The sandbox does not answer. What you typed is kept." };
  }
  if (!answer.ok) problems.show(answer.error);
  return answer;
}

export const read = (path, params = {}) => ask(`${path}?${new URLSearchParams({ me: state.me, ...params })}`);

// --- kept in this browser, where it keeps anything ---------------------------------------------------------------------

export const kept = {
  get(key) { try { return localStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, value); } catch { /* this browser keeps nothing */ } },
};

// --- names and times, for the one who looks --------------------------------------------------------------------------

const OWN_WORDS = {
  en: { required: "Please complete this required field.", optional: "(optional)", close: "Close", choose: "Choose…", search: "Type to search…", nothing: "No results" },
  fr: { required: "Veuillez remplir ce champ obligatoire.", optional: "(facultatif)", close: "Fermer", choose: "Choisir…", search: "Tapez pour chercher…", nothing: "Aucun résultat" },
  es: { required: "Completa este campo obligatorio.", optional: "(opcional)", close: "Cerrar", choose: "Elegir…", search: "Escribe para buscar…", nothing: "Sin resultados" },
};

export const person = (id) => state.world.people.find((p) => p.id === id);
export const me = () => person(state.me);

export const at = {
  get tz() { return me()?.tz ?? "UTC"; },
  get locale() { return me()?.locale ?? "en-GB"; },
  get language() { return at.locale.slice(0, 2); },
  get words() { return OWN_WORDS[at.language] ?? OWN_WORDS.en; },
  people: () => state.world.people,
  channels: () => state.world.channels.filter((c) => c.kind !== "im"),
  person: (id) => person(id)?.real_name ?? (id === state.world.app.user ? state.world.app.name : undefined),
  channel: (id) => state.world.channels.find((c) => c.id === id)?.name,
  group: (id) => state.world.groups.find((g) => g.id === id)?.handle,
};

const formats = new Map(); // making one takes longer than using it a hundred times

export function shown(date, options, locale = at.locale) {
  const key = `${locale} ${at.tz} ${JSON.stringify(options)}`;
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(locale, { timeZone: at.tz, ...options }));
  return formats.get(key).format(date);
}

export const moment = (ts) => new Date(Number(ts) * 1000);
export const clock = (ts) => shown(moment(ts), { hour: "2-digit", minute: "2-digit" });
export const dayOf = (ts) => shown(moment(ts), { year: "numeric", month: "2-digit", day: "2-digit" }, "en-CA");
export const now = () => Date.now() + (state.world?.ahead ?? 0);

/** "Today", "Yesterday", or the date. */
export function dayName(ts) {
  const away = Math.round((Date.parse(dayOf(ts)) - Date.parse(dayOf(now() / 1000))) / 86_400_000);
  if (away === 0 || away === -1) {
    const word = new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(away, "day");
    return word[0].toUpperCase() + word.slice(1);
  }
  return shown(moment(ts), { weekday: "long", day: "numeric", month: "long" }, "en-GB");
}
