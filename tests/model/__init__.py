"""The protocol as a model, searched whole: confirm, send, settle, reconcile, stop, restart.

    python -m tests.model                    the configurations of `make test`
    python -m tests.model --all              those of `make soak` too
    python -m tests.model --mutants          every mutant and hole, one line each
    python -m tests.model --mutant NAME      the shortest trace that shows what the guard is for

**What it does.** A state is a row of small numbers packed into bytes (`state.py`). `steps`
(`protocol.py`) lists everything that may happen next: a transaction, a line in the journal,
a message on or off the wire, a tick, a fault. A search from the first state reaches every
state there is, breadth first, so that the trace to a broken one is a shortest one
(`explore.py`). In each state the promises are looked at (`invariants.py`). After that the
search runs backwards from all settled states over the steps that are neither a fault, nor
luck, nor an operator's: a state that is not reached could never come to rest (AG EF).

**What is modelled.** One trade of two lots, so that it can be partly filled. Two confirms,
alike, so that they stand in a fixed order; the same with two reconcilers. Each dies between
any two of its steps. Dismissal and the sweeper; `cancel_order`, whose cancel may be lost, come
too early or race a fill. A network that loses requests and answers, lets them come late, and
in a stream brings any report ever sent at any time, again and again, or never. Look-ups that
lag, go blind for a moment, miss the order by its id, find it renamed, or tell of fills
without bringing them. Our clock steps forward and back, with the high-water mark, the
exchange's clock as we estimate it, and the paper exchange, whose clock is ours. The kill
switch with its wait and the 1 s gate. A copy of the database, taken at any time and restored
at any later one, with the send journal and the fence at the start. A second server that
starts meanwhile. The same with a copy of the whole home, whose journal comes back with it: there
only what is sent counts, for the books have forgotten more than they can know. An exchange that
breaks its word: it fills what was over, or takes an order after its validity. Client order ids
that are unique for ever, among open orders, or not checked.

**What is left out, and why that is sound.**

- More than one trade: trades meet in balances and limits only, which a claim reads and writes in
  its own transaction (`tests/services`, `tests/processes`). A fill of nobody's order stands for
  another trade's.
- Prices, fees, quantities: no step of the protocol depends on them; two lots are enough for
  "partly" and "all".
- What is refused before the claim: a refused confirm changes nothing.
- Approval, tokens, limits: conditions read in the claim's transaction, as the kill switch is.
- SQLite: one write is one step (`BEGIN IMMEDIATE`, fsync). That a write is whole or not at all
  is for the tests that kill processes.
- Real time: validity, margin, spacing and gate are one tick or none, a plan lives two. The last
  tick stands for "long after": what ages has aged, nothing enters any more. A question asked
  before it does not count as asked in it.
- Two "not found" stand for three: our clock steps forward at most once, look-ups go blind once.
- Requests that the network repeats: TLS and a nonce refuse them. Without one, an exchange that
  checks no ids makes two orders of them, and nothing on our side prevents it (mutant `nonce`).
- A paper book that is restored: an exchange whose history went back, for a person to judge.

**How a guard maps to code.** `guards.py` names each check, and each order of two steps, by a
boolean. `mutants.py` takes each away and names the file and the text in it that it stands
for; a test looks that the text is there. Where two guards double each other both are taken
away, and the sentence says so. Legal edges are read from `backend/domain`. `holes.py` has the
guards that the code lacks: each is a weakness with its trace. Once the code closes one, move it
to `mutants.py`. `configurations.AS_BUILT` is the protocol without them: the core is searched so.

**What the fence rests on**, by its mutants: the line is written after the claim's commit
(`journal_after_claim`) and before the gate (`journal_before_send`, `gate_after_journal`); a
start reads the journal first and the database after it (`fence_reads_journal_first`); orders
come back with their hold and their own validity (`fence_recovers`, `fence_keeps_validity`),
plans are void (`fence_voids_plans`), it is raised once for what is lost (`fence_once`), and a
backup is marked as one (`copy_mark`). A copy made by other means is another file than before
(`place`), and a kill switch has its own line (`journal_has_kills`). What is left is in `holes.py`:
a volume that is rolled back, and a plan that ended before a kill and an old file written over.

**Numbers**, of the configurations of `make test`; `make soak` searches some ten million states more
and prints its own.

    configuration                              states  transitions
    core, each meaning of an id               138,773    1,255,185
    paper                                      95,517      766,454
    an order hides                             29,876      133,414
    look-ups go blind                          47,401      222,185
    look-ups without fills                     12,872       94,562
    requests come twice                        26,651      219,374
    a fill after the end                       26,533      233,611
    entry after validity                       13,509       91,666
    a second server starts                     33,103      171,124
    a copy is restored                         39,371      200,618
    a backup is restored                       58,601      292,254
    the whole home is restored                 97,695      586,957

The three meanings of a client order id give the same numbers: the protocol sends once, so it
never leans on what an exchange checks. Every mutant dies, the quickest after 3 steps, the longest
trace has 19. 3 holes show in traces of 6 to 11 steps. 2 guards are spare.
"""
