"""bellcrier: the bot itself, from Slack down to the store."""
