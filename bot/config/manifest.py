"""The manifest of the Slack app: what it may do and hear."""

from __future__ import annotations

from pathlib import Path


def manifest_file() -> Path:
    """Return the manifest's path: beside the packages in a checkout, inside the package once installed."""
    here = Path(__file__).parent.parent
    return next(path for path in (here / "manifest.yml", here.parent / "manifest.yml") if path.exists())


def scopes() -> tuple[str, ...]:
    """Return the scopes that the bot's token needs, as the manifest asks for them."""
    import yaml

    content = yaml.safe_load(manifest_file().read_text(encoding="utf-8"))
    return tuple(content["oauth_config"]["scopes"]["bot"])
