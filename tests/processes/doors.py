"""How a client trades over HTTP or MCP with a server, and what it was told."""

import json
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

TRADES = "/api/v1/trading/trades"
_MCP = "io.modelcontextprotocol"
_VERSION = "2026-07-28"
_META = {
    f"{_MCP}/protocolVersion": _VERSION,
    f"{_MCP}/clientInfo": {"name": "load", "version": "1"},
    f"{_MCP}/clientCapabilities": {},
}
# What the answer to the one confirm that won looks like: done, unknown, or ended with nothing.
_WON = (200, 202, 422)
FINAL = ("executed", "failed", "cancelled", "expired")


@dataclass(frozen=True)
class Told:
    """One answer; `http` is 200 for every MCP result that is no error."""

    http: int
    body: dict[str, Any]

    @property
    def refused(self) -> bool:
        return self.http >= 400

    @property
    def won(self) -> bool:
        """Say whether this is the answer to the claim's winner."""
        return self.http in _WON

    @property
    def status(self) -> str | None:
        """Return the trade's status as it was told."""
        found = self.body.get("current_status" if self.refused else "status")
        return None if found is None else str(found)

    @property
    def code(self) -> str | None:
        return self.body.get("code") if self.refused else None


class Door(Protocol):
    """One server, for one client. All raise `httpx.TransportError` when it is not there."""

    @property
    def url(self) -> str: ...

    async def plan(self, **terms: Any) -> Told: ...
    async def confirm(self, trade_id: str) -> Told: ...
    async def cancel(self, trade_id: str) -> Told: ...
    async def cancel_order(self, trade_id: str) -> Told: ...
    async def look(self, trade_id: str) -> Told: ...


@dataclass(frozen=True)
class Http:
    """The API."""

    client: httpx.AsyncClient
    url: str
    token: str

    async def ask(self, method: str, path: str, body: Any = None) -> Told:
        headers = {"Authorization": f"Bearer {self.token}"}
        reply = await self.client.request(method, self.url + path, json=body, headers=headers)
        return Told(reply.status_code, reply.json())

    async def plan(self, **terms: Any) -> Told:
        return await self.ask("POST", TRADES, terms)

    async def confirm(self, trade_id: str) -> Told:
        return await self.ask("POST", f"{TRADES}/{trade_id}/confirm")

    async def cancel(self, trade_id: str) -> Told:
        return await self.ask("DELETE", f"{TRADES}/{trade_id}")

    async def cancel_order(self, trade_id: str) -> Told:
        return await self.ask("DELETE", f"/api/v1/trading/orders/{trade_id}")

    async def look(self, trade_id: str) -> Told:
        return await self.ask("GET", f"{TRADES}/{trade_id}")


@dataclass(frozen=True)
class Mcp:
    """MCP over streamable HTTP, stateless."""

    client: httpx.AsyncClient
    url: str
    token: str

    async def call(self, tool: str, **arguments: Any) -> Told:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, text/event-stream",
            "Mcp-Protocol-Version": _VERSION,
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        }
        params = {"name": tool, "arguments": arguments, "_meta": _META}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        reply = await self.client.post(f"{self.url}/mcp", json=body, headers=headers)
        result = reply.raise_for_status().json()["result"]
        said = json.loads(result["content"][0]["text"])
        return Told(said["status"] if result.get("isError") else 200, said)

    async def plan(self, **terms: Any) -> Told:
        return await self.call("plan_trade", **terms)

    async def confirm(self, trade_id: str) -> Told:
        return await self.call("execute_trade", trade_id=trade_id, action="confirm")

    async def cancel(self, trade_id: str) -> Told:
        return await self.call("execute_trade", trade_id=trade_id, action="cancel")

    async def cancel_order(self, trade_id: str) -> Told:
        return await self.call("cancel_order", trade_id=trade_id)

    async def look(self, trade_id: str) -> Told:
        return await self.call("get_trade", trade_id=trade_id)


def client() -> httpx.AsyncClient:
    """Return an HTTP client for any number of servers and connections."""
    return httpx.AsyncClient(
        verify=False,  # No certificates are read: all is on loopback, without TLS.
        trust_env=False,
        timeout=30,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
    )
