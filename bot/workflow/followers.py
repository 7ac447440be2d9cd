"""Who hears of decisions and ends, as the settings say."""

from __future__ import annotations

from bot.config.settings import Settings
from bot.domain.lifecycle import Action
from bot.storage.news import DECISIONS, NEWS, Followers

HEARD = {"all": NEWS, "decisions": DECISIONS, "off": frozenset[Action]()}


def followers_in(settings: Settings) -> Followers:
    """Return who hears of what in the workspace with these settings."""
    told = settings.notifications
    audiences = {name: audience.watchers for name, audience in settings.audiences.items() if audience.watchers}
    return Followers(HEARD[told.requester], told.watchers, audiences)
