"""The product's guards, one taken away at a time: a test must notice each.

`tests/model` does the same to the protocol; here it is done to the code. `python -m tests.mutants`
tries all of them in a copy of the tree, never in the tree itself.
"""
