"""Slash commands: what was typed, read and carried out."""
