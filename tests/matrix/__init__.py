"""The whole server against each exchange's simulator: the failure matrix and the regressions."""
