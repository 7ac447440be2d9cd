"""What the bot costs, measured beside known anchors in one run. See README.md."""
