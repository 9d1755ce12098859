"""The door that REST and the WebSocket API share: limits, keys, signatures, windows, faults."""

import re
from dataclasses import dataclass
from typing import Any

from .accounts import Account
from .errors import ApiError, invalid_key, mandatory
from .faults import Lost
from .operations import Operation
from .params import Params
from .signing import Key
from .world import Call, Seen, World

_KEY = re.compile(r"^[A-Za-z0-9]{16,128}$")
_SECRETS = ("signature", "apiKey")


@dataclass(frozen=True, slots=True)
class Signed:
    """What a request showed to prove who sent it."""

    key: str | None
    payload: bytes
    signature: str | None


class Gateway:
    """Carries operations out for whoever may ask."""

    def __init__(self, world: World) -> None:
        self._world = world

    def run(
        self,
        operation: Operation,
        raw: dict[str, str],
        proof: Signed | Key,
        api: str,
        place: tuple[str, str],
    ) -> tuple[Any, Call]:
        """Admit, authenticate and carry out one request; `proof` is a Key for a session.

        Raises ApiError for a refusal, and what a scripted fault makes of the answer.
        """
        world = self._world
        cost = operation.cost(raw)
        self.log(place, raw)
        world.limits.admit(world.now(), cost)
        call = Call(world, Params(raw), api)
        try:
            if operation.security != "none":
                call.key = self.authenticate(call.params, proof)
                call.account = world.accounts[call.key.uid]
                if operation.security == "trade" and not call.key.can_trade:
                    raise invalid_key()
            call.params.only(operation.params)
            result = self._carry_out(operation, call)
        except ApiError:
            world.limits.charge(cost)
            raise
        world.limits.charge(0 if operation.free else cost)
        return result, call

    def log(self, place: tuple[str, str], raw: dict[str, str]) -> None:
        shown = {name: value for name, value in raw.items() if name not in _SECRETS}
        self._world.requests.append(Seen(*place, shown, self._world.now()))

    def authenticate(self, params: Params, proof: Signed | Key) -> Key:
        """The key that signed, inside its time window. Raises ApiError."""
        key = proof if isinstance(proof, Key) else self._known(proof.key)
        if key.revoked or not key.ip_allowed:
            raise invalid_key()
        params.timestamp_ms()
        if isinstance(proof, Signed):
            if not proof.signature:
                raise mandatory("signature")
            if not key.verifies(proof.payload, proof.signature):
                raise ApiError(-1022, "Signature for this request is not valid.")
        self._world.check_window(1, params)
        return key

    def _known(self, name: str | None) -> Key:
        if name is None or not _KEY.match(name):
            raise ApiError(-2014, "API-key format invalid.", 401)
        if name not in self._world.keys:
            raise invalid_key()
        return self._world.keys[name]

    def _carry_out(self, operation: Operation, call: Call) -> Any:
        fault = self._world.faults.take(operation.name, operation.kind)
        if fault is None:
            return operation.handler(call)
        if fault.how == "late":
            self._world.late.append(call)
            raise Lost
        result = self._commit(operation, call) if fault.committed else {}
        raise fault.answer(self._world.now(), result)

    def _commit(self, operation: Operation, call: Call) -> Any:
        try:
            return operation.handler(call)
        except ApiError as refusal:
            return refusal.body()


def counted_limits(world: World, account: Account | None, is_order: bool) -> list[dict[str, Any]]:
    """The `rateLimits` array of a WebSocket answer."""
    orders = account.count.windows if account is not None and is_order else []
    return [window.counted() for window in (*orders, world.limits.weight)]
