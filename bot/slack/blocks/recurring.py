"""Block Kit for schedules, as pure functions: a reminder's post, the morning digest, and lists of schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date

from bot.domain import slack_text
from bot.domain.broadcast import Broadcast
from bot.domain.clock import moment
from bot.domain.i18n import Translator
from bot.domain.lifecycle import Ended, Hold, OccurrenceState, ScheduleState, State
from bot.domain.people import mentions
from bot.domain.schedule import Digest, Kind, Occurrence, Schedule
from bot.slack.blocks.answers import drawn, each_line
from bot.slack.blocks.mrkdwn import ANSWER, SECTION, Block, Post, context, lines, plain, quote, section, shortened, when
from bot.when.recurrence import Closed, Recurrence, RecurringTime

LATEST = 10  # occurrences shown of one schedule
LEFT_OUT = 3  # left-out days shown
PER_PART = 10  # broadcasts shown in one part of a digest

STANDINGS: Mapping[ScheduleState, str] = {
    ScheduleState.ACTIVE: "🔁 Active",
    ScheduleState.PAUSED: "⏸️ Paused",
    ScheduleState.ENDED: "🏁 Ended",
}

ENDS: Mapping[Ended, str] = {
    Ended.STOPPED: "somebody stopped it",
    Ended.FINISHED: "it reached its planned end",
    Ended.OWNER_LEFT: "its owner has left",
    Ended.CHANNEL_GONE: "I can no longer post in its channel",
    Ended.NOT_ALLOWED: "it could no longer be requested",
}

ON_HOLIDAYS: Mapping[Closed, str] = {
    Closed.KEEP: "on holidays too",
    Closed.SKIP: "skipped on holidays",
    Closed.SHIFT: "moved to the next working day on holidays",
    Closed.BEFORE: "moved to the previous working day on holidays",
}

#: The same for a rule that names no weekday.
ON_WEEKENDS: Mapping[Closed, str] = {
    Closed.KEEP: "on holidays and weekends too",
    Closed.SKIP: "skipped on holidays and weekends",
    Closed.SHIFT: "moved to the next working day on holidays and weekends",
    Closed.BEFORE: "moved to the previous working day on holidays and weekends",
}

TURNS: Mapping[OccurrenceState, str] = {
    OccurrenceState.MADE: "made",
    OccurrenceState.OPEN: "open",
    OccurrenceState.SNOOZED: "snoozed",
    OccurrenceState.DONE: "done",
    OccurrenceState.LEFT_OUT: "skipped, the one before was unanswered",
    OccurrenceState.MISSED: "missed",
}


# --- a reminder's post -----------------------------------------------------------------------------------------------


def reminder(occurrence: Occurrence, schedule: Schedule, digest: Digest | None, words: Translator) -> Post:
    """Return a reminder's post: its digest and text, whose it is, and its buttons."""
    blocks = [section(part) for part in _digest(digest, words)] if digest else []
    if schedule.text:
        blocks.insert(0, _text_block(schedule))
    foot = [_origin(occurrence, schedule, words), *_standing(occurrence, words)]
    text = _live(schedule) if schedule.text else quote(words("This channel's digest"))
    return Post(f"🔔 {text}", [*blocks, context(*foot), *_buttons(occurrence, schedule, words)])


def _text_block(schedule: Schedule) -> Block:
    """Return the text as its owner wrote it. A reminder from before Slack's markup was kept is plain text."""
    if schedule.options.get("markup"):  # verbatim: else Slack turns plain words into mentions
        text = {"type": "mrkdwn", "text": shortened(f"🔔 {_live(schedule)}", SECTION), "verbatim": True}
        return {"type": "section", "text": text}
    return {"type": "section", "text": plain(shortened(f"🔔 {schedule.text}", SECTION))}


def _live(schedule: Schedule) -> str:
    markup = schedule.options.get("markup")
    return (
        slack_text.live(str(markup), mentions=bool(schedule.options.get("mentions")))
        if markup
        else quote(schedule.text)
    )


