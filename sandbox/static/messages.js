// Messages: how one looks, and a list of them that follows what comes in without pulling a reader away.
import { EMOJI, SIGNS, draw, mrkdwn } from "/static/blocks.js";
import { announce, el, focusOn, icon, iconButton, locate, openMenu } from "/static/parts.js";
import { ask, at, clock, dayName, dayOf, state } from "/static/wire.js";

const QUICK = ["white_check_mark", "+1", "x"];
const HUES = [212, 18, 152, 268, 338, 100, 190, 42];
const hue = (id) => HUES[[...(id ?? "?")].reduce((sum, char) => sum + char.charCodeAt(0), 0) % HUES.length];
const initials = (name) => name.split(" ").map((word) => word[0]).slice(0, 2).join("");

export function face(user, name, app) {
  return el("span", { class: `avatar ${app ? "of-app" : ""}`, "aria-hidden": "true", style: app ? null : `background:hsl(${hue(user)} 42% 38%)` }, app ? icon("bell") : initials(name));
}

const react = (message, name, on) => ask("react", { channel: message.channel, ts: message.ts, name, on });

/** What a message needs from the page: `around` for its blocks, `openThread`, `shortcuts` for its menu. */
export class Look {
  constructor(around, openThread, shortcuts) { Object.assign(this, { around, openThread, shortcuts }); }

  article(message, inThread) {
    const here = this.around(() => ({ channel: message.channel, ts: message.ts }));
    const time = clock(message.ts);
    const content = message.blocks.length
      ? el("div", { class: message.blocks.length > 1 && message.bot_id ? "card" : "blocks" }, ...draw(message.blocks, here))
      : el("div", { class: "said" }, ...mrkdwn(message.text, here));
    return el("article", {
      class: `message ${message.ephemeral ? "ephemeral" : ""}`, tabindex: "-1", lang: message.ephemeral ? at.language : null,
      "data-testid": message.ephemeral ? "ephemeral" : "message", "data-ts": message.ts, "aria-label": `${message.name}, ${time}: ${message.text}`,
    },
      face(message.user, message.name, message.bot_id),
      el("time", { class: "beside", "aria-hidden": "true" }, time),
      el("div", { class: "body" },
        message.ephemeral ? el("div", { class: "only-you", lang: "en" }, "👁 Only visible to you") : null,
        el("div", { class: "meta" }, el("b", {}, message.name), message.bot_id ? el("span", { class: "app" }, "APP") : null, el("time", {}, time)),
        content,
        message.edited ? el("small", { class: "edited" }, "(edited)") : null,
        message.reactions.length ? this.reactions(message) : null,
        message.reply_count && !inThread ? this.replies(message) : null));
  }

  reactions(message) {
    return el("div", { class: "reactions" }, ...message.reactions.map((r) => {
      const mine = r.users.includes(state.me);
      const who = r.users.map((u) => at.person(u) ?? u).join(", ");
      return el("button", { type: "button", class: `reaction ${mine ? "mine" : ""}`, "data-reaction": r.name, title: who, "aria-pressed": String(mine),
        "aria-label": `${r.name}, ${r.users.length}: ${who}`, onclick: () => react(message, r.name, !mine) }, `${EMOJI[r.name] ?? `:${r.name}:`} ${r.users.length}`);
    }));
  }

  replies(message) {
    const faces = (message.reply_users ?? []).slice(0, 3).map((id) => face(id, at.person(id) ?? "?", id === state.world.app.user));
    return el("button", { type: "button", class: "replies-link", "data-testid": "replies", onclick: () => this.openThread(message.ts) },
      ...faces, el("b", {}, `${message.reply_count} ${message.reply_count === 1 ? "reply" : "replies"}`),
      message.latest_reply ? el("small", {}, `Last reply ${dayName(message.latest_reply).toLowerCase()} at ${clock(message.latest_reply)}`) : null);
  }

  tools(message, inThread) {
    const pick = (event) => openMenu(event.currentTarget, SIGNS.map((sign) => ({ ...sign, data: { "data-react": sign.hint }, act: () => react(message, sign.hint, true) })),
      { label: "Reactions", grid: true, testid: "reaction-menu" });
    const more = (event) => openMenu(event.currentTarget, this.shortcuts(message), { label: "More actions", testid: "message-menu" });
    return el("div", { class: "tools", role: "group", "aria-label": "Actions" },
      ...QUICK.map((name) => el("button", { type: "button", class: "icon-button", "data-react": name, "aria-label": `React with ${name}`, onclick: () => react(message, name, true) }, EMOJI[name])),
      iconButton("smile", "Add a reaction", pick, { "aria-haspopup": "menu" }),
      inThread ? null : iconButton("reply", "Reply in thread", () => this.openThread(message.ts)),
      iconButton("more", "More actions", more, { "aria-haspopup": "menu", "data-testid": "more" }));
  }
}

