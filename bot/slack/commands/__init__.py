"""Slash commands: reads what was typed and carries it out."""
