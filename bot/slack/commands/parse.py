"""Reads what follows `/broadcast`, left to right. Options may be quoted; the text is kept as typed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from bot.domain.errors import FieldError
from bot.domain.i18n import Translatable
from bot.domain.options import DASHES, EVERYWHERE, MEANT, OPENING, OPTIONS, QUOTES, folded
from bot.domain.slack_text import decode_slack
from providers.base import Purpose

WORDS_OF_TIME = 12  # at most
SURE, PERHAPS = 0.8, 0.6  # how close a typo must be to an option of another subcommand, and of this one
#: What people who speak French or Spanish call the subcommands.
VERBS = {
    **dict.fromkeys(
        ("envoyer", "envoie", "envoi", "envoyez", "enviar", "envia", "envio", "mandar", "diffuser"), "send"
    ),
    **dict.fromkeys(("tester", "essai", "essayer", "probar", "prueba", "ensayo"), "test"),
    **dict.fromkeys(("annuler", "annule", "annulez", "cancelar", "cancela", "anular", "anula", "supprimer"), "cancel"),
    **dict.fromkeys(("liste", "lister", "lista", "listar", "envois", "envios"), "list"),
    **dict.fromkeys(("montrer", "montre", "afficher", "affiche", "voir", "mostrar", "muestra", "ver"), "show"),
    **dict.fromkeys(("aide", "aider", "ayuda", "ayudar"), "help"),
    **dict.fromkeys(("rappeler", "rappelle", "rappel", "recordar", "recuerda", "recordatorio", "avisar"), "remind"),
    **dict.fromkeys(("rappels", "recordatorios"), "reminders"),
    **dict.fromkeys(("chaque", "tous", "toutes", "cada", "todos", "todas"), "every"),
    **dict.fromkeys(("planifications", "recurrences", "programados", "programaciones", "calendario"), "schedules"),
    **dict.fromkeys(("arreter", "arrete", "arret", "parar", "para", "detener", "terminer", "terminar"), "stop"),
    **dict.fromkeys(("suspendre", "suspender", "pausar", "pausa"), "pause"),
    **dict.fromkeys(("reprendre", "reprends", "reanudar", "reanuda", "continuer", "continuar"), "resume"),
    **dict.fromkeys(("modele", "modeles", "gabarit", "plantilla", "plantillas"), "template"),
    **dict.fromkeys(("destinataires", "listes", "audiencias", "destinatarios", "listas"), "audiences"),
}
PURPOSES = {
    **dict.fromkeys(("marketing", "publicite", "publicidad", "promotionnel", "promocional"), Purpose.MARKETING),
    **dict.fromkeys(
        ("transactional", "transactionnel", "transactionnelle", "transaccional", "transacional"), Purpose.TRANSACTIONAL
    ),
}
OPTION = re.compile(rf"(?:--|[{DASHES}])?(\w+)=(?:[{QUOTES}]\s*([^{QUOTES}]*)[{QUOTES}]|(\S*))(?:\s+|$)")
QUOTED = re.compile(rf"[{QUOTES}]([^{QUOTES}]*)[{QUOTES}]\s*")
LIKE_OPTION = re.compile(rf"[{OPENING}]?(?:--|[{DASHES}])?(\w[\w-]*)\s*=")  # with quotes or spaces where none belong
WORD = re.compile(r"(\S+)(?:\s+|$)")
ID = re.compile(r"(?<![A-Za-z0-9])[Bb][A-Za-z0-9]{7}(?![A-Za-z0-9])")


@dataclass(frozen=True)
class Typed:
    """A parsed `send`. `purpose` None: left out. `late`: its options that appear in the text, and are text."""

    audience: str
    purpose: Purpose | None
    options: dict[str, str] = field(default_factory=dict)
    text: str = ""
    complaints: tuple[FieldError, ...] = ()
    late: tuple[str, ...] = ()


def first_word(typed: str) -> tuple[str, str]:
    """Return the first word and what follows it, as typed."""
    match = WORD.match(typed.strip())
    if match is None:
        return "", ""
    return match[1], typed.strip()[match.end() :]


def id_of(word: str) -> str:
    """Return the id in a word as people copy it from an answer: `` `B1234567` ``, `*B1234567*`, `(b1234567):`.

    A word without an id is returned as it is.
    """
    found = ID.search(word)
    return found[0].upper() if found else word


def quoted(typed: str) -> tuple[str, str]:
    """Return the text in quotes of any shape at the start, and what follows it; "" if there are no quotes."""
    match = QUOTED.match(typed.strip())
    return (match[1].strip(), typed.strip()[match.end() :]) if match else ("", typed.strip())


def with_quotes(typed: str, is_when: Callable[[str], bool], may_follow: Callable[[str], bool]) -> str | None:
    """Put quotes around the most words at the start that say when; None if none do, or what follows does not fit."""
    typed = typed.strip()
    said = list(re.finditer(r"\S+", typed))
    for last in range(min(len(said) - 1, WORDS_OF_TIME), 0, -1):
        when, rest = typed[: said[last - 1].end()], typed[said[last].start() :]
        if may_follow(decode_slack(rest)) and is_when(decode_slack(when)):
            return f'"{when}" {rest}'
    return None


def read_send(typed: str, names: Sequence[str] = OPTIONS) -> Typed:
    """`<audience> [purpose] [at=…] [sender=…] [campaign=…] <text>`: the first word that is neither starts the text."""
    audience, rest = first_word(typed)
    return replace(_read(rest, names, with_purpose=True), audience=audience.lower())


def read_options(typed: str, names: Sequence[str]) -> Typed:
    """`[name=…] <text>`: the first word that is not an option starts the text."""
    return _read(typed, names, with_purpose=False)


def _read(rest: str, names: Sequence[str], *, with_purpose: bool) -> Typed:
    purpose: Purpose | None = None
    options: dict[str, str] = {}
    complaints: list[FieldError] = []
    while True:
        option = OPTION.match(rest)
        if complaint := _wrong_option(rest, option, names, options):
            complaints.append(complaint)
            break
        if option is not None and (name := option[1].lower()) in names:
            options[name] = (option[2] if option[2] is not None else option[3]).strip()
            rest = rest[option.end() :]
            continue
        word, after = first_word(rest)
        if with_purpose and purpose is None and (read := PURPOSES.get(folded(word))) is not None:
            purpose, rest = read, after
            continue
        if with_purpose and purpose is None:
            complaints += _near_miss(word)
        break
    return Typed("", purpose, options, rest.strip(), tuple(complaints), _late(rest, names))


def _late(text: str, names: Sequence[str]) -> tuple[str, ...]:
    found = re.findall(rf"\s(?:--|[{DASHES}])?({'|'.join(names)})=\S", text, re.IGNORECASE)
    return tuple(dict.fromkeys(name.lower() for name in found))


def _near_miss(word: str) -> Iterator[FieldError]:
    """Ask about `markting`: as the first word of a text, it would go out to everybody."""
    near = difflib.get_close_matches(folded(word), PURPOSES, n=1, cutoff=0.82)
    if near:
        template = (
            "When you wrote “{word}”, did you mean “{near}”? If so, correct it. If the text begins with that "
            "word, put the purpose before it."
        )
        yield FieldError("purpose", Translatable(template, near=near[0], word=word))


def nearest_verb(word: str, verbs: Collection[str]) -> str | None:
    """Return the subcommand that was probably meant, in any of the three languages; None if nothing is close."""
    plain = folded(word)
    near = difflib.get_close_matches(plain, verbs, n=1, cutoff=PERHAPS)
    other = VERBS.get(plain) or next((VERBS[name] for name in difflib.get_close_matches(plain, VERBS, 1, SURE)), None)
    if other in verbs and not (near and difflib.SequenceMatcher(None, plain, near[0]).ratio() >= SURE):
        return other
    return near[0] if near else None


def _wrong_option(
    rest: str, option: re.Match[str] | None, names: Sequence[str], given: Collection[str]
) -> FieldError | None:
    """Report what begins like an option but would become text, in whole or in part. `url=…` is text, and is fine."""
    like = LIKE_OPTION.match(rest)
    if like is None:
        return None
    name = like[1].lower()
    if name not in names:
        return _unknown_option(name, names, slips=option is not None)
    if name in given:
        return _complaint("“{name}=” appears twice. Which one counts?", name=name)
    if option is None or not (option[2] or option[3]) or (option[3] and option[3][0] in OPENING):
        template = 'Write an option as `{name}=word` or `{name}="some words"`, followed by a space.'
        return _complaint(template, name=name)
    return None


def _unknown_option(name: str, names: Sequence[str], *, slips: bool) -> FieldError | None:
    """Report `att=…`, which may be a typo, and `at=…` where only another subcommand takes it."""
    meant = _meant(folded(name).replace("-", "_"), names, slips=slips)
    if meant is None:
        return None
    if meant in names:
        return _complaint("There is no option “{name}=”. Did you mean “{near}=”?", name=name, near=meant)
    template = "“{name}=” is not an option here. The options are: {known}. If it is text, put a word before it."
    return _complaint(template, name=name, known=", ".join(f"{known}=" for known in names))


def _meant(name: str, names: Sequence[str], *, slips: bool) -> str | None:
    if name in EVERYWHERE or name in MEANT or not slips:
        return MEANT.get(name, name if name in EVERYWHERE else None)
    near = difflib.get_close_matches(name, names, n=1, cutoff=PERHAPS)
    near = near or difflib.get_close_matches(name, EVERYWHERE, n=1, cutoff=SURE)
    return near[0] if near else None


def _complaint(template: str, **values: str) -> FieldError:
    return FieldError("text", Translatable(template, **values))
