"""A call as the handlers see it: parameters by name, parsed and checked."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from tests.simulators.bitstamp.markets import Market
from tests.simulators.bitstamp.model import Account
from tests.simulators.bitstamp.wire import order_refusal
from tests.simulators.http import Request

if TYPE_CHECKING:
    from tests.simulators.bitstamp.faults import Fault
    from tests.simulators.bitstamp.simulator import Simulator

_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


@dataclass(slots=True)
class Call:
    """One request on its way through a handler; `account` is the one acted on."""

    sim: Simulator
    params: dict[str, str]
    place: dict[str, str]
    fault: Fault
    acting: Account | None = None

    @property
    def account(self) -> Account:
        """The account of a signed call."""
        assert self.acting is not None
        return self.acting

    @property
    def market(self) -> Market:
        """The market in the path. Raises Refusal, HTTP 404, if there is none of that symbol."""
        market = self.sim.engine.markets.get(self.place["market"])
        if market is None:
            raise order_refusal("404.003", "Market not found.", "market", 404)
        return market

    @property
    def market_or_all(self) -> Market | None:
        """The market in the path, None where the path names none."""
        return self.market if self.place.get("market") else None

    def flag(self, name: str) -> bool:
        """A form boolean: `True` or `true`."""
        return self.params.get(name, "").lower() == "true"

    def decimal(self, name: str) -> Decimal:
        """A required number. Raises Refusal."""
        text = self.params.get(name, "")
        if not text:
            raise order_refusal("400.001", "This field is required.", name)
        if not _NUMBER.fullmatch(text):
            raise order_refusal("400.001", "Enter a number.", name)
        return Decimal(text)

    def integer(self, name: str, default: int, most: int) -> int:
        """An optional whole number from 0 to `most`. Raises Refusal."""
        text = self.params.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,16}", text) or int(text) > most:
            raise order_refusal("400.001", f"Ensure this value is between 0 and {most}.", name)
        return int(text)


def params_of(request: Request) -> dict[str, str]:
    """The parameters of a request: its query, form or JSON body."""
    if request.headers.get("content-type") == "application/json":
        try:
            body = json.loads(request.body or b"{}")
        except ValueError:
            return {}
        return {k: str(v) for k, v in body.items()} if isinstance(body, dict) else {}
    body_text = request.body.decode("utf-8", "replace")
    pairs = parse_qsl(request.query, True) + parse_qsl(body_text, True)
    return dict(pairs)
