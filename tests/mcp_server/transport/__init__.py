"""MCP over WebSocket, on real sockets of this machine."""
