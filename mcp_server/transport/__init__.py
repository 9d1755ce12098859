"""MCP over WebSocket: the server's side, the client's, and what both agree on.

`kb/transport.md` documents the protocol for clients in other languages.
"""
