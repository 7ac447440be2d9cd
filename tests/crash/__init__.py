"""The crash matrix: the real bot is killed at every named point, on both databases, and nothing may go out twice."""
