"""Pages of long tables: one page looks at so many rows at most, whatever the filter."""

from backend.database import Row, Transaction

ROWS = 10_000


def bounds(tx: Transaction, table: str, column: str, before: int | None) -> tuple[int, int]:
    """Return (top, floor): a page looks at floor < `column` < top. Both are exclusive.

    Args:
        before: where the last page said to go on; None begins at the newest row.
    """
    newest = int(tx.value(f"SELECT MAX({column}) FROM {table}") or 0)  # noqa: S608
    top = min(before or newest + 1, newest + 1)
    return top, max(top - ROWS, 0)


def following(rows: list[Row], limit: int, floor: int, column: str) -> int | None:
    """Return where the next page goes on, None after the last; `rows` has up to limit + 1."""
    if len(rows) > limit:
        return int(rows[limit - 1][column])
    return floor + 1 if floor else None
