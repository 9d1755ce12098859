"""Our own document against our own server: schemathesis makes the requests and judges answers.

Used as a library: requests go straight into the ASGI app, and nothing is retried.
"""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from backend.domain.errors import CODES
from backend.testing import Stack
from tests.properties.home import Home

AnyCase = Any  # Generic in three ways that say nothing here.
QUOTES = {"AAPL": ("215.38", "215.40"), "BTC/USD": ("64000.00", "64000.01")}
CONFORM = [status_code_conformance, content_type_conformance, response_schema_conformance]
REFUSE = [*CONFORM, negative_data_rejection]
# So many requests later the home is put back: lists that grow make answers slow.
_LASTS = 300
_CALLERS = ("agent", "agent", "operator", "operator", "operator", "nobody")


@dataclass
class Surface:
    """Every operation of the document, and the server behind it."""

    home: Home
    asked: int = 0
    codes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        backend = self.home.stack.backend
        self.codes = {*CODES, *backend.desk.checks}
        self.schema = schemathesis.openapi.from_dict(backend.api.openapi())
        found = list(self.schema.get_all_operations())
        self.operations = [one.ok() for one in found if isinstance(one, Ok)]
        assert len(self.operations) == len(found)

    def cases(self) -> st.SearchStrategy[AnyCase]:
        """Requests that fit the document, and about as many that do not."""
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        return st.one_of(
            *(one.as_strategy(generation_mode=mode) for one in self.operations for mode in modes)
        )

    def check(self, case: AnyCase, who: str) -> None:
        """Make one request and judge its answer."""
        self.asked += 1
        if self.asked % _LASTS == 0:
            self.home.begin()
        token = self.home.tokens.get(who, "xm_nobody")
        case.headers["Authorization"] = f"Bearer {token}"
        prepared = requests.Request(**case.as_transport_kwargs(base_url="http://backend")).prepare()
        reply = self.home.run(sent(self.home.stack, prepared))
        assert reply.status_code < 500, reply.text
        body = json.loads(reply.text)
        if reply.status_code >= 400:
            assert body["code"] in self.codes, body
            assert body["status"] == reply.status_code
            assert reply.headers["content-type"] == "application/problem+json"
        refuses = case.meta is not None and case.meta.generation.mode.is_negative
        if reply.status_code != 405:  # A path may become another one, which has other methods.
            case.validate_response(reply, checks=REFUSE if refuses else CONFORM)


async def sent(stack: Stack, prepared: requests.PreparedRequest) -> httpx.Response:
    """Send it as it stands to the app, in a moment's time."""
    door = httpx.ASGITransport(stack.backend.api, raise_app_exceptions=False)
    headers: Any = list(prepared.headers.items())
    body: Any = prepared.body
    request = httpx.Request(
        str(prepared.method), str(prepared.url), headers=headers, content=body or b""
    )
    async with asyncio.timeout(20):
        reply = await door.handle_async_request(request)
        await reply.aread()
    reply.request, reply.elapsed = request, timedelta()
    return reply


CALLERS = st.sampled_from(_CALLERS)
