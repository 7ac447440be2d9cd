"""Draws the help: five steps with buttons, one subcommand with its options and examples, or all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bot.domain.i18n import Translator
from bot.slack.blocks.mrkdwn import Block, Post, plain, section

STEP = "broadcast.help"  # buttons of the help, by what they show
WRITE, HELP = "home.write", "home.help"  # as in Home
WAITING, UPCOMING, REMINDERS, ALL, START = "waiting", "upcoming", "reminders", "all", "start"

#: What each step shows, its button, and its line.
STEPS: tuple[tuple[str, str, str], ...] = (
    (WRITE, "Write one", "*Write one*: `/broadcast` opens the form. Marketing waits until somebody else approves it."),
    (WAITING, "What waits", "*What waits* for approval: `/broadcast list waiting`"),
    (UPCOMING, "Coming up", "*Coming up*: `/broadcast list upcoming`"),
    (REMINDERS, "Reminders", "*Reminders* of this workspace: `/broadcast reminders`"),
    (ALL, "All commands", "*All commands*: `/broadcast help all`. One with its options: `/broadcast help send`"),
)

AT = "When it starts, in your own time zone."
SENDER = "The name or number that phones show, if the vendor takes one."
CAMPAIGN = "The campaign's name at the vendor."
UNTIL = "The last day."
COUNT = "How many times."
HOLIDAYS = "On holidays: skip, shift (the next working day), before (the working day before) or keep."
#: The options of a subcommand: how each is written, and what it does.
OPTIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "send": (
        ("marketing | transactional", "What it is for. Left out, it counts as marketing, which needs approval."),
        ("at=<when>", AT),
        ("canary=<audience>", "A small audience that gets it first. Somebody then continues or stops."),
        ("sender=<id>", SENDER),
        ("campaign=<name>", CAMPAIGN),
    ),
    "test": (
        ("marketing | transactional", "What it is for. For marketing, the opt-out mention is added."),
        ("sender=<id>", SENDER),
        ("campaign=<name>", CAMPAIGN),
    ),
    "every": (
        ("marketing | transactional", "What it is for. Left out, it counts as marketing, which needs approval."),
        ("covers=<n>", "How many of them one approval covers."),
        ("holidays=<what>", HOLIDAYS),
        ("until=<date>", UNTIL),
        ("count=<n>", COUNT),
        ("sender=<id>", SENDER),
        ("campaign=<name>", CAMPAIGN),
    ),
    "remind": (
        ("holidays=<what>", HOLIDAYS),
        ("until=<date>", UNTIL),
        ("count=<n>", COUNT),
        ("answer=yes", "It has *Done* and *Snooze*, and does not come again before somebody answers."),
        ("start=<audience>", "It has a button that opens the form for this audience."),
        ("template=<name>", "It has a button that opens the form with this template."),
        ("digest=yes", "It also says what waits and what is coming up."),
        ("mentions=yes", "It notifies those whom it names."),
    ),
}
#: Examples of a subcommand, each as it can be pasted.
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "send": (
        "/broadcast send {audience} marketing Sale from tomorrow",
        '/broadcast send {audience} transactional at="tomorrow 9:00" Your order is ready',
    ),
    "test": ("/broadcast test {audience} marketing Sale from tomorrow",),
    "every": ('/broadcast every "every monday 9:00" {audience} transactional We open at 10 today',),
    "remind": (
        '/broadcast remind "tomorrow 9:00" Call the printer',
        '/broadcast remind "every friday 16:00" holidays=skip Tidy up the list',
    ),
    "list": ("/broadcast list waiting", "/broadcast list {audience}"),
    "template": ("/broadcast template save welcome {audience} marketing Welcome to our list",),
}
EVERYWHERE = ("send", "remind")  # whose examples stand under all commands


def button(shows: str, label: str) -> Block:
    if shows == WRITE:
        return {"type": "button", "action_id": WRITE, "text": plain(label), "style": "primary"}
    return {"type": "button", "action_id": f"{STEP}.{shows}", "text": plain(label), "value": shows}


def steps(words: Translator, notices: Sequence[str] = ()) -> Post:
    """The five lines, with a button each."""
    lines = [*notices, *(words(line) for _, _, line in STEPS)]
    buttons = [button(shows, words(label)) for shows, label, _ in STEPS]
    return Post("\n".join(lines), [section("\n".join(lines)), {"type": "actions", "elements": buttons}])


def greeting(words: Translator) -> Post:
    """What the bot says to somebody who writes to it."""
    text = words(
        "I send texts to many people at once, marketing only after somebody else has approved it. Type `/broadcast`, "
        "or press:"
    )
    ask = {"type": "button", "action_id": HELP, "text": plain(words("Help"))}
    return Post(text, [section(text), {"type": "actions", "elements": [button(WRITE, words("Write one")), ask]}])


def with_way_back(post: Post, words: Translator) -> Post:
    """The answer of a step, with the button that leads back to the steps."""
    blocks = post.blocks or [section(post.text)]
    return Post(post.text, [*blocks, {"type": "actions", "elements": [button(START, words("Help"))]}])


def topic(name: str, usage: str, about: str, audience: str, words: Translator) -> Post:
    """One subcommand: how it is written, what it does, its options, and examples that can be pasted."""
    options = "\n".join(f"• `{option}` — {words(does)}" for option, does in OPTIONS.get(name, ()))
    parts = [f"`/broadcast {usage}`\n{words(about)}"]
    parts += [f"{words('*Options*, before the text:')}\n{options}"] if options else []
    parts += _examples((name,), audience, words)
    return Post("\n".join(parts), [section(part) for part in parts])


def all_commands(usages: Iterable[tuple[str, str]], audience: str, words: Translator) -> Post:
    """Every subcommand in a line, and examples."""
    lines = [f"• `/broadcast {usage}`".replace(" `", "`") + f" — {words(about)}" for usage, about in usages]
    parts = [words("*What I can do*"), "\n".join(lines), *_examples(EVERYWHERE, audience, words)]
    return Post("\n".join(parts), [section(part) for part in parts])


def _examples(names: Iterable[str], audience: str, words: Translator) -> list[str]:
    shown = [f"`{words(one, audience=audience)}`" for name in names for one in EXAMPLES.get(name, ())]
    return ["\n".join([words("*Examples*"), *shown])] if shown else []
