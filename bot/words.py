"""The languages that people read: gettext catalogues, read from `.po` at start and compiled in memory."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib import resources
from typing import Literal, get_args

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

Language = Literal["en", "fr", "es"]
LANGUAGES: tuple[str, ...] = get_args(Language)


class Words:
    """One language. `words("You asked for {count} things", count=3)` is the sentence in it."""

    def __init__(self, language: str, translations: NullTranslations) -> None:
        self.language, self._translations = language, translations

    def __call__(self, template: str, /, **values: str | int) -> str:
        """The sentence of this template; a template without a translation stays English."""
        return self.fill(template, values)

    def fill(self, template: str, values: Mapping[str, str | int]) -> str:
        return self._translations.gettext(template).format_map(values)

    def count(self, one: str, many: str, number: int, **values: str | int) -> str:
        """The form of the sentence for this number, which stands in it as `{number}`."""
        template = self._translations.ngettext(one, many, number)
        return template.format_map({"number": number, **values})


@cache
def words_for(locale: str | None) -> Words:
    """The words for a Slack locale such as `fr-FR`; English for a language that is not here."""
    language = (locale or "en").replace("_", "-").split("-")[0].lower()
    if language not in LANGUAGES or language == "en":
        return Words("en", NullTranslations())
    source = resources.files("bot").joinpath("locale", f"{language}.po").read_bytes()
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(source), locale=language))
    compiled.seek(0)
    return Words(language, GNUTranslations(compiled))
