"""Bearer tokens at the MCP door: the backend says whose they are.

The backend enforces every call anyway, so a memory of one second costs no safety.
"""

import hashlib
import time
from collections.abc import Callable

from fastmcp.server.auth import AccessToken, TokenVerifier

from mcp_server.backend_client import AnswerLost, BackendClient, NotReached

_KEPT_S = 1.0
_MOST = 1000


class BackendVerifier(TokenVerifier):
    """Asks `GET /api/v1/tokens/self` with the token that was presented.

    Args:
        monotonic: seconds that never run backwards.
    """

    def __init__(
        self, client: BackendClient, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._client = client
        self._monotonic = monotonic
        self._known: dict[bytes, tuple[float, AccessToken]] = {}

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return whose token it is, or None if the backend does not vouch for it.

        A backend that cannot be asked vouches for nobody (Law 7).
        """
        if not token.isascii() or not token.isprintable():
            return None
        key = hashlib.sha256(token.encode()).digest()
        until, access = self._known.get(key, (0.0, None))
        if access is not None and self._monotonic() < until:
            return access
        return await self._ask(token, key)

    async def _ask(self, token: str, key: bytes) -> AccessToken | None:
        self._known.pop(key, None)
        try:
            reply = await self._client.call("GET", "/tokens/self", token=token)
        except (NotReached, AnswerLost):
            return None
        if reply.status != 200 or reply.data is None or "name" not in reply.data:
            return None
        access = _access(token, reply.data)
        self._keep(key, access)
        return access

    def _keep(self, key: bytes, access: AccessToken) -> None:
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (self._monotonic() + _KEPT_S, access)


def _access(token: str, data: dict[str, object]) -> AccessToken:
    scopes, accounts = data.get("scopes"), data.get("accounts")
    return AccessToken(
        token=token,
        client_id=str(data["name"]),
        subject=str(data["name"]),
        scopes=[str(scope) for scope in scopes] if isinstance(scopes, list) else [],
        # Expiry is the backend's to judge, by its own clock.
        claims={"accounts": accounts},
    )
