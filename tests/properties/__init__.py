"""What must hold whatever happens: a machine of random lives, and properties of every rule.

`python -m tests.properties --soak [--count N]` runs all of it at length.
"""
