"""Exchange simulators: real servers on loopback, faithful on the wire.

Each simulator speaks an exchange's own REST and WebSocket protocols, keeps accounts, books,
orders and fills, takes its time from an injected clock, and misbehaves only when a test scripts
it. Our adapters, and other people's clients, trade against them unchanged.
"""
