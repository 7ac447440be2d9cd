// Forms and questions, as dialogs of the browser: it keeps the focus inside, and what lies under them inert.
import { draw } from "/static/blocks.js";
import { $, el, icon, locate, lower, raise } from "/static/parts.js";
import { ask, at } from "/static/wire.js";

function dialog(close, attributes, ...children) {
  const node = el("dialog", { "aria-modal": "true", ...attributes }, ...children);
  node.addEventListener("cancel", (event) => { event.preventDefault(); close(); });
  raise(node, close);
  return node;
}

function dismiss(node) {
  node.close();
  node.remove();
  lower(node);
}

/** Ask whether it is meant. */
export function confirmed(spec) {
  return new Promise((done) => {
    const finish = (yes) => { dismiss(node); done(yes); };
    const node = dialog(() => finish(false), { class: "modal small", role: "alertdialog", "data-testid": "confirm", lang: at.language, "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text" },
      el("header", {}, el("h1", { id: "confirm-title" }, spec.title.text)),
      el("div", { class: "blocks plain", id: "confirm-text" }, spec.text.text),
      el("footer", {},
        el("button", { type: "button", class: "btn", onclick: () => finish(false) }, spec.deny.text),
        el("button", { type: "button", class: `btn ${spec.style ?? "primary"}`, "data-testid": "confirm-yes", onclick: () => finish(true) }, spec.confirm.text)));
    $("#modals").append(node);
    node.showModal();
    node.querySelector("[data-testid=confirm-yes]").focus();
  });
}

/** The forms that lie open, the topmost last. Only that one is drawn. */
export class Forms {
  constructor(around) {
    this.around = around;
    this.stack = [];
    this.typed = new Map();
    this.errors = {};
    this.node = null;
  }

  start(views) {
    this.typed.clear();
    this.stack = views;
    this.draw();
  }

  came(view) {
    const known = this.stack.findIndex((old) => old.id === view.id);
    if (known >= 0) { this.remember(); this.stack[known] = view; } else { this.errors = {}; this.stack.push(view); }
    this.draw();
  }

  closed(id, all) {
    this.stack = all ? [] : this.stack.filter((view) => view.id !== id);
    this.errors = {};
    this.draw();
  }

  fields() { return this.node ? [...this.node.querySelectorAll(".field")] : []; }

  remember() {
    for (const box of this.fields()) if (box.control.keep) this.typed.set(box.key, box.control.keep());
  }

  values() {
    const found = {};
    for (const box of this.fields()) {
      const [block, action, value] = box.read();
      (found[block] ??= {})[action] = value;
    }
    return found;
  }

  // Where somebody types or what they pressed, so that a form that is drawn again does not take the focus away.
  cursor() {
    const focused = document.activeElement, box = focused?.closest?.("dialog .field");
    const again = box ? this.sameField(box, focused) : this.node?.contains(focused) ? locate(focused) : () => null;
    const { selectionStart, selectionEnd } = focused ?? {};
    return () => {
      const control = again();
      if (!control) return false;
      control.focus();
      if (box && selectionStart !== undefined && selectionStart !== null) control.setSelectionRange?.(selectionStart, selectionEnd);
      return true;
    };
  }

  sameField(box, focused) {
    const controls = "input, select, textarea";
    const nth = [...box.querySelectorAll(controls)].indexOf(focused);
    return () => this.fields().find((other) => other.key === box.key)?.querySelectorAll(controls)[nth];
  }

  draw(errors = null) {
    const view = this.stack.at(-1);
    if (!view) {
      this.typed.clear();
      if (this.node) { dismiss(this.node); this.node = null; }
      return;
    }
    if (errors) this.errors = errors;
    const back = this.cursor();
    const nodes = draw(view.blocks, this.around(() => ({ view_id: view.id, state: { values: this.values() } })));
    for (const node of nodes.filter((one) => one.control)) {
      if (this.typed.has(node.key)) node.control.restore?.(this.typed.get(node.key));
      if (this.errors[node.dataset.blockId]) node.complain(this.errors[node.dataset.blockId]);
    }
    this.fill(view, nodes);
    if (errors && Object.keys(errors).length) { (this.node.querySelector("[aria-invalid=true]") ?? this.node.querySelector(".banner"))?.focus(); return; }
    if (!back()) (this.node.querySelector("textarea, input, select") ?? this.node.querySelector("footer .btn:last-child")).focus();
  }

  fill(view, nodes) {
    const close = () => { const top = this.stack.at(-1); if (top) ask("close", { view_id: top.id }); };
    const opened = !this.node;
    const top = this.node?.querySelector(".blocks")?.scrollTop ?? 0;
    this.node ??= dialog(close, { class: "modal", "data-testid": "modal", "aria-labelledby": "form-title" });
    this.node.lang = at.language;
    const form = el("form", { novalidate: true },
      el("header", {}, el("h1", { id: "form-title" }, view.title.text), el("button", { type: "button", class: "icon-button", "aria-label": at.words.close, onclick: close }, icon("close"))),
      el("div", { class: "blocks", tabindex: "0", role: "group", "aria-labelledby": "form-title" },
        this.errors[""] ? el("p", { class: "banner", role: "alert", tabindex: "-1" }, this.errors[""]) : null, ...nodes),
      el("footer", {},
        el("button", { type: "button", class: "btn", onclick: close }, view.close?.text ?? at.words.close),
        view.submit ? el("button", { type: "submit", class: "btn primary", "data-testid": "submit" }, view.submit.text) : null));
    form.addEventListener("submit", (event) => { event.preventDefault(); this.submit(view, nodes); });
    this.node.replaceChildren(form);
    if (opened) { $("#modals").append(this.node); this.node.showModal(); }
    this.node.querySelector(".blocks").scrollTop = top;
  }

  async submit(view, nodes) {
    this.remember();
    const missing = {};
    for (const block of view.blocks.filter((b) => b.type === "input" && !b.optional)) {
      const value = nodes.find((node) => node.dataset.blockId === block.block_id).read()[2];
      if (Object.entries(value).every(([name, v]) => name === "type" || v === null || v?.length === 0)) missing[block.block_id] = at.words.required;
    }
    if (Object.keys(missing).length) { this.draw(missing); return; }
    const answer = await ask("submit", { view_id: view.id, state: { values: this.values() } });
    this.remember();
    if (answer.errors && Object.keys(answer.errors).length) this.draw(answer.errors);
  }
}
