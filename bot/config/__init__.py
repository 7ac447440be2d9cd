"""What the operator sets: the settings, and the accounts that they name."""
