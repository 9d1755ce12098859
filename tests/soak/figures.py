"""What a long campaign tells of itself: one JSON line per figure on standard output.

`python -m tests.soak` runs every campaign as a process of its own and prints one table.
"""

import json
import sys
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        campaign: such as `simulation` or `kill -9, WAL`.
        what: what was counted or timed.
        value: as read by a person, such as `100,000` or `38 ms`.
        bound: what it must be, such as `0` or `<= 50 ms`; empty where it is only told.
        kept: whether it is within its bound; None where there is none.
    """

    campaign: str
    what: str
    value: str
    bound: str = ""
    kept: bool | None = None


def tell(figure: Figure) -> None:
    """Print one figure as a JSON line, at once."""
    sys.stdout.write(json.dumps(asdict(figure)) + "\n")
    sys.stdout.flush()


def heard(line: str) -> Figure:
    """Read a line that `tell` printed."""
    return Figure(**json.loads(line))
