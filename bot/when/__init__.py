"""Reads times and recurrences typed in English, French or Spanish, and finds the instants that they mean.

The grammar is strict: it refuses what it does not know. We tried date-text libraries, and they guess ("demain 9h"
became 19:00). A send at a guessed hour cannot be taken back.
"""
