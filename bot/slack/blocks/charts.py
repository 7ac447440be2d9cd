"""The chart of what became of a broadcast: Slack's own block, and bars of text where Slack refuses it.

Limits: docs.slack.dev/reference/block-kit/blocks/data-visualization-block. The block reaches workspaces one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.domain.i18n import Translator, Value
from bot.domain.progress import drawn_bar
from bot.slack.blocks.mrkdwn import Block, quote, section

CHART = "data_visualization"
TITLE, LABEL, SEGMENTS = 50, 20, 6

#: What a chart shows, in this order, by the names of its values in a note.
LABELS: Mapping[str, str] = {
    "chart_delivered": "Delivered",
    "chart_sent": "Sent",
    "chart_failed": "Failed",
    "chart_blacklisted": "Blacklisted",
    "chart_expired": "Expired",
    "chart_unknown": "Not known",
}


def deliveries_chart(values: Mapping[str, Value], words: Translator) -> list[Block]:
    """Return the chart of the numbers among the values of a note; nothing if there are none."""
    numbers = {name: number for name in LABELS if isinstance(number := values.get(name), int) and number > 0}
    segments = [{"label": words(LABELS[name])[:LABEL], "value": number} for name, number in numbers.items()]
    if not segments:
        return []
    return [
        {"type": CHART, "title": words("Deliveries")[:TITLE], "chart": {"type": "pie", "segments": segments[:SEGMENTS]}}
    ]


def has_chart(blocks: Sequence[Block]) -> bool:
    return any(block["type"] == CHART for block in blocks)


def without_charts(blocks: Sequence[Block]) -> list[Block]:
    """Return the same blocks with each chart as bars of text, which show the same numbers."""
    return [_in_text(block) if block["type"] == CHART else block for block in blocks]


def _in_text(chart: Block) -> Block:
    segments = chart["chart"]["segments"]
    whole = sum(one["value"] for one in segments)
    bars = [f"`{drawn_bar(one['value'], whole)}` {quote(one['label'])}: {one['value']}" for one in segments]
    return section("\n".join(bars))
