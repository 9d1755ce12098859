"""What only a real exchange can prove: opt-in, with a key of a test account.

    EXEC_LIVE_KEYS=keys.json .venv/bin/python -m pytest -q tests/live

`keys.json` (mode 0600) holds `{"binance": {"environment": "testnet", "identifier": "…",
"symbol": "BTC/USDT", "quantity": "0.001", "credentials": {"api_key": "…", "api_secret": "…"}}}`.
Never `live`: the checks place orders. Each names the assumption of `kb/exchanges/` it proves.
"""
