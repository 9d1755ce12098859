"""Seeds that found something, kept for ever: each is played by the tests."""

# The seed, and what it found in the product when it was played first.
KEPT: dict[int, str] = {}