def _origin(occurrence: Occurrence, schedule: Schedule, words: Translator) -> str:
    """Return whose reminder it is, and when it is due, with its zone."""
    zone = f"{occurrence.local.replace('T', ' ')} {schedule.zone}"
    if schedule.rule is None:
        return words("Reminder from {owner}: {local} · *{id}*", **_of(schedule), local=zone)
    return words(
        "Reminder from {owner}: {typed} ({local}) · *{id}*",
        **_of(schedule),
        typed=quote(schedule.typed),
        local=zone,
    )


def _of(schedule: Schedule) -> dict[str, str]:
    return {"owner": mentions([schedule.owner]), "id": schedule.id}


def _standing(occurrence: Occurrence, words: Translator) -> Iterable[str]:
    by = mentions([occurrence.by]) if occurrence.by else ""
    if occurrence.state is OccurrenceState.DONE:
        yield words("✅ {by} marked this as done", by=by)
    elif occurrence.state is OccurrenceState.SNOOZED:
        yield words(
            "💤 Snoozed: it will be posted once more {snoozed_at}", snoozed_at=when(occurrence.snoozed_until or 0)
        )
    if occurrence.left_out:
        yield words.count(
            "⏳ Unanswered: skipped {number} time since",
            "⏳ Unanswered: skipped {number} times since",
            occurrence.left_out,
        )


def _buttons(occurrence: Occurrence, schedule: Schedule, words: Translator) -> list[Block]:
    if occurrence.state in (OccurrenceState.DONE, OccurrenceState.SNOOZED, OccurrenceState.MISSED) or (
        schedule.options.get("digest") and not schedule.asks
    ):
        return []
    wanted: list[tuple[str, str, str | None]] = [("done", words("Done"), "primary")]
    if occurrence.snoozed_until is None:
        wanted.append(("snooze", words("In an hour"), None))
    if schedule.options.get("start") or schedule.options.get("template"):
        wanted.append(("start", words("Start a broadcast"), None))
    elements = [_button(name, label, style, f"{schedule.id}:{occurrence.version}") for name, label, style in wanted]
    return [{"type": "actions", "block_id": f"reminder:{occurrence.version}", "elements": elements}]


def _button(name: str, label: str, style: str | None, value: str) -> dict[str, Any]:
    button = {"type": "button", "action_id": f"reminder.{name}", "text": plain(label), "value": value}
    return {**button, "style": style} if style else button


# --- the digest ------------------------------------------------------------------------------------------------------


def _digest(digest: Digest, words: Translator) -> Iterable[str]:
    yield words("*Status of this channel's broadcasts*")
    parts = [
        (words("🟡 Waiting for approval"), digest.waiting),
        (words("✋ Held, waiting for a decision"), digest.held),
        (words("❓ Not known whether it went out"), digest.unknown),
        (words("🕑 In the next 24 hours"), digest.today),
    ]
    texts = [part for name, rows in parts for part in _part(name, rows, words)]
    yield from texts
    if digest.sent:
        yield words.count(
            "✅ {number} broadcast sent since yesterday", "✅ {number} broadcasts sent since yesterday", digest.sent
        )
    elif not texts:
        yield words("Nothing is waiting, and nothing is planned for today.")


def _part(name: str, rows: Sequence[Broadcast], words: Translator) -> Iterable[str]:
    if rows:
        yield "\n".join([f"*{name}*", *each_line(rows[:PER_PART], _row, words), *_more(len(rows) - PER_PART, words)])


def _more(number: int, words: Translator) -> Iterable[str]:
    if number > 0:
        yield words("+{number} more", number=number)


def _row(row: Broadcast) -> str:
    shown = row.text if len(row.text) <= 60 else f"{row.text[:60]}…"
    instant = when(row.due or row.send_at or row.changed_at, row.zone)
    return f"• *{row.id}* → {quote(row.audience)} · {mentions([row.requester])} · {instant} · “{quote(shown)}”"


# --- answers about schedules -----------------------------------------------------------------------------------------


