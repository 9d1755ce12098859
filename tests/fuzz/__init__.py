"""What strangers send: to our API, our tools, our sockets, and as an exchange's answers.

`python -m tests.fuzz --soak [--count N]` runs all of it at length.
"""
