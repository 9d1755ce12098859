"""Whether the disk can be trusted with new risk, and what is wrong with it if not.

| what fails                     | what stops          | until                               |
|--------------------------------|---------------------|-------------------------------------|
| less than 64 MiB are free      | plan and confirm    | there is room again                 |
| no room in a write             | that write          | there is room again                 |
| a commit, or any sync          | every write         | a restart, which reads what is left |
| a damaged page                 | every write         | a copy is put in the file's place   |
| the send journal, but for room | plan and confirm    | a restart                           |

Look-ups go on where the file can be read. Nothing is sent that was not certain to be written.
"""

from backend.disk import nearly_full
from backend.domain.errors import Refused
from backend.services import Desk, log


def ailment(desk: Desk) -> str | None:
    """Say why no new risk is taken, and what to do; None when the disk is well."""
    if desk.database.failure:
        return f"the database has failed: {desk.database.failure}"
    if desk.journal.failure:
        return f"the send journal cannot be written ({desk.journal.failure}): restart the server"
    config = desk.config
    folders = {config.database.parent, config.journal.parent, config.home}
    return nearly_full(sorted(folders))


def refuse_unsafe(desk: Desk) -> None:
    """Refuse new risk while the disk ails.

    Raises:
        Refused: `storage`.
    """
    if why := ailment(desk):
        raise Refused(f"{why}; nothing happened", "storage")


async def look_through(desk: Desk) -> None:
    """Look through the whole database, beside everything else."""
    try:
        await desk.database.check_apart()
    except Refused as error:  # Another process has the lock, say: next time.
        log.info("storage.not_checked", detail=error.detail)
