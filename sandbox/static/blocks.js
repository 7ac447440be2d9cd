// Draws Block Kit. Data never becomes markup: every piece is a text node or an element made here.
import { el, iconButton, openMenu } from "/static/parts.js";
import { shown as inZone } from "/static/wire.js";

export const EMOJI = {
  white_check_mark: "✅", "+1": "👍", thumbsup: "👍", x: "❌", "-1": "👎", thumbsdown: "👎", eyes: "👀", bell: "🔔",
  alarm_clock: "⏰", tada: "🎉", warning: "⚠️", hourglass: "⌛", wave: "👋",
};

/** One name for each sign, to choose from. */
export const SIGNS = [...new Map(Object.entries(EMOJI).map(([name, sign]) => [sign, name]).reverse())].reverse().map(([sign, name]) => ({ label: sign, hint: name }));

const decode = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
const warn = (what) => el("div", { class: "unknown", role: "alert", "data-testid": "unknown" }, `This page cannot show: ${what}`);

// --- mrkdwn --------------------------------------------------------------------------------------------------------

const RULES = [
  [/```([\s\S]+?)```/, (m) => el("pre", {}, decode(m[1]))],
  [/`([^`\n]+)`/, (m) => el("code", {}, decode(m[1]))],
  [/<([^<>\n]+)>/, (m, at) => token(m[1], at)],
  [/(?<![\w*])\*(\S(?:[^*\n]*\S)?)\*(?![\w*])/, (m, at) => el("b", {}, ...mrkdwn(m[1], at))],
  [/(?<![\w_])_(\S(?:[^_\n]*\S)?)_(?![\w_])/, (m, at) => el("i", {}, ...mrkdwn(m[1], at))],
  [/(?<![\w~])~(\S(?:[^~\n]*\S)?)~(?![\w~])/, (m, at) => el("s", {}, ...mrkdwn(m[1], at))],
  [/:([a-z0-9_+-]+):/, (m) => document.createTextNode(EMOJI[m[1]] ?? m[0])],
];

export function mrkdwn(text, at) {
  let first = null;
  for (const [pattern, draw] of RULES) {
    const match = pattern.exec(text);
    if (match && (!first || match.index < first.match.index)) first = { match, draw };
  }
  if (!first) return [document.createTextNode(decode(text))];
  const { match, draw } = first;
  return [
    document.createTextNode(decode(text.slice(0, match.index))),
    draw(match, at),
    ...mrkdwn(text.slice(match.index + match[0].length), at),
  ];
}

function token(inside, at) {
  const [target, label] = inside.split("|");
  const named = (text) => el("span", { class: "mention" }, text);
  if (target.startsWith("@")) return named(`@${at.person(target.slice(1)) ?? label ?? target.slice(1)}`);
  if (target.startsWith("#")) return named(`#${at.channel(target.slice(1)) ?? label ?? target.slice(1)}`);
  if (target.startsWith("!subteam^")) return named(`@${at.group(target.slice(9)) ?? label ?? target.slice(9)}`);
  if (target.startsWith("!date^")) return document.createTextNode(date(target, label));
  if (target.startsWith("!")) return named(`@${target.slice(1)}`);
  if (/^(https?|mailto|tel):/.test(target)) {
    return el("a", { href: decode(target), target: "_blank", rel: "noreferrer" }, decode(label ?? target));
  }
  return document.createTextNode(decode(`<${inside}>`));
}

const DATES = {
  date_num: { year: "numeric", month: "2-digit", day: "2-digit" },
  date_short: { day: "numeric", month: "short", year: "numeric" },
  date: { day: "numeric", month: "long", year: "numeric" },
  date_long: { weekday: "long", day: "numeric", month: "long", year: "numeric" },
  time: { hour: "2-digit", minute: "2-digit" },
  time_secs: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
};

