"""The only wing that makes phones ring: it claims what is due, releases it once, and records what came back."""
