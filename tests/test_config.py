from pathlib import Path

import pytest

from backend.config import Config, SettingError, read_config
from backend.logs import redact, without_secrets

TOKEN = f"xmcp_{'a' * 10}_{'A' * 43}_00000000"


def read(**settings: str) -> Config:
    return read_config({f"EXEC_MCP_{name}": text for name, text in settings.items()})


def test_the_defaults_are_the_documented_ones(tmp_path: Path) -> None:
    config = read(HOME=str(tmp_path))

    assert config == Config(
        home=tmp_path, database=tmp_path / "exec-mcp.db", journal=tmp_path / "sends.log"
    )
    assert (config.plan_ttl_s, config.approval_ttl_s, config.default_account) == (
        60,
        600,
        "paper:main",
    )


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("PLAN_TTL_S", "1", "plan_ttl_s", 1),
        ("PLAN_TTL_S", "600", "plan_ttl_s", 600),
        ("APPROVAL_TTL_S", "3600", "approval_ttl_s", 3600),
        ("DEFAULT_ACCOUNT", "bitstamp:abc123", "default_account", "bitstamp:abc123"),
        ("BACKEND_URL", "http://127.0.0.1:8787/", "backend_url", "http://127.0.0.1:8787"),
        ("BACKEND_URL", "", "backend_url", None),
        ("TOKEN", "", "token", None),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("RISK_PRICE_BAND", "250", "risk", {"price_band": "250"}),
        ("PRICE_SOURCE", "", "price_source", "simulated"),
        ("DATABASE_URL", "sqlite:////var/lib/x.db", "database", Path("/var/lib/x.db")),
        ("TOOLSETS", "trading", "toolsets", ("trading",)),
        ("VAULT", "keyring", "vault", "keyring"),
    ],
)
def test_a_setting_is_read(name: str, text: str, attribute: str, value: object) -> None:
    assert getattr(read(HOME="x", **{name: text}), attribute) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("PLAN_TTL_S", text) for text in ("0", "601", "-1", "60.0", "60s", "", "１", "9" * 5000)),
        *(("APPROVAL_TTL_S", text) for text in ("59", "3601")),
        *(("RATE_LIMIT_PER_S", text) for text in ("0", "1e3")),
        *(
            ("DEFAULT_ACCOUNT", text)
            for text in ("", "paper", "PAPER:main", "paper:a b", "paper:é")
        ),
        *(("BACKEND_URL", text) for text in ("127.0.0.1", "ftp://x", "file:///x")),
        *(("DATABASE_URL", text) for text in ("postgres://x", "sqlite:///", "x.db")),
        *(("LOG_LEVEL", text) for text in ("", "TRACE")),
        ("TOOLSETS", "trading,everything"),
        *(("VAULT", text) for text in ("", "File", "env")),
        ("SEED", "-1"),
        ("PLAN_TTL", "60"),
        ("plan_ttl_s", "60"),
        ("", "x"),
        ("RISK", "x"),
    ],
)
def test_a_misspelt_or_malformed_setting_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(SettingError, match=f"^EXEC_MCP_{name}"):
        read(HOME="x", **{name: text})


def test_what_is_not_ours_is_not_looked_at() -> None:
    assert read_config({"EXEC_MCP_HOME": "x", "EXECMCP_X": "1", "PATH": "/bin"}).seed == 0


def test_no_token_is_in_the_settings_repr() -> None:
    assert TOKEN not in repr(read(HOME="x", TOKEN=TOKEN))


@pytest.mark.parametrize(
    "event",
    [
        {"token": "hunter2"},
        {"Authorization": "Basic hunter2"},
        {"detail": f"was {TOKEN}, wanted another"},
        {"detail": "authorization: Bearer hunter2"},
        {"headers": {"authorization": "hunter2", "x": [TOKEN]}},
        {"key": b"hunter2"},
        {"error": ValueError(TOKEN)},
        {"raw": TOKEN.encode()},
        {"several": (TOKEN, {"secret": "hunter2"})},
        {"X-MBX-APIKEY": "hunter2"},
        {"x-auth-signature": "hunter2"},
        {"client_secret": "hunter2"},
        {"listenKey": "hunter2"},
        {"headers": [("x-mbx-apikey", "hunter2"), ("accept", "*/*")]},
        {"headers": [(b"X-Auth", b"BITSTAMP hunter2")]},
        {"headers": {b"X-Auth": b"BITSTAMP hunter2"}},
        {"request": Exception({"apiKey": "hunter2"})},
    ],
    ids=str,
)
def test_a_log_line_is_cleaned_at_any_depth(event: dict[str, object]) -> None:
    told = str(redact(None, "", event))

    assert TOKEN not in told
    assert "hunter2" not in told
    assert "[redacted]" in told


KEY_BLOCK = """-----BEGIN EC PRIVATE KEY-----
hunter2hunter2
-----END EC PRIVATE KEY-----"""


@pytest.mark.parametrize(
    "text",
    [
        "GET /api/v3/account?timestamp=1&signature=hunter2",
        "GET /api/v3/order?signature=hunter2&timestamp=1 HTTP/1.1",
        "POST /api/v3/userDataStream?listenKey=hunter2",
        "key=1&api_key=hunter2&nonce=3",
        "apiKey: hunter2, next",
        "X-MBX-APIKEY: hunter2",
        "x-auth: BITSTAMP hunter2\r\nx-auth-nonce: 1",
        "X-Auth-Signature: hunter2",
        "Authorization: Basic hunter2",
        '{"id": 1, "apiKey": "hunter2", "n": 2}',
        '{"params":{"signature":"hunter2"}}',
        '"{\\"secret\\": \\"hunter2\\"}"',
        '{"secret": "hunter2',
        '{"auth": "hunter2 hunter2"}',
        "{'X-MBX-APIKEY': 'hunter2', 'a': 'b'}",
        "[(b'X-Auth', b'BITSTAMP hunter2'), (b'a', b'b')]",
        "api_secret='hunter2'",
        "client_secret=hunter2",
        "apiSecretKey=hunter2",
        f"loaded {KEY_BLOCK} and more",
        KEY_BLOCK.replace("\n", "\\n").replace("EC ", ""),
        KEY_BLOCK[:50],
        KEY_BLOCK.replace("EC", "ENCRYPTED"),
    ],
)
def test_what_signs_a_request_is_cleaned_wherever_it_stands(text: str) -> None:
    told = without_secrets(text)

    assert "hunter2" not in told
    assert "[redacted]" in told
    assert "hunter2" not in str(redact(None, "", {"line": text, "more": [text]}))


def test_only_the_secret_of_a_line_is_cleaned() -> None:
    line = "GET /api/v3/order?symbol=BTCUSDT&signature=abc&timestamp=17 -> 400"

    assert without_secrets(line) == line.replace("abc", "[redacted]")
    assert without_secrets(f"a {KEY_BLOCK} b") == "a [redacted] b"


def test_a_long_line_is_cleaned_in_a_blink() -> None:
    for word in ("secret", "x-auth-", "auth ", "api_key\\", "-----BEGIN PRIVATE KEY-----", "_-"):
        assert len(without_secrets(word * 20_000)) <= 20_000 * len(word) + 10


def test_what_is_no_secret_stays_in_a_log_line() -> None:
    event = {"event": "trade.claimed", "trade_id": "trd-x", "count": 3, "ok": True, "why": None}
    assert redact(None, "", dict(event)) == event
    for text in (
        "was 215.40",
        "an order needs no secret here, and the signature was fine",
        "the author: somebody; authorised=1, keyed by symbol; key id: 7",
    ):
        assert without_secrets(text) == text
