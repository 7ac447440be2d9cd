"""A pretend Slack workspace, its web page, and pretend vendors, on real sockets. It uses only the wire protocols."""
