"""The real core in a pretended world: one seed decides every choice, delay, fault and crash, and time is a number.

`run.py` holds the world and its life, `steps.py` what may happen in it, `vendors.py` the vendors and the line to them,
`store.py` the database, `process.py` one replica of the bot, `witness.py` the promises I1 to I8, `mutants.py` cores
that break one of them. `python -m tests.simulation --help` runs it from a shell.
"""