def asked(schedule: Schedule, upcoming: Sequence[RecurringTime], words: Translator, hours: str | None = None) -> Post:
    """Return what was understood and the next times, so that the person sees a mistake before anybody else does.

    `hours`: what the sending hours do to the first occurrence.
    """
    channel = f"<#{schedule.channel}>"
    named = {"id": schedule.id, "typed": quote(schedule.typed), "zone": schedule.zone, "channel": channel}
    if schedule.kind is Kind.BROADCAST:
        answer_lines = [
            words(
                "*{id}* will ask in {channel} to send this: {typed} ({zone}). Each one gets its own card a day before.",
                **named,
            )
        ]
    elif schedule.rule is None:
        answer_lines = [words("*{id}* will be posted once in {channel} ({zone}).", **named)]
    else:
        answer_lines = [words("*{id}* will be posted in {channel}: {typed} ({zone}).", **named)]
    occurrences = [f"• {spelled(occurrence, words)}" for occurrence in upcoming]
    answer_lines += [*occurrences[:1], *([f"✋ {hours}"] if hours else ()), *occurrences[1:]]
    if schedule.closed is not Closed.KEEP and schedule.calendar and schedule.rule:
        answer_lines.append(
            words("Holidays ({calendar}): {closed}.", calendar=_calendar(schedule), closed=_closed(schedule, words))
        )
    answer_lines += _left_out(schedule, words)
    covers = int(schedule.options.get("covers", 1))
    if covers > 1:
        answer_lines.append(words("One approval covers {covers} of them, as long as nothing changes.", covers=covers))
    answer_lines.append(words("`/broadcast stop {id}` ends it. `/broadcast pause {id}` pauses it.", id=schedule.id))
    return _with_its_look(lines(answer_lines, words), schedule, words)


def _with_its_look(answer: Post, schedule: Schedule, words: Translator) -> Post:
    """Add how a reminder will look, so that its owner sees beforehand whether its mentions notify anybody."""
    if schedule.kind is not Kind.REMINDER or not schedule.text:
        return answer
    intro = words("It will look like this:")
    if slack_text.calls(str(schedule.options.get("markup") or "")):
        intro = words("It notifies the people and groups it names. It will look like this:")
        if not schedule.options.get("mentions"):
            intro = words(
                "It does not notify the people and groups it names. To notify them, put `mentions=yes` before the "
                "text. It will look like this:"
            )
    text = f"{answer.text}\n{intro}\n🔔 {_live(schedule)}"
    return Post(shortened(text, ANSWER), [*answer.blocks, section(intro), _text_block(schedule)])


def still_on_its_way(row: Broadcast, words: Translator) -> str:
    """Return what happens to an occurrence that was made before its schedule was paused or stopped."""
    if row.state is State.SENDING:
        return f"*{row.id}*: {words('It is going out now.')}"
    named = {"id": row.id, "start_at": when(row.due or row.hold_until or row.send_at or 0, row.zone)}
    if row.state is State.SCHEDULED or (row.hold is Hold.HOURS and row.hold_until is not None):
        sentence = words("*{id}* already has a card. It will go out by itself {start_at}.", **named)
    elif row.state is State.PENDING:
        sentence = words("*{id}* already has a card. It is waiting for approval to go out {start_at}.", **named)
    else:
        sentence = words("*{id}* already has a card. It is held and needs a decision.", **named)
    return f"{sentence} " + words("`/broadcast cancel {id}` stops it.", id=row.id)


