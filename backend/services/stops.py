"""What stops new orders, by the audit: kill switches, quarantine, disabled accounts (I-10)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from backend.database import Row, Transaction
from backend.store import books, controls


@dataclass(slots=True)
class _Stops:
    """What is stopped at one moment of the audit, each with the row that stopped it."""

    switches: dict[str, int] = field(default_factory=dict)
    disabled: dict[int, int] = field(default_factory=dict)
    quarantine: int | None = None

    def take(self, row: Row) -> None:
        """Take one row that stops or releases."""
        event, seq = row["event"], row["seq"]
        if event == "kill_switch.engaged":
            self.switches.setdefault(json.loads(row["detail"])["scope"], seq)
        elif event == "kill_switch.released":
            self.switches.pop(json.loads(row["detail"])["scope"], None)
        elif event == "account.disabled":
            self.disabled[row["account"]] = seq
        elif event in ("account.enabled", "account.added"):
            self.disabled.pop(row["account"], None)
        elif event == "quarantine.lifted":
            self.quarantine = None
        else:
            self.quarantine = seq
            for scope in json.loads(row["detail"]).get("kill_switches", ()):
                self.switches[scope] = seq

    def over(self, claim: Row) -> Iterator[str]:
        """Yield what should have stopped this claim."""
        for scope in controls.scopes_over(claim["account_id"], claim["symbol"]):
            if scope in self.switches:
                yield f"kill switch {scope} was engaged by audit row {self.switches[scope]}"
        if claim["account"] in self.disabled:
            yield f"its account was disabled by audit row {self.disabled[claim['account']]}"
        if self.quarantine is not None:
            yield f"the server was quarantined by audit row {self.quarantine}"


def broken(tx: Transaction) -> Iterator[str]:
    """Yield each claim that a stop should have stopped, and each stop that was lost."""
    stops = _Stops()
    for row in books.stops_and_claims(tx):
        if row["event"] != "trade.claimed":
            stops.take(row)
        elif row["symbol"] is not None and "restored" not in row["detail"]:
            for why in stops.over(row):
                yield f"{row['trade_id']} was claimed by audit row {row['seq']}, though {why}"
    engaged = {row["scope"] for row in controls.all_engaged(tx)}
    for scope in sorted(engaged ^ stops.switches.keys()):
        state = "engaged" if scope in engaged else "released"
        yield f"kill switch {scope} is {state}, and the audit says otherwise"
    if (controls.quarantine(tx) is None) != (stops.quarantine is None):
        state = "no quarantine" if stops.quarantine else "a quarantine"
        yield f"there is {state}, and the audit says otherwise"
