"""Recurring broadcasts and reminders: asked for, made in time, answered, missed."""
