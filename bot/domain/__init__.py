"""What the bot is about, as values and rules: pure, without a database, Slack or a vendor."""
