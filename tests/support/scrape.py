"""What a running bot shows to Prometheus."""

from __future__ import annotations

from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


class Scrape:
    """One scrape: the text, and the value of every series."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        samples = [sample for family in self.families.values() for sample in family.samples]
        self.series: dict[tuple[str, Labels], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value for sample in samples
        }

    def __getitem__(self, name: str) -> float:
        """The sum of all series of this name."""
        return sum(value for (one, _), value in self.series.items() if one == name)

    def of(self, name: str, **labels: str) -> float | None:
        return self.series.get((name, frozenset(labels.items())))

    @property
    def queryable(self) -> set[str]:
        """The names that a query may use, also of metrics that have no series yet."""
        parts = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
        types = [line.split()[2:4] for line in self.text.splitlines() if line.startswith("# TYPE ")]
        return {name + part for name, kind in types for part in parts.get(kind, ("",))}

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.series}

    @property
    def labels(self) -> set[str]:
        return {label for _, labels in self.series for label, _ in labels}


async def scrape(address: str) -> Scrape:
    async with ClientSession() as web, web.get(f"http://{address}/metrics") as answer:
        assert answer.status == 200
        return Scrape(await answer.text())
