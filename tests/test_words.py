"""Every sentence that a person may read exists in every language, with the same placeholders."""

from __future__ import annotations

import ast
import inspect
import io
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from bot import exporting
from bot.app import Bot
from bot.domain.i18n import LANGUAGES, translator_for
from bot.recurring.notices import AWAY
from bot.slack import shortcuts
from bot.slack.blocks import boards, card_buttons, card_facts, charts, help, home, listing, recurring
from bot.slack.commands.absences import AbsenceCommands
from bot.slack.commands.audit import AuditCommand
from bot.slack.commands.boards import BoardCommands
from bot.slack.commands.broadcasts import BroadcastCommands
from bot.slack.commands.doctor import DoctorCommand
from bot.slack.commands.help import HelpCommand
from bot.slack.commands.listing import ListCommand
from bot.slack.commands.router import Commands
from bot.slack.commands.schedules import Recurring
from bot.slack.commands.settings import SettingsCommand
from bot.slack.commands.templates import TemplateCommands
from bot.when.refusals import EXAMPLES, HINTS, RECURRING
from bot.workflow.card_changes import CHANGED
from bot.workflow.decisions import ENDINGS
from bot.workflow.sentence_parts import FIELDS
from providers import encom, kaizala, octopush
from providers.registry import BUILT_IN

ROOT = Path(__file__).parent.parent
FIRST = {
    "words",
    "_complaint",
    "AdapterBroke",
    "HeldBack",
    "Translatable",
    "NotAllowed",
    "NotAMember",
    "Refused",
    "Unavailable",
    "Uncertain",
    "Blocked",
    "NotReady",
}
SECOND = {"Problem", "NotATime", "Evidence"}
NAMES = {
    "template",
    "MAY_HAVE_GONE",
    "RETIRED",
    "GONE",
    "NOT_READ",
    "NOTHING_GIVEN",
    "NOT_TAKEN",
    "REPORTED",
    "CONFIRMED",
    "NOT_THEN",
    "PAUSED_ASKS",
    "PAUSED_WAITS",
    "WAS_PAUSED",
    "POSSIBLY_SENT",
    "LOST",
    "PAUSED",
    "UNASKED",
    "UNSAID",
    "REFUSED",
    "NOT_HERE",
    "ELSEWHERE",
    "UNKNOWN_FORM",
    "HOURS_OPEN",
    "RETURNED",
    "RETURNED_TO_ALL",
    "TWICE",
    "BROKE",
    "NO_IDS",
    "UNTRUE",
    "UNWANTED",
    "AGAIN",
    "AGAIN_AS_IT_WAS",
    "AT_ONCE",
    "CHANGED_BY",
    "NEW_START",
    "NEW_START_NOW",
    "NEW_START_THEN",
    "NO_MORE",
}


