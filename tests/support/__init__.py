"""Helpers shared by the tests. No test module imports another; what two of them need is here."""
