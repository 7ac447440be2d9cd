"""A pytest plugin: the first failure ends the run at once, since a fault may keep what comes after it from ending."""

from __future__ import annotations

import os

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        os._exit(1)
