"""Seeds that are kept for ever, and those that find broken products out."""

# What it found in the product when it was first played. A change of the world gives a seed
# another life: each find has a test of its own beside, where one could be written.
KEPT: dict[int, str] = {
    74: "a full disk ended the task that follows a private stream",
    116: "the same, by an I/O error",
    2014: "a paper book that cannot be opened was no silence of the exchange but a bug",
    6096: "a ROLLBACK of what SQLite had rolled back hid why a database could not be opened",
    10346: "a paper book that is locked for long was a bug as well",
    10686: "a server that was told to stop waited for ever for a stream that missed its cancel",
    10916: "the same, with two servers",
}

# By name in `broken`: the first seed in which the oracle finds it out. After a change of the
# world `python -m tests.simulation --broken` says the new ones.
FINDERS: dict[str, int] = {
    "absent-at-once": 221,
    "cancelled-on-the-spot": 0,
    "claimed-twice": 24,
    "holds-kept": 5,
    "no-fence": 74,
    "no-high-water": 1,
    "released-on-silence": 41,
    "sent-again": 13,
    "stopped-by-nothing": 27,
}
