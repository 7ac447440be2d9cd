"""Block Kit, as pure functions of what is shown."""
