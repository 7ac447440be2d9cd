// The boxes in which people write: what they typed is kept until it was taken, and offered completions while they type.
import { EMOJI } from "/static/blocks.js";
import { el } from "/static/parts.js";
import { at, kept, state } from "/static/wire.js";

const TOKEN = /(^|\s)([@#:])([\w.+-]*)$/;

/** What may complete the text before the cursor: `[{insert, label, hint, act}]`, and how much of the text it replaces. */
function completions(before, globals) {
  const { world } = state;
  if (/^\/\S*$/.test(before)) {
    const commands = world.commands.filter((c) => c.command.startsWith(before)).map((c) => ({ insert: `${c.command} `, label: c.command, hint: c.description ?? "" }));
    const shortcuts = before.length === 1 ? globals().map((s) => ({ label: `⚡ ${s.label}`, hint: s.hint, act: s.act })) : [];
    return { replace: before.length, found: [...commands, ...shortcuts] };
  }
  const [, , sign, typed] = TOKEN.exec(before) ?? [];
  const fits = (name) => name.toLowerCase().startsWith(typed.toLowerCase());
  const replace = typed === undefined ? 0 : typed.length + 1;
  if (sign === "@") {
    const people = world.people.filter((p) => ["member", "guest"].includes(p.kind)).map((p) => ({ insert: `@${p.name} `, label: `@${p.name}`, hint: p.real_name, name: p.name }));
    const app = { insert: `@${world.app.name} `, label: `@${world.app.name}`, hint: "the app", name: world.app.name };
    return { replace, found: [app, ...people].filter((p) => fits(p.name)) };
  }
  if (sign === "#") return { replace, found: at.channels().filter((c) => fits(c.name)).map((c) => ({ insert: `#${c.name} `, label: `#${c.name}`, hint: "" })) };
  if (sign === ":" && typed.length > 1) return { replace, found: Object.entries(EMOJI).filter(([name]) => fits(name)).map(([name, emoji]) => ({ insert: `:${name}: `, label: `${emoji} :${name}:`, hint: "" })) };
  return { replace: 0, found: [] };
}

/** A form with a text box. `place` names where it writes to, so that each place keeps its own draft; `send` returns whether it was taken. */
export class Composer {
  constructor(form, { place, send, globals = () => [] }) {
    Object.assign(this, { form, place, deliver: send, globals, chosen: -1, found: [] });
    this.area = form.querySelector("textarea");
    this.list = form.querySelector("[role=listbox]");
    this.hint = form.querySelector(".usage");
    form.addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
    this.area.addEventListener("input", () => this.typed());
    this.area.addEventListener("keydown", (event) => this.key(event));
    this.area.addEventListener("blur", () => this.offer([]));
  }

  typed() {
    kept.set(this.draft, this.area.value);
    this.fit();
    const { replace, found } = completions(this.area.value.slice(0, this.area.selectionStart), this.globals);
    this.replace = replace;
    this.offer(found);
    this.showUsage();
  }

  get draft() { return `draft ${state.world.team.id} ${this.place()}`; }

  fit() {
    this.area.style.height = "auto";
    this.area.style.height = `${this.area.scrollHeight}px`;
    this.form.classList.toggle("ready", Boolean(this.area.value.trim()));
  }

  showUsage() {
    const command = state.world.commands.find((c) => this.area.value.startsWith(`${c.command} `));
    this.hint.hidden = !command;
    this.hint.replaceChildren(...(command ? [el("b", {}, command.command), ` ${command.usage_hint ?? ""}`] : []));
  }

  /** Put back what was typed here and not taken yet. */
  open() { this.fill(kept.get(this.draft) ?? ""); }

  fill(text) {
    this.area.value = text;
    this.typed();
    this.offer([]);
  }

  async send() {
    const [text, draft] = [this.area.value, this.draft];
    if (!text.trim()) return;
    this.fill("");
    const taken = await this.deliver(text);
    if (taken) return;
    kept.set(draft, text);
    if (draft === this.draft && !this.area.value) { this.fill(text); this.area.focus(); }
  }

  // --- completions ---

  offer(found) {
    this.found = found;
    this.list.hidden = !found.length;
    this.list.replaceChildren(...found.map((one, index) => el("div", { role: "option", id: `${this.form.id}-${index}`, onmousedown: (event) => { event.preventDefault(); this.take(index); } },
      el("b", {}, one.label), el("small", {}, one.hint))));
    const exact = found.some((one) => one.insert?.trim() === this.area.value);
    this.choose(found.length && !exact ? 0 : -1);
  }

  choose(index) {
    this.chosen = index;
    [...this.list.children].forEach((node, at) => node.setAttribute("aria-selected", String(at === index)));
    if (index < 0) this.area.removeAttribute("aria-activedescendant");
    else { this.area.setAttribute("aria-activedescendant", `${this.form.id}-${index}`); this.list.children[index].scrollIntoView({ block: "nearest" }); }
  }

  take(index) {
    const one = this.found[index];
    const [end, value] = [this.area.selectionStart, this.area.value];
    const start = end - this.replace;
    this.area.value = value.slice(0, start) + (one.insert ?? "") + value.slice(end);
    this.area.selectionStart = this.area.selectionEnd = start + (one.insert ?? "").length;
    this.area.focus();
    this.typed();
    this.offer([]);
    one.act?.();
  }

  /** Write this at the cursor, as if it were typed. */
  insert(text) {
    const from = this.area.selectionStart;
    this.area.setRangeText(text, from, this.area.selectionEnd, "end");
    this.area.focus();
    this.typed();
  }

  key(event) {
    const open = this.found.length > 0;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (open && step) { event.preventDefault(); this.choose((this.chosen + step + this.found.length) % this.found.length); return; }
    if (open && event.key === "Escape") { event.preventDefault(); this.offer([]); return; }
    if (open && this.chosen >= 0 && (event.key === "Enter" || event.key === "Tab")) { event.preventDefault(); this.take(this.chosen); return; }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); this.send(); }
  }
}