function date(target, fallback) {
  const [, seconds, format] = target.split("^");
  const when = new Date(Number(seconds) * 1000);
  if (Number.isNaN(when.getTime())) return fallback ?? "";
  return (format ?? "").replace(/\{(\w+)\}/g, (all, name) => {
    const options = DATES[name.replace(/_pretty$/, "")];
    return options ? inZone(when, options) : all;
  });
}

export function text(object, at) {
  if (!object) return el("span");
  if (object.type === "plain_text") return el("span", { class: "plain" }, object.text);
  return el("span", { class: "said" }, ...mrkdwn(object.text, at));
}

// --- blocks ----------------------------------------------------------------------------------------------------------

const BLOCKS = {
  header: (block, at) => el("h3", { class: "header" }, text(block.text, at)),
  divider: () => el("hr"),
  section: (block, at) => el("div", { class: "section" },
    el("div", { class: "said" },
      block.text ? text(block.text, at) : null,
      block.fields ? el("div", { class: "fields" }, ...block.fields.map((field) => el("div", {}, text(field, at)))) : null),
    block.accessory ? element(block.accessory, block, at) : null),
  context: (block, at) => el("div", { class: "context" },
    ...block.elements.map((part) => part.type === "image" ? image(part) : text(part, at))),
  actions: (block, at) => el("div", { class: "actions" }, ...block.elements.map((part) => element(part, block, at))),
  image: (block) => image(block),
  input: (block, at) => input(block, at),
  rich_text: (block, at) => el("div", {}, ...block.elements.map((part) => rich(part, at))),
  table: (block, at) => el("table", { class: "table" }, ...block.rows.map((row) => el("tr", {}, ...row.map((cell) =>
    el("td", {}, cell.type === "rich_text" ? BLOCKS.rich_text(cell, at) : String(cell.text ?? "")))))),
  data_visualization: (block) => chart(block),
  alert: (block, at) => el("div", { class: "banner", role: "alert" }, text(block.text, at)),
};

const image = (part) => el("img", { src: part.image_url, alt: part.alt_text ?? "", width: 64 });

// A pie, as bars: a table keeps the numbers readable to everybody.
function chart(block) {
  const segments = block.chart?.segments ?? [];
  const whole = segments.reduce((sum, one) => sum + one.value, 0);
  return el("table", { class: "chart", "data-testid": "chart" },
    el("caption", {}, block.title),
    ...segments.map((one) => el("tr", {},
      el("th", { scope: "row" }, one.label),
      el("td", {}, el("meter", { max: whole, value: one.value, "aria-hidden": "true" })),
      el("td", {}, String(one.value)))));
}

export function draw(blocks, at) {
  return blocks.map((block) => {
    const node = (BLOCKS[block.type] ?? (() => warn(`block “${block.type}”`)))(block, at);
    node.dataset.blockId = block.block_id ?? "";
    return node;
  });
}

function rich(part, at) {
  const inside = () => part.elements.map((piece) => richPiece(piece, at));
  switch (part.type) {
    case "rich_text_section": return el("p", { class: "plain" }, ...inside());
    case "rich_text_preformatted": return el("pre", {}, ...inside());
    case "rich_text_quote": return el("blockquote", {}, ...inside());
    case "rich_text_list":
      return el(part.style === "ordered" ? "ol" : "ul", {}, ...part.elements.map((item) => el("li", {}, rich(item, at))));
    default: return warn(`rich text “${part.type}”`);
  }
}

function richPiece(piece, at) {
  if (piece.type === "text") {
    const tag = piece.style?.code ? "code" : piece.style?.bold ? "b" : piece.style?.italic ? "i" : piece.style?.strike ? "s" : "span";
    return el(tag, {}, piece.text);
  }
  if (piece.type === "link") return el("a", { href: piece.url, target: "_blank", rel: "noreferrer" }, piece.text ?? piece.url);
  if (piece.type === "emoji") return document.createTextNode(EMOJI[piece.name] ?? `:${piece.name}:`);
  if (piece.type === "user") return token(`@${piece.user_id}`, at);
  if (piece.type === "channel") return token(`#${piece.channel_id}`, at);
  return warn(`rich text “${piece.type}”`);
}

