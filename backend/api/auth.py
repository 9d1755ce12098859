"""Who is asking, may they, and how often."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from starlette.requests import Request

from backend.domain.errors import Forbidden, RateLimited
from backend.services import Desk, tokens
from backend.store.tokens import Token

Lane = Literal["usual", "urgent", "waits"]


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class RateLimiter:
    """Token buckets per API token: cancels and the kill switch, and long polls, have their own.

    Attributes:
        per_s: sustained requests per second; twice as many may come at once.
    """

    per_s: int
    _buckets: dict[tuple[str, Lane], _Bucket] = field(default_factory=dict)

    def take(self, kid: str, lane: Lane) -> None:
        """Count one request.

        Raises:
            RateLimited: the bucket is empty.
        """
        now = asyncio.get_running_loop().time()
        most = self.per_s * 2.0
        bucket = self._buckets.setdefault((kid, lane), _Bucket(most, now))
        bucket.tokens = min(most, bucket.tokens + (now - bucket.at) * self.per_s)
        bucket.at = now
        if bucket.tokens < 1:
            raise RateLimited(f"more than {self.per_s} requests a second; wait a second")
        bucket.tokens -= 1


def bearer(request: Request) -> str | None:
    """Return the presented token; only the Authorization header is looked at."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


async def authorise(
    desk: Desk,
    key: bytes,
    limiter: RateLimiter,
    request: Request,
    scopes: tuple[str, ...],
    lane: Lane = "usual",
) -> Token:
    """Return the caller.

    Raises:
        Unauthorised, Forbidden, RateLimited.
    """
    caller = await tokens.authenticate(desk, key, bearer(request))
    limiter.take(caller.kid, lane)
    if not caller.scopes.intersection(scopes):
        wanted = " or ".join(scopes)
        raise Forbidden(f"this needs the scope {wanted}; the token has {_listed(caller)}")
    return caller


def _listed(caller: Token) -> str:
    return ", ".join(sorted(caller.scopes))
