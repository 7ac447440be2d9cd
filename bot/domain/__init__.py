"""The domain of the bot as pure values and rules, without a database, Slack or a vendor."""
