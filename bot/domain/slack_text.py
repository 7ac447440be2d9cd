"""Recovers what people typed from the markup that Slack makes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

TOKEN = re.compile(r"<([@#!]?)([^<>|]+)(?:\|([^<>]*))?>")
PAGES = frozenset({"here", "channel", "everyone", "group"})  # `<!here>` and the like notify everybody in a channel
EMOJI_NAME = re.compile(r":([\w+'-]{1,100}):")
SKIN_TONE = re.compile(r":skin-tone-[2-6]:")
HOUR_LIKE = re.compile(r"\d{1,2}(?:h\d{0,2}|[ap]m|m|min|s)(?:-\d{1,2}(?:h\d{0,2}|[ap]m)?)?")


def decode_slack(raw: str) -> str:
    """The text as it was meant, with entities decoded exactly once.

    A link, an address or a name with a label loses nothing that people see: where the two differ, both stay.
    """
    # Slack encodes exactly these three; anything else that reads like an entity was typed.
    return _plain(TOKEN.sub(_spelled, raw))


def _plain(encoded: str) -> str:
    return encoded.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def nameless(raw: str) -> tuple[str, ...]:
    """The people, channels and groups for which Slack gives an id but no name: a text would lose them."""
    found = (f"{token[1].replace('!', '@')}{token[2].split('^')[-1]}" for token in _tokens(raw) if _is_nameless(token))
    return tuple(dict.fromkeys(found))


def _tokens(raw: str) -> Iterator[re.Match[str]]:
    return TOKEN.finditer(raw)


def _is_nameless(token: re.Match[str]) -> bool:
    return bool(token[1]) and not _label(token) and token[2] not in PAGES


def _label(token: re.Match[str]) -> str:
    return (token[3] or "").strip()


def _spelled(token: re.Match[str]) -> str:
    sign, target, label = token[1], token[2], _label(token)
    if not sign:
        address = _address(target)
        return _both(label, address) if label else address
    if sign != "!":
        return f"{sign}{label.lstrip(sign) or target}"
    kind, _, rest = target.partition("^")
    if kind in PAGES:
        return f"@{kind}" if label.lstrip("@") in ("", kind) else f"@{kind} ({label})"
    if kind == "subteam":
        return f"@{label.lstrip('@') or rest}"
    return label or target


def _address(target: str) -> str:
    return target.split(":", 1)[1] if target.startswith(("mailto:", "tel:")) else target


def _both(label: str, address: str) -> str:
    """The label if it says the same as the address; else both, one after the other."""
    if _bare(label) == _bare(address) or address in label:
        return label
    return f"{label} ({address})"


def _bare(address: str) -> str:
    """An address as people write it: without its scheme, a final slash and, in a number, what groups the digits."""
    bare = (
        re.sub(r"^(?:https?://|mailto:|tel:)", "", _plain(address).strip(), flags=re.IGNORECASE).rstrip("/").casefold()
    )
    return re.sub(r"[\s().\u00a0/-]", "", bare) if re.fullmatch(r"\+?[\d\s().\u00a0/-]+", bare) else bare


def live(raw: str, *, mentions: bool = False) -> str:
    """The text in Slack's markup, safe to post: emoji, bold and links work, and a link always shows its address.

    `mentions`: people, groups and `@here` are notified; else their names are words. Markup that is not one of Slack's
    tokens is inert.
    """
    shown, end = [], 0
    for token in _tokens(raw):
        shown += [_inert(raw[end : token.start()]), _live(token, mentions)]
        end = token.end()
    return "".join([*shown, _inert(raw[end:])])


def _inert(encoded: str) -> str:
    return _encoded(_plain(encoded))


def _encoded(plain: str) -> str:
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _live(token: re.Match[str], mentions: bool) -> str:
    sign, target, label = token[1], token[2], _label(token)
    if sign == "#":
        return f"<#{target}>"
    if sign:
        return f"<{sign}{target}>" if mentions and _calls(token) else _inert(_spelled(token))
    if not label or _bare(label) == _bare(target):
        return token[0]
    address = _address(target)
    return f"{_inert(label)} (<{target}>)" if address == target else f"{_inert(label)} (<{target}|{address}>)"


def _calls(token: re.Match[str]) -> bool:
    return token[1] == "@" or (token[1] == "!" and token[2].partition("^")[0] in PAGES | {"subteam"})


def calls(raw: str) -> bool:
    """Whether it names people, a group or everybody here, so that posting it could notify them."""
    return any(_calls(token) for token in _tokens(raw))


def emoji_names(text: str) -> tuple[str, ...]:
    """`:wave:` and the like, with their skin tones: a phone would show them literally. `10:30:45` is a time."""
    return tuple(dict.fromkeys(_emoji_names(text)))


def _emoji_names(text: str) -> Iterator[str]:
    start = 0
    while match := EMOJI_NAME.search(text, start):
        start = match.end() - 1  # the second colon may be the first of the next
        if _is_emoji_name(match[1], text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]):
            tone = SKIN_TONE.match(text, match.end())
            start = tone.end() if tone else match.end()
            yield match[0] + (tone[0] if tone else "")


def _is_emoji_name(name: str, before: str, after: str) -> bool:
    """Slack's names are in lower case. Digits beside digits are a time or a ratio."""
    if name != name.lower() or not any(char.isalnum() for char in name) or HOUR_LIKE.fullmatch(name):
        return False
    return not (name.isdigit() and (before.isdigit() or after.isdigit()))