const NEAR = 60; // pixels from the end within which somebody reads the end
const SOON = 800; // pixels from an edge at which what lies beyond is read
const MOST = 300; // rows that are kept; what nobody looks at any more is read again when somebody comes back
const GROUPED = 300; // seconds within which one person's messages stand under one name

/** A window on the messages of `box`, oldest first. `page({before | after})` reads what lies beyond: `{messages, more}`;
 * `reload` shows the newest; `beginning` makes what stands above the first; `read` hears which was read. */
export class MessageList {
  constructor(box, pill, look, { inThread = false, page = null, reload = null, beginning = () => [], read = () => {} } = {}) {
    Object.assign(this, { box, pill, look, inThread, page, reload, beginning, onread: read });
    Object.assign(this, { rows: new Map(), follow: true, more: { before: false, after: false }, waiting: 0, unread: null, top: 0 });
    this.feed = box.querySelector(".feed");
    box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    pill.addEventListener("click", async () => { await this.toEnd(); this.last()?.querySelector("article").focus(); });
    const watch = new ResizeObserver(() => { if (this.follow) this.stay(); });
    watch.observe(this.feed);
    watch.observe(box);
    for (const kind of ["pointerover", "focusin"]) this.feed.addEventListener(kind, (event) => this.offerTools(event.target));
    this.feed.addEventListener("keydown", (event) => this.walk(event));
  }

  // --- where one reads ---

  scrolled() {
    const away = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight;
    if (away < NEAR && !this.more.after) this.reached();
    else if (this.box.scrollTop < this.top - 1) this.follow = false; // only a reader moves up
    this.top = this.box.scrollTop;
    if (this.top < SOON) this.extend("before");
    if (away < SOON) this.extend("after");
  }

  stay() {
    this.box.scrollTop = this.box.scrollHeight;
    this.top = this.box.scrollTop;
  }

  async toEnd() {
    if (this.more.after) await this.reload();
    this.reached();
    this.stay();
  }

  reached() {
    this.follow = true;
    this.waiting = 0;
    this.pill.hidden = true;
    if (this.last()) this.onread(this.last().message.ts);
  }

  /** Change something, while what somebody reads stays where it is. */
  hold(change) {
    if (this.follow) { change(); this.stay(); return; }
    const edge = this.box.getBoundingClientRect().top;
    const anchor = [...this.feed.children].find((row) => row.getBoundingClientRect().bottom > edge);
    const before = anchor?.getBoundingClientRect().top;
    change();
    if (anchor?.isConnected) this.box.scrollTop += anchor.getBoundingClientRect().top - before;
    this.top = this.box.scrollTop;
  }

  async extend(side) {
    if (this.reading || !this.more[side]) return;
    this.reading = true;
    const [edge, shown] = [side === "before" ? this.feed.firstElementChild : this.last(), this.shownFor];
    const answer = await this.page({ [side]: edge.message.ts });
    this.reading = false;
    if (!answer.ok || shown !== this.shownFor || !edge.isConnected) return;
    this.more[side] = answer.more;
    this.hold(() => {
      edge[side](...answer.messages.filter((message) => !this.rows.has(message.ts)).map((message) => this.row(message)));
      this.trim(side === "before" ? "after" : "before");
      for (const row of this.feed.children) this.dress(row);
      this.drawBeginning();
    });
  }

  trim(side) {
    while (this.page && this.feed.children.length > MOST) {
      const row = side === "before" ? this.feed.firstElementChild : this.last();
      this.rows.delete(row.message.ts);
      row.remove();
      this.more[side] = true;
    }
  }

  drawBeginning() {
    const there = this.box.querySelector(".above");
    if (this.more.before) this.box.querySelectorAll(".above").forEach((node) => node.remove());
    else if (!there) this.feed.before(...this.beginning());
  }

  // --- rows ---

  show(messages, { more = false, unread = null } = {}) {
    this.shownFor = {};
    Object.assign(this, { more: { before: more, after: false }, unread, follow: true, waiting: 0 });
    this.pill.hidden = true;
    this.rows.clear();
    this.feed.replaceChildren(...messages.map((message) => this.row(message)));
    for (const row of this.feed.children) this.dress(row);
    this.makeStop(this.last()?.querySelector("article"));
    this.box.querySelectorAll(".above, .notice").forEach((node) => node.remove());
    this.drawBeginning();
    this.reached();
    this.stay();
  }

