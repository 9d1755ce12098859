"""Backup and restore in the middle of trading: nothing is sent twice, nothing is lost unsaid.

    python -m tests.restore --soak [--count N] [--first N]    cycles at random, as figures

One cycle (`cycle.py`): a load trades; `exec-mcp backup`, in its own process, copies the books
at some moment of it; the load goes on; the server is stopped or killed; the files are put back
in one of several ways (`copies.py`); the server starts. Then it must be quarantined, its plans
void, its kill switches at least what they were; what left after the copy is found again by the
send journal and by the exchange; nothing trades until the operator lifts; after that the books
are the exchange's and trading goes on. Each cycle restores twice. `grounds.py` has what is
traded: the paper exchange and both simulated ones.
"""
