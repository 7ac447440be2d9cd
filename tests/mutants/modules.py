"""Which tests should notice a fault in which module: quick ones first, since one failure is enough."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
NO_HOLES = Path(__file__).with_name("no_holes.txt")


@dataclass(frozen=True)
class Module:
    """`steps`: arguments for pytest, run one after the other until a test fails."""

    path: str
    steps: tuple[str, ...]


CONTRACT = "tests/providers/test_contract.py"

SMALL = "-k 'not postgresql'"  # where both databases are alike, one is enough

LONG = f"tests/sending tests/waiting tests/workflow -m 'long and not alone' {SMALL}"

SLOW = "--ignore tests/workflow/test_authority.py --ignore tests/sending/test_vendor_trouble.py"  # run last

TEXT = ("tests/domain/test_text.py", "tests/providers/test_contract.py", "tests/slack/test_typed_wrong.py")
TIMES = ("tests/when", "tests/slack/test_typed.py tests/recurring/test_recurring.py")
APPROVALS = (
    f"tests/workflow tests/recurring/test_covers.py tests/slack/test_seen_and_approved.py {SLOW} {SMALL}",
    f"tests/sending tests/waiting {SLOW} {SMALL}",
    "tests/slack tests/workflow/test_authority.py",
    LONG,
)
DISPATCH = (
    f"tests/sending {SLOW} {SMALL}",
    f"tests/waiting tests/workflow {SLOW} {SMALL}",
    f"tests/slack tests/sending/test_vendor_trouble.py {SMALL}",
    "tests/config/test_adapters.py tests/test_simulation.py",
    LONG,
)
DOORS = ("tests/web/test_doors.py", "tests/web/test_web.py")
RECEIPTS = (
    f"tests/sending/test_receipts.py tests/sending/test_counting.py {SMALL}",
    f"tests/sending {SLOW} {SMALL}",
    "tests/web/test_web.py",
)

MODULES = {
    "sms": Module("bot/domain/sms.py", TEXT),
    "marketing": Module("bot/domain/marketing.py", TEXT),
    "placeholders": Module("bot/domain/placeholders.py", TEXT),
    "suggestions": Module("bot/domain/suggestions.py", TEXT),
    "slots": Module("bot/domain/slots.py", ("tests/domain/test_slots.py",)),
    **{
        name: Module(
            f"bot/workflow/{name}.py", (f"tests/workflow/test_templates.py {SMALL}", "tests/slack/test_templates.py")
        )
        for name in ("templates", "template_approval", "template_cover", "template_use")
    },
    **{
        name: Module(
            f"bot/workflow/{name}.py",
            (f"tests/workflow/test_break_glass.py {SMALL}", "tests/slack/test_break_glass.py"),
        )
        for name in ("break_glass", "break_glass_rules", "reviews")
    },
    "slack_text": Module("bot/domain/slack_text.py", TEXT),
    "hours": Module("bot/domain/hours.py", ("tests/domain/test_hours.py", "tests/domain/test_hours.py -m long")),
    "approval_rules": Module("bot/workflow/approval_rules.py", ("tests/workflow/test_policy.py", *APPROVALS)),
    **{
        name: Module(f"bot/workflow/{name}.py", APPROVALS)
        for name in (
            *("approvals", "approvers", "permissions", "series_approval", "approval_validity"),
            *("decisions", "decision_types", "editing", "learned_sizes", "card_changes"),
            *("gate", "kill_switch", "clock_guard"),
        )
    },
    "receipts": Module("bot/storage/receipts.py", RECEIPTS),
    "vendor_ids": Module("bot/storage/vendor_ids.py", RECEIPTS),
    **{
        name: Module(f"bot/sending/{name}.py", DISPATCH)
        for name in (
            *(
                "dispatcher",
                "claims",
                "breakers",
                "slots",
                "recovery",
                "release",
                "outcomes",
                "setbacks",
                "sizes",
                "staging",
            ),
            *("leases", "tokens"),
        )
    },
    "callbacks": Module("bot/web/callbacks.py", DOORS),
    "slack": Module("bot/web/slack.py", DOORS),
    "bodies": Module("bot/web/bodies.py", DOORS),
    "instants": Module("bot/when/instants.py", TIMES),
    "clock_times": Module("bot/when/clock_times.py", TIMES),
    "dates": Module("bot/when/dates.py", TIMES),
    "recurrence": Module("bot/when/recurrence.py", TIMES),
    "recurrence_parser": Module("bot/when/recurrence_parser.py", TIMES),
    "encom": Module("providers/encom.py", (f"tests/providers/test_encom.py {CONTRACT} -k encom", "tests/providers")),
    "octopush": Module(
        "providers/octopush.py", (f"tests/providers/test_octopush.py {CONTRACT} -k octopush", "tests/providers")
    ),
    "kaizala": Module(
        "providers/kaizala.py", (f"tests/providers/test_kaizala.py {CONTRACT} -k kaizala", "tests/providers")
    ),
    "http": Module("providers/http.py", (f"tests/providers/test_http.py {CONTRACT}", "tests/providers")),
}


def commands(module: Module) -> list[list[str]]:
    """Return the arguments for pytest, step by step, without files that do not exist."""
    steps = (shlex.split(step) for step in module.steps)
    return [[word for word in words if not word.endswith(".py") or (ROOT / word).exists()] for words in steps]


def reasons() -> dict[tuple[str, str], str]:
    """Read the harmless faults, one `module: where: change = reason` per line, by module and by `where: change`."""
    lines = NO_HOLES.read_text(encoding="utf-8").splitlines() if NO_HOLES.exists() else []
    found = (re.fullmatch(r"(\w+): (.+) = (.+)", line) for line in lines if not line.startswith("#"))
    return {(match[1], match[2]): match[3] for match in found if match}