// --- elements --------------------------------------------------------------------------------------------------------

const choices = (spec, at) => {
  if (spec.type.includes("users")) return at.people().map((p) => ({ text: { type: "plain_text", text: p.real_name }, value: p.id }));
  if (spec.type.includes("conversations") || spec.type.includes("channels"))
    return at.channels().map((c) => ({ text: { type: "plain_text", text: `#${c.name}` }, value: c.id }));
  return [...(spec.options ?? []), ...(spec.option_groups ?? []).flatMap((group) => group.options)];
};
const plainOf = (option) => option.text.text;

function select(spec, at, changed) {
  const options = choices(spec, at);
  const many = spec.type.startsWith("multi_");
  const chosen = new Set((spec.initial_options ?? (spec.initial_option ? [spec.initial_option] : [])).map((o) => o.value));
  for (const id of [...(spec.initial_users ?? []), spec.initial_user, spec.initial_channel, spec.initial_conversation]) if (id) chosen.add(id);
  const empty = many ? [] : [el("option", { value: "" }, spec.placeholder?.text ?? at.words.choose)];
  const node = el("select", { multiple: many, "aria-label": spec.placeholder?.text ?? at.words.choose, onchange: () => changed?.() }, ...empty,
    ...options.map((o) => el("option", { value: o.value, selected: chosen.has(o.value) }, plainOf(o))));
  node.read = () => {
    const values = [...node.selectedOptions].map((o) => o.value).filter(Boolean);
    const picked = options.filter((o) => values.includes(o.value));
    if (spec.type === "users_select") return { type: spec.type, selected_user: values[0] ?? null };
    if (spec.type === "multi_users_select") return { type: spec.type, selected_users: values };
    if (spec.type === "channels_select") return { type: spec.type, selected_channel: values[0] ?? null };
    if (spec.type === "conversations_select") return { type: spec.type, selected_conversation: values[0] ?? null };
    return many ? { type: spec.type, selected_options: picked } : { type: spec.type, selected_option: picked[0] ?? null };
  };
  node.keep = () => [...node.selectedOptions].map((o) => o.value);
  node.restore = (kept) => { for (const option of node.options) option.selected = kept.includes(option.value); };
  return node;
}

function typeahead(spec, at, changed, suggest) {
  let chosen = spec.initial_option ?? null;
  let [options, active, asked] = [[], -1, 0];
  const id = newId();
  const menu = el("ul", { class: "options", role: "listbox", id, "aria-label": spec.placeholder?.text ?? at.words.search, hidden: true });
  const node = el("input", { type: "text", role: "combobox", autocomplete: "off", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": id,
    placeholder: spec.placeholder?.text ?? at.words.search, value: chosen ? plainOf(chosen) : null });
  const open = (yes) => { menu.hidden = !yes; node.setAttribute("aria-expanded", String(yes)); if (!yes) mark(-1); };
  const mark = (index) => {
    active = index;
    [...menu.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === index)));
    if (index < 0) node.removeAttribute("aria-activedescendant");
    else { node.setAttribute("aria-activedescendant", menu.children[index].id); menu.children[index].scrollIntoView({ block: "nearest" }); }
  };
  const pick = (option) => { chosen = option; node.value = plainOf(option); open(false); changed?.(); };
  const show = async () => {
    const turn = ++asked;
    const found = await suggest(node.value === (chosen && plainOf(chosen)) ? "" : node.value);
    if (turn !== asked || document.activeElement !== node) return; // what was typed since then asks anew
    options = found;
    menu.replaceChildren(...options.map((o, index) => el("li", { role: "option", id: `${id}-${index}`, "aria-selected": "false", "data-value": o.value, onmousedown: (event) => { event.preventDefault(); pick(o); } }, plainOf(o))));
    if (!options.length) menu.append(el("li", { role: "option", "aria-disabled": "true", class: "none" }, at.words.nothing));
    open(true);
    if (options.length && node.value) mark(0);
  };
  const key = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) { event.preventDefault(); if (menu.hidden) show(); else if (options.length) mark((active + step + options.length) % options.length); }
    else if (menu.hidden) return;
    else if (event.key === "Enter" && active >= 0) { event.preventDefault(); pick(options[active]); }
    else if (event.key === "Escape") { event.preventDefault(); open(false); }
  };
  node.addEventListener("click", () => { if (menu.hidden) show(); });
  node.addEventListener("input", () => { chosen = null; show(); });
  node.addEventListener("keydown", key);
  node.addEventListener("blur", () => open(false));
  node.menu = menu;
  node.read = () => ({ type: spec.type, selected_option: chosen });
  node.keep = () => ({ chosen, text: node.value });
  node.restore = (kept) => { chosen = kept.chosen; node.value = kept.text; };
  return node;
}

