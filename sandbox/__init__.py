"""A pretend Slack workspace, its web page, and pretend vendors, on real sockets. Speaks only the wire."""
