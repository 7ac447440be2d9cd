"""What the command `bellcrier` starts: the help of all commands at once, everything else by click.

Importing click alone takes an eighth of the time in which a bare Bolt app starts. `help.txt` is what click would print,
and a test compares them.
"""

from __future__ import annotations

import sys


def main() -> None:
    if sys.argv[1:] in (["--help"], ["-h"]):
        with open(__file__.removesuffix("entry.py") + "help.txt", encoding="utf-8") as text:
            sys.stdout.write(text.read())
        return
    from bot import cli

    cli.main(prog_name="bellcrier")


if __name__ == "__main__":
    main()
