"""What the audit keeps of each step."""

from __future__ import annotations

from bot.storage import audit
from tests.support.core import APPROVERS, TEAM, Core


async def test_every_step_of_a_life_is_in_the_audit_with_its_digest(core: Core) -> None:
    row = await core.approved()
    await core.run(core.dispatcher("a"))
    steps = await core.database.read(lambda c: [dict(step) for step in audit.history(c, TEAM, row.id)])
    assert [step["action"] for step in steps] == ["submit", "approve", "start", "release", "accept"]
    assert {step["digest"] for step in steps} == {row.digest}
    assert steps[1]["actor"] == APPROVERS[0]