function boxes(spec, at, changed) {
  const kind = spec.type === "checkboxes" ? "checkbox" : "radio";
  const start = new Set([...(spec.initial_options ?? []), ...(spec.initial_option ? [spec.initial_option] : [])].map((o) => o.value));
  const group = newId();
  const inputs = spec.options.map((o) => el("input", { type: kind, name: group, value: o.value, checked: start.has(o.value), onchange: () => changed?.() }));
  const node = el("div", { role: kind === "checkbox" ? "group" : "radiogroup", class: "choices" }, ...spec.options.map((o, i) =>
    el("label", {}, inputs[i], " ", text(o.text, at), o.description ? el("small", {}, " ", text(o.description, at)) : null)));
  node.read = () => {
    const picked = spec.options.filter((_, i) => inputs[i].checked);
    return kind === "checkbox" ? { type: spec.type, selected_options: picked } : { type: spec.type, selected_option: picked[0] ?? null };
  };
  node.keep = () => inputs.filter((one) => one.checked).map((one) => one.value);
  node.restore = (kept) => inputs.forEach((one) => { one.checked = kept.includes(one.value); });
  return node;
}

const newId = () => `f${Math.random().toString(36).slice(2)}`;

/** What somebody typed outlives that the form is drawn anew. */
function keepsValue(node) {
  node.keep = () => node.value;
  node.restore = (kept) => { node.value = kept; };
  return node;
}

const TYPES = { number_input: "number", email_text_input: "email", url_text_input: "url", plain_text_input: "text" };

function written(spec) {
  const tag = spec.multiline ? "textarea" : "input";
  const node = el(tag, {
    type: spec.multiline ? null : TYPES[spec.type], maxlength: spec.max_length, placeholder: spec.placeholder?.text,
    value: spec.multiline ? null : spec.initial_value,
  });
  if (spec.multiline) node.value = spec.initial_value ?? "";
  node.read = () => ({ type: spec.type, value: node.value === "" ? null : node.value });
  return keepsValue(node);
}

function moment(spec) {
  const kinds = { datepicker: "date", timepicker: "time", datetimepicker: "datetime-local" };
  const node = el("input", { type: kinds[spec.type], value: spec.initial_date ?? spec.initial_time });
  if (spec.initial_date_time) node.value = new Date(spec.initial_date_time * 1000 - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 16);
  node.read = () => {
    if (spec.type === "datepicker") return { type: spec.type, selected_date: node.value || null };
    if (spec.type === "timepicker") return { type: spec.type, selected_time: node.value || null };
    return { type: spec.type, selected_date_time: node.value ? Math.floor(new Date(node.value).getTime() / 1000) : null };
  };
  return keepsValue(node);
}

