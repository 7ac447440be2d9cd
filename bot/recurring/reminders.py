"""Puts together the parts of this package."""

from __future__ import annotations

from bot.config.runtime import Runtime
from bot.domain.people import Directory
from bot.recurring.answers import Answers
from bot.recurring.missed import Missed
from bot.recurring.occurrences import Occurrences
from bot.recurring.owners import Owners
from bot.recurring.requests import Requests
from bot.recurring.schedules import Schedules
from bot.recurring.timekeeper import Timekeeper
from bot.workflow.workflow import Workflow


class Reminders:
    """Recurring broadcasts and reminders, from the request to the last occurrence."""

    def __init__(self, runtime: Runtime, workflow: Workflow, people: Directory) -> None:
        self.database, self.workflow = runtime.database, workflow
        occurrences = Occurrences(runtime, workflow, Owners(runtime.settings, people))
        self.schedules, answers = Schedules(runtime, people), Answers(runtime)
        requests = Requests(runtime, workflow, occurrences)
        self.timekeeper = Timekeeper(runtime, self.schedules, occurrences, Missed(runtime))
        self.add, self.plan, self.keep, self.is_when = requests.add, requests.plan, requests.keep, requests.is_when
        self.find, self.listed, self.made = self.schedules.find, self.schedules.listed, self.schedules.made
        self.pause, self.resume, self.stop = self.schedules.pause, self.schedules.resume, self.schedules.stop
        self.answer, self.occurrence_at, self.tick = answers.answer, answers.occurrence_at, self.timekeeper.tick