def spelled(occurrence: RecurringTime, words: Translator) -> str:
    """Return an occurrence with its weekday, and with its offset so that people see a clock change in time."""
    offset = occurrence.local - occurrence.instant.replace(tzinfo=None)
    minutes = int(offset.total_seconds() // 60)
    sign = "-" if minutes < 0 else "+"
    return (
        f"{_day(occurrence, words)} {occurrence.local:%H:%M} ({sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d})"
    )


def _day(occurrence: RecurringTime, words: Translator) -> str:
    return f"{format_date(occurrence.local, 'EEE', locale=words.language)} {occurrence.local:%Y-%m-%d}"


def _left_out(schedule: Schedule, words: Translator) -> Iterable[str]:
    """Yield which occurrences will be left out, and how to include them."""
    left, total = schedule.left_out(schedule.created_at)
    if left:
        days = ", ".join(_day(occurrence, words) for occurrence in left[:LEFT_OUT]) + (
            "…" if len(left) > LEFT_OUT else ""
        )
        yield words.count(
            "⚠️ {number} of the next {total} falls on a closed day and will be left out: {days}. To include it, ask "
            "again with `holidays=before` (the previous working day) or `holidays=shift` (the next one).",
            "⚠️ {number} of the next {total} fall on closed days and will be left out: {days}. To include them, ask "
            "again with `holidays=before` (the previous working day) or `holidays=shift` (the next one).",
            len(left),
            total=total,
            days=days,
        )


def _calendar(schedule: Schedule) -> str:
    calendar = schedule.calendar or {}
    return "-".join(str(part) for part in (calendar.get("calendar"), calendar.get("subdivision")) if part)


def _closed(schedule: Schedule, words: Translator) -> str:
    names_days = schedule.rule is None or Recurrence.of(schedule.rule).names_days
    return words((ON_HOLIDAYS if names_days else ON_WEEKENDS)[schedule.closed])


def line(schedule: Schedule, words: Translator) -> str:
    """Return a schedule in one line: its state, whose it is, and when it comes next or its pause ends."""
    shown = schedule.text if len(schedule.text) <= 60 else f"{schedule.text[:60]}…"
    if schedule.state is ScheduleState.PAUSED and schedule.paused_until is None:
        instant = "—"
    else:
        instant = when(schedule.paused_until or schedule.next_at or 0, schedule.zone)
        if schedule.state is ScheduleState.PAUSED:
            instant = words("until {until_at}", until_at=instant)
    where = quote(str(schedule.options.get("audience") or "")) or f"<#{schedule.channel}>"
    who = mentions([schedule.owner])
    badge = words(STANDINGS[schedule.state])
    what = f"“{quote(shown)}”" if shown else words("the digest")
    return f"{badge} · *{schedule.id}* → {where} · {who} · {quote(schedule.typed)} · {instant} · {what}"


def details(schedule: Schedule, occurrences: Sequence[Occurrence], words: Translator) -> Post:
    """Return one schedule in full, with its latest occurrences."""
    answer_lines = [line(schedule, words), *([f"“{quote(schedule.text)}”"] if schedule.text else ())]
    if schedule.ended is not None:
        answer_lines.append(words("It ended: {why}.", why=words(ENDS[schedule.ended])))
    if schedule.calendar:
        answer_lines.append(
            words("Holidays ({calendar}): {closed}.", calendar=_calendar(schedule), closed=_closed(schedule, words))
        )
    if schedule.cover is not None:
        by, left = mentions(schedule.cover.voters), schedule.cover.left
        answer_lines.append(words("The approval by {by} covers {left} more.", by=by, left=left))
    answer_lines += [
        drawn(f"{schedule.id}/{occurrence.at}", partial(_occurrence_line, occurrence, words), words)
        for occurrence in occurrences
    ]
    return lines(answer_lines, words)


def _occurrence_line(occurrence: Occurrence, words: Translator) -> str:
    of = f" · *{occurrence.broadcast}*" if occurrence.broadcast else ""
    return f"• {when(occurrence.at)} · {words(TURNS[occurrence.state])}{of}"


def upcoming(schedule: Schedule, count: int) -> list[RecurringTime]:
    """Return its next occurrences, including the first; only one if it does not recur."""
    if schedule.next_at is None:
        return []
    if schedule.rule is None:
        instant = moment(schedule.next_at)
        return [RecurringTime(instant.astimezone(ZoneInfo(schedule.zone)).replace(tzinfo=None), instant)]
    found = []
    for occurrence in schedule.after(schedule.next_at - 1):
        found.append(occurrence)
        if len(found) == min(count, schedule.remaining or count):
            break
    return found
