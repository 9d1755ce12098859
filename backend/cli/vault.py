"""The keys that seal credentials."""

from collections.abc import Mapping
from typing import Any

from backend.cli.exits import Failed
from backend.cli.operator import administrator, opened
from backend.cli.output import Json, say, show
from backend.config import read_config
from backend.domain import exact_json
from backend.domain.errors import ExecError


async def rotate(*, json: Json = False) -> None:
    """Seal every credential with a fresh key, and drop the old keys.

    Servers of the same home may go on: they find the fresh key by themselves.
    """
    from backend.services import vault

    async with opened(read_config()) as backend:
        operator = await administrator(backend)
        try:
            made = await vault.rotate(backend.desk, backend.vault, operator)
        except ExecError as error:
            raise Failed(error.detail) from error
    show(exact_json.dumps(made), json, _rotated)


def _rotated(made: Mapping[str, Any]) -> None:
    say(f"{made['credentials']} credentials are sealed with the fresh key {made['key_id']}.")
    say(f"Old keys dropped: {made['dropped_keys']}.")
