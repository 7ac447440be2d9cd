"""Sentences that are translated when somebody reads them, and the catalogues that translate them.

The gettext catalogues are read from `.po` at start and compiled in memory.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib import resources
from typing import Any, Literal, TypeAlias, get_args

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

Value: TypeAlias = "str | int | Translatable"


@dataclass(frozen=True, init=False)
class Translatable:
    """A sentence for a person, kept as its template so that each reader gets it in their language.

    `Translatable("{by} approved {id}", by=…, id=…)`. A value may be translatable itself.
    """

    template: str
    values: Mapping[str, Value]

    def __init__(self, template: str, /, **values: Value) -> None:
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "values", values)

    def __str__(self) -> str:
        return self.template.format_map(self.values)

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        values = {name: v.plain() if isinstance(v, Translatable) else v for name, v in self.values.items()}
        return {"template": self.template, "values": values}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Translatable:
        """The reverse of `plain`. Raises an exception of any type if the input is not of its shape."""
        values = {name: cls.of(v) if isinstance(v, Mapping) else v for name, v in plain["values"].items()}
        if not isinstance(plain["template"], str) or any(isinstance(v, list) for v in values.values()):
            raise ValueError("nobody can say this")
        sentence = cls(plain["template"], **values)
        str(sentence)  # raises unless its values fill it
        return sentence


def in_a_row(sentences: Iterable[Translatable]) -> Translatable:
    """Several sentences as one, each in the reader's language."""
    parts = {f"part{place}": sentence for place, sentence in enumerate(sentences)}
    return Translatable(" ".join(f"{{{part}}}" for part in parts), **parts)


Language = Literal["en", "fr", "es"]
LANGUAGES: tuple[str, ...] = get_args(Language)


class Translator:
    """Translates into one language. `words("You asked for {count} things", count=3)` is the sentence in it."""

    def __init__(self, language: str, translations: NullTranslations) -> None:
        self.language, self._translations = language, translations

    def __call__(self, template: str, /, **values: str | int) -> str:
        """The sentence for this template; a template without a translation stays English."""
        return self.fill(template, values)

    def fill(self, template: str, values: Mapping[str, str | int]) -> str:
        if not template:  # in a catalogue, the translation of nothing is its header
            return ""
        return self._translations.gettext(template).format_map(values)

    def count(self, one: str, many: str, number: int, **values: str | int) -> str:
        """The form of the sentence for this number, which it contains as `{number}`."""
        template = self._translations.ngettext(one, many, number)
        return template.format_map({"number": number, **values})


@cache
def translator_for(locale: str | None) -> Translator:
    """The translator for a Slack locale such as `fr-FR`; English for a language that is not available."""
    language = (locale or "en").replace("_", "-").split("-")[0].lower()
    if language not in LANGUAGES or language == "en":
        return Translator("en", NullTranslations())
    source = resources.files("bot").joinpath("locale", f"{language}.po").read_bytes()
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO(source), locale=language))
    compiled.seek(0)
    return Translator(language, GNUTranslations(compiled))
