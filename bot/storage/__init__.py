"""All SQL, as plain functions of a sync `Connection`, one file for each noun.

A row moves only from the state and version that the caller last saw. Who moved it is written in the same transaction.
Every function here runs inside a transaction that its caller began.
"""
