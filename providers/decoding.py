"""Decodes what vendors send: bytes in any charset as text, and JSON."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

CHARSET = re.compile(r"""(?i)\bcharset\s*=\s*["']?([^\s"';,]{1,40})""")
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
#: Python's own notations, which it lists as charsets but no vendor uses.
NO_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined"})


def decoded(body: bytes, content_type: str) -> str:
    """A vendor's bytes as text: by their byte order mark, else by the declared charset, else as UTF-8.

    Anything else is read as Latin-1, where every byte is a character. Codes and ids are ASCII, so a wrong accent beside
    them makes nothing unreadable. An unknown charset counts as none.
    """
    declared = CHARSET.search(content_type)
    names = [name for mark, name in MARKS if body.startswith(mark)]
    names += [declared[1]] if declared else []
    for name in (*names, "utf-8"):
        try:
            if codecs.lookup(name).name.replace("-", "_") not in NO_CHARSETS:
                return body.decode(name)
        except (LookupError, ValueError):  # not a charset's name, or not its bytes
            continue
    return body.decode("latin-1")


def parsed(text: str) -> Any:
    """Parse this JSON. Raises ValueError if it is not JSON, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_in(body: bytes, content_type: str) -> Any:
    """The same for bytes. A declared charset that makes nonsense of them, as UTF-16 does of ASCII, is ignored."""
    try:
        return parsed(decoded(body, content_type))
    except ValueError:
        return parsed(decoded(body, ""))
