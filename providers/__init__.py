"""Talks to vendors; knows nothing of Slack or of the bot."""
