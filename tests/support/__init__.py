"""What the tests stand on. No test module imports another one; what two of them need is here."""