def literals(node: ast.AST | None) -> Iterator[str]:
    """Yield the string of an expression, or the strings that it chooses between."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)


def in_source(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in FIRST and node.args:
                yield from literals(node.args[0])
            elif name in SECOND and len(node.args) > 1:
                yield from literals(node.args[1])
            elif name == "count" and len(node.args) > 2:
                yield from literals(node.args[0])
        elif isinstance(node, ast.arguments):
            named = zip(reversed(node.args), reversed(node.defaults), strict=False)
            yield from (text for arg, default in named if arg.arg in NAMES for text in literals(default))
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in NAMES:
            yield from literals(node.value)


def in_tables() -> Iterator[str]:
    yield from card_facts.BADGES.values()
    yield from card_facts.HOLDS.values()
    yield from card_facts.PURPOSES.values()
    yield from card_facts.KINDS.values()
    yield from charts.LABELS.values()
    yield from exporting.ACTORS.values()
    yield from exporting.DEEDS.values()
    yield from (label for label, _ in card_buttons.BUTTONS.values())
    yield from card_buttons.FOLLOW_UPS.values()
    yield from (*home.SECTIONS.values(), *home.STEPS)
    yield from card_buttons.AFTER_CANARY.values()
    yield from (template for template, _ in ENDINGS.values())
    yield from CHANGED.values()
    yield from FIELDS.values()
    yield from (template for _, template in HINTS)
    yield from (EXAMPLES, RECURRING)
    for table in (
        recurring.STANDINGS,
        recurring.ENDS,
        recurring.ON_HOLIDAYS,
        recurring.ON_WEEKENDS,
        recurring.TURNS,
        AWAY,
        listing.TITLES,
        boards.TITLES,
        boards.NOTHING,
        listing.NOTHING,
    ):
        yield from table.values()
    yield from (text for _, *texts in help.STEPS for text in texts)
    yield from (does for options in help.OPTIONS.values() for _, does in options)
    yield from (example for examples in help.EXAMPLES.values() for example in examples)
    yield from (one for one, _ in shortcuts.TOLD.values())
    for kind in BUILT_IN.values():
        yield kind.capabilities.sender_rule
        yield from kind.capabilities.reasons.values()
    for vendor in (encom, octopush, kaizala):
        yield from (template for template, _ in vendor.REFUSALS.values())
    for name in ("every", "remind", "stop"):
        yield str(getattr(Recurring, name).__doc__).split("\n")[0]
    for board in (BoardCommands.schedules, BoardCommands.list_reminders):
        yield str(board.__doc__)
    yield from (label for label, _ in boards.STEPS.values())
    yield str(ListCommand.list_broadcasts.__doc__).split("\n")[0]
    for method in (
        one
        for kind in (
            Commands,
            BroadcastCommands,
            AuditCommand,
            TemplateCommands,
            AbsenceCommands,
            DoctorCommand,
            SettingsCommand,
            HelpCommand,
        )
        for one in vars(kind).values()
    ):
        if (
            inspect.iscoroutinefunction(method)
            and not method.__name__.startswith("_")
            and method.__name__ not in ("handle", "open_form", "turned", "send_file")
        ):
            yield str(method.__doc__).split("\n")[0]


def every_sentence() -> set[str]:
    sources = [*(ROOT / "bot").rglob("*.py"), *(ROOT / "providers").glob("*.py")]
    found = {sentence for path in sources if path.name != "cli.py" for sentence in in_source(path)}
    return {sentence for sentence in found | set(in_tables()) if re.search("[a-z]{2}", sentence)}


def catalogue(language: str) -> Catalog:
    source = resources.files("bot").joinpath("locale", f"{language}.po").read_bytes()
    return read_po(io.BytesIO(source), locale=language)


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def test_the_sentences_are_found() -> None:
    assert len(every_sentence()) > 150
    assert Bot.__doc__


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_sentence_is_translated(language: str) -> None:
    known = {str(m.id if isinstance(m.id, str) else m.id[0]) for m in catalogue(language) if m.id and m.string}
    assert sorted(every_sentence() - known) == []


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_translations_hold_the_same_placeholders_and_none_is_left_over(language: str) -> None:
    sentences = every_sentence()
    for message in catalogue(language):
        if not message.id:
            continue
        ids = [message.id] if isinstance(message.id, str) else list(message.id)
        strings = [message.string] if isinstance(message.string, str) else list(message.string or ())
        assert ids[0] in sentences
        assert {frozenset(fields(text)) for text in strings} == {frozenset(fields(ids[-1]))}, ids[0]


def plain_words(sentence: str) -> list[str]:
    return re.findall(r"[^\W\d_]{2,}", re.sub(r"\{\w*\}", "", sentence))


def test_no_catalogue_is_a_copy_of_another() -> None:
    """A few short words are the same in two languages; the sentences of two catalogues are not."""
    said = {
        language: {str(m.id): str(m.string) for m in catalogue(language) if len(plain_words(str(m.id))) > 2}
        for language in LANGUAGES[1:]
    }
    for language, sentences in said.items():
        assert [told for id, told in sentences.items() if told == id] == []
        for other, theirs in said.items():
            same = [id for id, told in sentences.items() if theirs.get(id) == told]
            assert other == language or len(same) < len(sentences) / 50, same


def test_numbers_choose_their_form() -> None:
    french = translator_for("fr-FR")
    assert french.count("{number} person", "{number} people", 1) == "1 personne"
    assert french.count("{number} person", "{number} people", 12) == "12 personnes"


def test_a_language_that_is_not_there_is_english() -> None:
    assert translator_for("de-DE")("Approve") == "Approve"
    assert translator_for(None)("Approve") == "Approve"


def test_no_sentence_serves_both_for_one_broadcast_and_for_many_deliveries() -> None:
    """English has one form for both; other languages have two."""
    assert not set(charts.LABELS.values()) & {
        *exporting.DEEDS.values(),
        *card_facts.HOLDS.values(),
        *recurring.TURNS.values(),
    }


@pytest.mark.parametrize(
    ("language", "none", "million"),
    [("fr", "0 personne", "1000000 personnes"), ("es", "0 personas", "1000000 personas")],
)
def test_a_catalogue_says_itself_which_form_a_number_takes(language: str, none: str, million: str) -> None:
    """Babel's own rules change from version to version, and have a third form for millions."""
    words, forms = translator_for(language), ("{number} person", "{number} people")
    assert (words.count(*forms, 0), words.count(*forms, 1_000_000)) == (none, million)
    catalogue = resources.files("bot").joinpath("locale", f"{language}.po").read_text(encoding="utf-8")
    assert "Plural-Forms: nplurals=2;" in catalogue.split("\n\n")[0]
