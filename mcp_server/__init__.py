"""The MCP face of exec-mcp: parse, one HTTP call, reply. It holds no rules."""
