"""What the bot posts by itself: cards, threads, reminders, messages."""
