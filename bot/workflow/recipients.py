"""Who a request reaches: its audience, the test audience in its place, or a few people first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bot.config.settings import AudienceSettings
from bot.domain.broadcast import MOST_IN_A_TEST, BroadcastRequest
from bot.domain.errors import FieldError, InvalidRequest
from bot.domain.i18n import Translatable, Value
from bot.workflow.audiences import Audiences


@dataclass(frozen=True)
class Recipients:
    """Who a request reaches, and how many people at most, if that is known now.

    `test_of`: the audience that was asked for, if this is the test audience in its place.
    """

    name: str
    settings: AudienceSettings
    most: int | None
    test_of: str | None = None

    def bound(self, quorum: int) -> int | None:
        """How many people it may reach with so many approvals: a test without one reaches few."""
        if self.test_of is None or quorum or self.most is None or self.most > MOST_IN_A_TEST:
            return self.settings.max_size
        return min(MOST_IN_A_TEST, self.settings.max_size or MOST_IN_A_TEST)


def recipients_of(audiences: Audiences, name: str, *, test: bool = False) -> Recipients:
    """Who a request for this audience reaches. Raises InvalidRequest if there is no such audience to send to."""
    settings = audiences.audience(name)
    if settings is None:
        raise InvalidRequest(FieldError("audience", audiences.unknown_audience(name)))
    if not test:
        return Recipients(name, settings, settings.max_size)
    chosen = audiences.provider_of(settings).settings.test_audience
    if chosen is None or chosen not in audiences.settings.audiences:
        template = (
            "The account of “{audience}” has no test audience. Ask an admin to set `test_audience` under "
            "`[accounts.{account}]`."
        )
        values: dict[str, Value] = {"audience": name, "account": settings.account}
        raise InvalidRequest(FieldError("audience", Translatable(template, **values)))
    found = audiences.settings.audiences[chosen]
    size = audiences.audience_cache.size_of(chosen)
    return Recipients(chosen, found, found.max_size if size is None else size, test_of=name)


def is_small(audiences: Audiences, name: str) -> bool:
    """Whether it is known that this audience has as few people as a test may reach."""
    settings, size = audiences.settings.audiences[name], audiences.audience_cache.size_of(name)
    most = settings.max_size if size is None else size
    return most is not None and most <= MOST_IN_A_TEST and not settings.everyone


def complaints_about_test(request: BroadcastRequest) -> Iterator[FieldError]:
    """What a test cannot have: it goes at once, to the test audience alone."""
    if request.send_at is not None:
        yield FieldError("send_at", Translatable("A test goes out at once. Leave out the start (`at=`)."))
    if request.canary is not None:
        template = "A test goes to the test audience alone. Leave out the canary (`canary=`)."
        yield FieldError("canary", Translatable(template))


def canary_complaint(audiences: Audiences, name: str, of: AudienceSettings) -> FieldError | None:
    """Why this audience cannot get a broadcast first; None if it can."""
    settings = audiences.audience(name)
    values: dict[str, Value] = {"name": name, "account": of.account, "most": MOST_IN_A_TEST}
    if settings is None:
        return FieldError("canary", audiences.unknown_audience(name))
    if settings.account != of.account:
        template = "“{name}” belongs to another account. Choose a canary of the account {account}."
    elif settings.id == of.id and settings.kind is of.kind:
        template = "“{name}” is the audience itself. Choose a smaller one to get it first."
    elif not is_small(audiences, name):
        template = "“{name}” may have more than {most} people. Choose a smaller canary, or set its `max_size`."
    else:
        return None
    return FieldError("canary", Translatable(template, **values))
