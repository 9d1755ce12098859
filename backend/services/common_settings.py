"""Settings that an account of every real exchange has. They are ours: no adapter sees them."""

from collections.abc import Mapping

from backend.domain.errors import Refused

ON_DIFFERENCE = "on_difference"

# As an exchange's SETTINGS: the default, and a sentence of help.
SETTINGS: Mapping[str, tuple[str, str]] = {
    ON_DIFFERENCE: (
        "stop",
        "stop or adjust: take no new risk when somebody else moved the balances, or follow them",
    ),
}
CHOICES: Mapping[str, tuple[str, ...]] = {ON_DIFFERENCE: ("stop", "adjust")}


def check(given: Mapping[str, str]) -> None:
    """Refuse a common setting with a value that it cannot have."""
    for name, choices in CHOICES.items():
        if name in given and given[name] not in choices:
            raise Refused(f"{name} must be {' or '.join(choices)}, was {given[name][:40]!r}")


def without_ours(given: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the adapter declares."""
    return {name: value for name, value in given.items() if name not in SETTINGS}
