"""The pretend vendors: Encom, Octopush and Kaizala, with one ledger of what was accepted to be sent."""
