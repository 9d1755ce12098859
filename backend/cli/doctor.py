"""Self-diagnosis: what is so, and what is wrong."""

from collections.abc import AsyncIterator
from typing import Annotated

from cyclopts import Parameter

from backend.cli import checkup
from backend.cli.checkup import Finding
from backend.cli.exits import FAILED, OK, Unreachable
from backend.cli.operator import administrator, opened
from backend.cli.output import Json, say, table
from backend.config import Config, SettingError, read_config
from backend.domain import exact_json


async def doctor(
    *,
    accept_clock: Annotated[bool, Parameter(name="--accept-clock")] = False,
    json: Json = False,
) -> int:
    """Tell what is so; exit code 1 when something is wrong.

    Parameters
    ----------
    accept_clock:
        Take the clock as it is, after it was set back: pending plans are cancelled.
    """
    config = read_config()
    if accept_clock:
        await _accept_clock(config)
    findings = [finding async for finding in _findings(config)]
    if json:
        say(exact_json.dumps({"findings": [finding._asdict() for finding in findings]}))
    else:
        table(("", "what", "found"), findings, "")
    return FAILED if any(finding.status == "wrong" for finding in findings) else OK


async def _findings(config: Config) -> AsyncIterator[Finding]:
    # Files are looked at first: opening the home puts some of them right.
    for finding in (*checkup.program(), *checkup.files(config), *checkup.settings(config)):
        yield finding
    yield await checkup.prices(config)
    try:
        async with opened(config) as backend:
            for finding in await checkup.inside(backend.desk, backend.vault):
                yield finding
    except (SettingError, Unreachable) as error:
        yield Finding("wrong", "start", str(error))
    yield await checkup.server(config)


async def _accept_clock(config: Config) -> None:
    """Set the high-water mark back to the clock, as the operator.

    Raises:
        Failed: the token is not an operator's, or the clock is not behind.
    """
    async with opened(config) as backend:
        operator = await administrator(backend)
        desk = backend.desk
        now = desk.clock()
        behind_s = await desk.database.write(lambda tx: checkup.accept_clock(tx, now, operator))
    await checkup.accept_elsewhere(config, now)
    say(f"The clock was {behind_s} s behind; it is accepted, and pending plans are cancelled.")
