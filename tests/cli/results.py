"""What came of a command."""

from typing import Any, NamedTuple

from backend.domain import exact_json


class Result(NamedTuple):
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the output as JSON, numbers as Decimals."""
        return exact_json.loads(self.out)
