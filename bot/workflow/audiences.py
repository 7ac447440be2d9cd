"""The audiences that the settings name: their accounts, their hours, and what a card shows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bot.config.accounts import Account
from bot.config.settings import AudienceSettings, Settings
from bot.domain import placeholders, suggestions
from bot.domain.broadcast import Broadcast
from bot.domain.clock import SECOND, Micros, moment
from bot.domain.hours import Allow, HoldUntil, Hours, Policy, Verdict, decide, next_open
from bot.domain.i18n import Translatable
from bot.domain.price import price_of
from bot.workflow import checks
from bot.workflow.audience_cache import AudienceCache
from bot.workflow.deadlines import policy_for
from bot.workflow.gate import Gates
from providers.base import Purpose


@dataclass(frozen=True)
class Outlook:
    """What the sending hours allow at an instant. `opens`: the first one from then on at which it may go, if any."""

    verdict: Verdict
    opens: Micros | None


@dataclass(frozen=True)
class Audiences:
    """The audiences of the settings, with their accounts and their policies.

    `placeholders`: those of every known vendor, whether or not it has an account here.
    """

    settings: Settings
    providers: Mapping[str, Account]
    policies: Mapping[str, Policy]
    audience_cache: AudienceCache
    placeholders: frozenset[str] = frozenset()

    def audience(self, name: str) -> AudienceSettings | None:
        return self.settings.audiences.get(name)

    def unknown_audience(self, name: str) -> Translatable:
        known = ", ".join(sorted(self.settings.audiences)) or "—"
        near = suggestions.nearest(name, self.settings.audiences)
        if near:
            return Translatable("There is no audience “{name}”. Did you mean “{near}”?", name=name, near=near)
        return Translatable("There is no audience “{name}”. The audiences are: {known}.", name=name, known=known)

    def provider_of(self, audience: AudienceSettings) -> Account:
        return self.providers[audience.account]

    def as_typed(self, broadcast: Broadcast) -> Broadcast:
        """The same without its sender if that is its account's own, which nobody typed."""
        account = self.providers.get(broadcast.account)
        own = account is not None and broadcast.sender == account.default_sender
        return replace(broadcast, sender=None) if own else broadcast

    def mention_for(self, name: str, purpose: Purpose) -> str | None:
        """The opt-out mention that a text to this audience must end with."""
        audience = self.settings.audiences[name]
        if purpose is Purpose.TRANSACTIONAL:
            return None
        return audience.stop_mention or self.provider_of(audience).mention

    def terms(self, name: str, purpose: Purpose) -> checks.Terms:
        """The terms for a text to this audience."""
        provider = self.provider_of(self.settings.audiences[name])
        used = (field for one in self.providers.values() for field in one.capabilities.placeholders)
        return checks.Terms(
            vendor=provider.title,
            capabilities=provider.capabilities,
            mention=self.mention_for(name, purpose),
            opt_out=self.mention_for(name, Purpose.MARKETING),
            elsewhere=self.placeholders.union(used),
        )

    def hours(self, broadcast: Broadcast) -> Hours:
        """The sending hours of its policy for its purpose; any hour if it has no policy."""
        found = policy_for(self.policies, broadcast)
        return found.marketing if broadcast.purpose is Purpose.MARKETING else found.transactional

    def facts(self, broadcast: Broadcast, now: Micros) -> dict[str, str | int | None]:
        """The facts on its card that a decision depends on, as JSON values. A press counts only for the facts shown."""
        outlook, misfit = self.outlook(broadcast, max(broadcast.send_at or 0, now)), self.misfit(broadcast)
        unnamed = broadcast.unnamed if placeholders.fills_in_names(broadcast.text) else None
        return {
            "size": broadcast.size,
            "bound": broadcast.bound if broadcast.size is None else None,
            "unnamed": unnamed or None,
            "cost": price_of(broadcast.staged) or broadcast.quoted,
            "opens_at": None if isinstance(outlook.verdict, Allow) else outlook.opens or 0,
            "quorum": broadcast.quorum,
            "mode": broadcast.mode,
            "misfit": str(misfit) if misfit is not None else None,
        }

    def misfit(self, broadcast: Broadcast) -> Translatable | None:
        """Why the current settings would hold it even once approved (another mode, no such policy); else None."""
        return Gates(self.settings, self.providers, self.policies).misfit(broadcast)

    def outlook(self, broadcast: Broadcast, instant: Micros) -> Outlook:
        """Whether it may go at that instant and, if not, when it may."""
        found, asked = policy_for(self.policies, broadcast), moment(instant)
        verdict = decide(found, broadcast.purpose, asked)
        if isinstance(verdict, Allow):
            return Outlook(verdict, instant)
        opens = verdict.instant if isinstance(verdict, HoldUntil) else next_open(found, broadcast.purpose, asked)
        return Outlook(verdict, int(opens.timestamp()) * SECOND if opens else None)