export function field(spec, at, changed, suggest = async () => []) {
  if (spec.type === "external_select") return typeahead(spec, at, changed, suggest);
  if (spec.type.endsWith("select")) return select(spec, at, changed);
  if (spec.type === "checkboxes" || spec.type === "radio_buttons") return boxes(spec, at, changed);
  if (spec.type in TYPES) return written(spec);
  if (spec.type.endsWith("picker")) {
    const node = moment(spec);
    if (changed) node.addEventListener("change", changed);
    return node;
  }
  const unknown = warn(`element “${spec.type}”`);
  unknown.read = () => ({ type: spec.type });
  return unknown;
}

function element(spec, block, at) {
  if (spec.type === "button") return button(spec, block, at);
  if (spec.type === "image") return image(spec);
  if (spec.type === "overflow") return overflow(spec, block, at);
  const node = field(spec, at, () => at.act(block, spec, node.read()), (typed) => at.suggest(block, spec, typed));
  node.dataset.actionId = spec.action_id;
  return node.menu ? el("span", { class: "field" }, node, node.menu) : node;
}

function overflow(spec, block, at) {
  const choose = async (option) => {
    if (spec.confirm && !(await at.confirm(spec.confirm))) return;
    await at.act(block, spec, { type: "overflow", selected_option: option });
  };
  const entries = spec.options.map((o) => ({ label: plainOf(o), data: { "data-value": o.value }, act: () => choose(o) }));
  return iconButton("more", "More", (event) => openMenu(event.currentTarget, entries, { label: "More", testid: "overflow-menu" }), { class: "icon-button overflow", "aria-haspopup": "menu", "data-action-id": spec.action_id });
}

function button(spec, block, at) {
  const press = async () => {
    if (spec.confirm && !(await at.confirm(spec.confirm))) return;
    await at.act(block, spec, { type: "button", value: spec.value, text: spec.text });
    if (spec.url) window.open(spec.url, "_blank", "noreferrer");
  };
  return el("button", {
    type: "button", class: `btn ${spec.style ?? ""}`, onclick: press, "data-action-id": spec.action_id, "aria-label": spec.accessibility_label,
  }, spec.text.text);
}

function input(block, at) {
  const tell = block.dispatch_action ? () => at.act(block, block.element, node.read()) : null;
  const node = field(block.element, at, tell, (typed) => at.suggest(block, block.element, typed));
  if (tell && block.element.dispatch_action_config?.trigger_actions_on?.includes("on_character_entered")) {
    let soon;
    node.addEventListener("input", () => { clearTimeout(soon); soon = setTimeout(tell, 200); });
  }
  const id = node.id = newId();
  const several = ["group", "radiogroup"].includes(node.getAttribute("role"));
  const hint = block.hint ? el("p", { class: "hint", id: `${id}-hint` }, block.hint.text) : null;
  node.removeAttribute("aria-label");
  if (several) node.setAttribute("aria-labelledby", `${id}-label`);
  else if (!block.optional) node.setAttribute("aria-required", "true");
  if (hint) node.setAttribute("aria-describedby", hint.id);
  const box = el("div", { class: "field" },
    el(several ? "span" : "label", { class: "label", for: several ? null : id, id: `${id}-label` }, block.label.text, block.optional ? el("small", {}, ` ${at.words.optional}`) : null),
    node, node.menu ?? null, hint);
  box.read = () => [block.block_id, block.element.action_id, node.read()];
  box.key = `${block.block_id}/${block.element.action_id}`;
  box.control = node;
  box.complain = (text) => {
    box.classList.add("wrong");
    (several ? node.querySelector("input") : node).setAttribute("aria-invalid", "true");
    (several ? node.querySelector("input") : node).setAttribute("aria-describedby", [`${id}-error`, hint?.id].filter(Boolean).join(" "));
    box.append(el("p", { class: "error", id: `${id}-error`, role: "alert", "data-testid": "error" }, text));
  };
  return box;
}
