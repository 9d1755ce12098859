"""The conformance suites: how each is run, what must pass, what is excused."""

from dataclasses import dataclass
from pathlib import Path

_EXPECTED = Path(__file__).with_name("expected")

# What any server must pass, whatever its tools are.
_ALWAYS = (
    "tools-list",
    "prompts-list",
    "resources-list",
    "dns-rebinding-protection",
    "server-sse-multiple-streams",
)
_HANDSHAKE = ("server-initialize", "ping", "logging-set-level", *_ALWAYS)


@dataclass(frozen=True)
class Suite:
    """A release of the suite and the specification it is asked about.

    Attributes:
        module: its folder among the Node modules, as `package.json` names it.
        applies: the scenarios that need no fixture of the suite's own server.
        excused: the file of expected failures.
    """

    module: str
    arguments: tuple[str, ...]
    applies: tuple[str, ...]
    excused: Path

    def excuses(self) -> list[str]:
        """Return `scenario` or `scenario:check` of every expected failure."""
        lines = self.excused.read_text().splitlines()
        return [line[4:] for line in lines if line.startswith("  - ")]


SUITES = {
    "0.1.16": Suite("conformance-0.1.16", (), _HANDSHAKE, _EXPECTED / "0.1.16.yml"),
    "0.2.0-alpha.12, 2025-11-25": Suite(
        "conformance-0.2.0",
        ("--requirements", "2025-11-25"),
        (*_HANDSHAKE, "server-session-lifecycle"),
        _EXPECTED / "2025-11-25.yml",
    ),
    "0.2.0-alpha.12, 2026-07-28": Suite(
        "conformance-0.2.0",
        ("--requirements", "2026-07-28"),
        (
            *_ALWAYS,
            "server-stateless",
            "sep-2164-resource-not-found",
            "caching",
            "http-header-validation",
            "input-required-result-unsupported-methods",
        ),
        _EXPECTED / "2026-07-28.yml",
    ),
}
