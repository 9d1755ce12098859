"""Our own tests use the testing kit as any project would."""

pytest_plugins = ["backend.testing"]
