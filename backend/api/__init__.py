"""The HTTP API. Each module beside `http`, `fields` and `auth` is an area with its `ROUTES`."""
