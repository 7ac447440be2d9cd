"""Builds these pages into a site: `sphinx-build -W docs site`."""

from importlib import metadata

project = "bellcrier"
release = version = metadata.version("bellcrier")
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "bellcrier"
html_static_path: list[str] = []
exclude_patterns = ["site"]
