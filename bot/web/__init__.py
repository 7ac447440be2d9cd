"""The HTTP side: Slack's requests, vendors' callbacks, health and metrics."""
