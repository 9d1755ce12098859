"""The backend: domain, store, exchanges, risk, services and the HTTP API."""
