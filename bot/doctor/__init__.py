"""The check of a set-up: what is wrong with the settings, the database, Slack and the vendors, and how to fix it."""
