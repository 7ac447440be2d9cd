"""What a person typed as a time or as a recurrence, in English, French or Spanish, and the instants that come of it.

A strict grammar: what it does not know it refuses. Date-text libraries were tried and guess ("demain 9h" became
19:00); a send at a guessed hour cannot be taken back.
"""