  row(message) {
    const row = el("div", { class: "row", "data-row": message.ts }, this.look.article(message, this.inThread));
    row.message = message;
    this.rows.set(message.ts, row);
    return row;
  }

  last() { return this.feed.lastElementChild; }

  /** The line above a row: a new day, the first that is new; and whether it stands under the name above it. */
  dress(row) {
    const [message, before] = [row.message, row.previousElementSibling?.message];
    const day = !before || dayOf(before.ts) !== dayOf(message.ts);
    const fresh = this.unread && Number(message.ts) > this.unread && !(before && Number(before.ts) > this.unread) && message.user !== state.me;
    row.querySelector(":scope > .line")?.remove();
    if (day || fresh) {
      row.prepend(el("div", { class: `line ${fresh ? "fresh" : ""}`, role: "separator", "aria-label": `${day ? dayName(message.ts) : ""}${fresh ? " New messages" : ""}`, "data-testid": fresh ? "new-line" : "day" },
        day ? el("span", { class: "day" }, dayName(message.ts)) : null, fresh ? el("span", { class: "new" }, "New") : null));
    }
    const together = before && !day && !fresh && before.user === message.user && !before.ephemeral && !message.ephemeral && Number(message.ts) - Number(before.ts) < GROUPED && !message.bot_id;
    row.classList.toggle("together", Boolean(together));
  }

  /** A message that is new, or changed. One that lies beyond what is shown is read when somebody comes there. */
  put(message) {
    const known = this.rows.get(message.ts);
    if (known) { this.hold(() => this.change(known, message)); return; }
    if (this.more.before && this.rows.size && Number(message.ts) < Number(this.feed.firstElementChild.message.ts)) return;
    if (!this.more.after) this.hold(() => this.insert(message));
    this.arrived(message);
  }

  insert(message) {
    let after = this.last();
    while (after && Number(after.message.ts) > Number(message.ts)) after = after.previousElementSibling;
    const row = this.row(message);
    if (after) after.after(row); else this.feed.prepend(row);
    this.dress(row);
    if (row.nextElementSibling) this.dress(row.nextElementSibling);
    else if (!this.feed.contains(document.activeElement)) this.makeStop(row.querySelector("article"));
    if (this.follow) this.trim("before");
    this.drawBeginning();
  }

  change(row, message) {
    const old = row.querySelector("article");
    const focused = old.contains(document.activeElement) ? locate(document.activeElement) : null;
    const fresh = this.look.article(message, this.inThread);
    fresh.tabIndex = old.tabIndex;
    row.message = message;
    old.replaceWith(fresh);
    if (focused) { this.offerTools(fresh); focusOn(focused() ?? fresh); }
  }

  arrived(message) {
    if (message.user !== state.me) announce(`${message.name}: ${message.text}`);
    if (this.follow && document.hasFocus()) this.onread(message.ts);
    if (this.follow) return;
    this.waiting += 1;
    this.pill.hidden = false;
    this.pill.replaceChildren(icon("down"), `${this.waiting} new ${this.waiting === 1 ? "message" : "messages"}`);
  }

  remove(ts) {
    const row = this.rows.get(ts);
    if (!row) return;
    const next = row.nextElementSibling;
    this.rows.delete(ts);
    this.hold(() => { row.remove(); if (next) this.dress(next); });
  }

  notice(text) {
    this.box.append(el("div", { class: "notice", role: "alert", "data-testid": "notice" }, text));
    this.reached();
    this.stay();
  }

  // --- by keyboard, and by hand ---

  offerTools(target) {
    const article = target.closest?.("article");
    if (!article || article.querySelector(".tools")) return;
    const { message } = article.parentElement;
    if (message.ephemeral) return;
    article.append(this.look.tools(message, this.inThread));
  }

  walk(event) {
    if (event.target.tagName !== "ARTICLE") return;
    const row = event.target.parentElement;
    const next = { ArrowUp: row.previousElementSibling, ArrowDown: row.nextElementSibling, Home: this.feed.firstElementChild, End: this.last() }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    if (next) this.stand(next.querySelector("article"));
  }

  /** One message of the list is a stop of Tab; the arrows go from there. */
  makeStop(article) {
    this.feed.querySelectorAll("article[tabindex='0']").forEach((other) => { other.tabIndex = -1; });
    if (article) article.tabIndex = 0;
  }

  stand(article) {
    this.makeStop(article);
    article.focus();
    article.scrollIntoView({ block: "nearest" });
  }
}
