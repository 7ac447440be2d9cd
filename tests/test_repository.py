"""What the repository as a whole must not hold."""

from __future__ import annotations

import base64
import math
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: What a secret looks like that somebody would be sorry to have published.
SECRETS = {
    "a token of Slack's": r"xox[abeprs]-\d{9,}-[\w-]{20,}|xapp-\d-A\w{8,}-\d{9,}-\w{20,}",
    "a webhook of Slack's": r"hooks\.slack\.com/services/T\w{6,}/B\w{6,}/\w{16,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*[A-Za-z0-9+/]{20}",
    "a key of Amazon's": r"A[KS]IA[0-9A-Z]{16}\b",
    "a token of GitHub's": r"gh[opusr]_\w{36}\b|github_pat_\w{40,}",
    "a key of Google's": r"AIza[\w-]{35}\b",
    "a token of a package index": r"pypi-AgE[\w-]{50,}",
    "a web token": r"eyJ[\w-]{20,}\.eyJ[\w-]{20,}\.[\w-]{20,}",
    "a live key of a payment service": r"[rs]k_live_\w{20,}",
}
#: A value at which one cannot tell, so it is measured: random letters, of which each tells more than a word's.
NAMED = re.compile(
    r"(?:oken|ecret|_?[Kk]ey|assword|TOKEN|SECRET|KEY|PASSWORD)\w{0,20}[\"']?\s*[:=]\s*[\"']([A-Za-z0-9+/_=-]{24,})[\"']"
)
RANDOM = (
    4.3  # bits for each letter; 24 random letters of base64 have about 4.4, sentences and counted letters below 4.2
)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def entropy(text: str) -> float:
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)


def readable(value: str) -> bool:
    """Whether it is the base64 of a sentence, as the keys in tests are."""
    try:
        return base64.b64decode(value, validate=True).decode("ascii").isprintable()
    except ValueError:
        return False


def secrets_in(text: str) -> list[str]:
    found = [name for name, pattern in SECRETS.items() if re.search(pattern, text)]
    return found + [
        f"a random value: {value[:4]}…"
        for value in NAMED.findall(text)
        if entropy(value) > RANDOM and not readable(value)
    ]


def test_no_secret_is_in_the_repository() -> None:
    found = {}
    for path in tracked():
        if path.suffix == ".png":
            continue
        told = secrets_in(path.read_text(encoding="utf-8", errors="ignore"))
        if told:
            found[str(path.relative_to(ROOT))] = told
    assert found == {}


@pytest.mark.parametrize("secret", [
    "xox" + "b-123456789012-123456789012-abcdefghijABCDEFGHIJ1234",
    "-----BEGIN " + "EC PRIVATE KEY-----\nMHcCAQEEIIbellcrierbellcrierbell",
    "AKIA" + "ABCDEFGHIJKLMNOP",
    'api_key = "' + "q8Zr1LvT0x" + 'Yw5uN2kJb7PcEd3H"',
    "'SECRET_KEY': '" + "3n9TqXz7bVfK" + "1mR5wYcL8dGh2jPs4aQe6uZo0iBv'",
])  # fmt: skip
def test_a_secret_would_be_found(secret: str) -> None:
    assert secrets_in(secret)


def test_no_file_is_tracked_that_holds_somebodys_settings() -> None:
    names = {path.name for path in tracked()}
    assert names.isdisjoint({".env", "bellcrier.toml", "bellcrier.db", "bellcrier.db.key", "sbom.json"})
