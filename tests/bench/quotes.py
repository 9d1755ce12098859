"""`bookTicker` messages decoded, checked and kept ÷ decoding them alone; and ÷ CCXT's parsing.

The messages are a recording's; without the folder of recordings there is no figure.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from backend.prices.binance import HOSTS, BinancePrices, decode_touch
from tests.bench.measure import ROOT, Figure
from tests.bench.simulated import now

RUNS, TIMES = 5, 400
_RECORDING = ROOT.parent / "shared" / "data" / "binance" / "ws" / "cryptofeed_BINANCE.ws.1.0.txt"
_SCRIPT = ROOT / "tests" / "clients" / "scripts" / "ccxt_quotes_per_s.py"


def figures() -> Iterator[Figure]:
    """Yield both figures, in messages a second: the median of five runs, in turns."""
    frames = recorded()
    if not frames:
        return
    runs = [(_ours(frames), _alone(frames)) for _ in range(RUNS)]
    ours, alone = (statistics.median(side) for side in zip(*runs, strict=True))
    yield Figure("bookTicker messages ÷ decoding alone", ours, alone, "/s", 0.4, at_least=True)
    if (theirs := _ccxt(frames)) is not None:
        yield Figure("bookTicker messages ÷ CCXT", ours, theirs, "/s", 5.0, at_least=True)


def recorded() -> list[bytes]:
    """Return the raw bookTicker payloads of the recording."""
    if not _RECORDING.exists():
        return []
    found = []
    for line in _RECORDING.read_text().splitlines():
        _, _, text = line.partition(": ")
        if '@bookTicker","data"' in text:
            found.append(json.dumps(json.loads(text)["data"], separators=(",", ":")).encode())
    return found


def _ours(frames: list[bytes]) -> float:
    prices = BinancePrices(HOSTS["testnet"], now)
    stream = prices._stream
    start = time.perf_counter()
    for _ in range(TIMES):
        for frame in frames:
            stream._take(frame)
    return TIMES * len(frames) / (time.perf_counter() - start)


def _alone(frames: list[bytes]) -> float:
    start = time.perf_counter()
    for _ in range(TIMES):
        for frame in frames:
            decode_touch(frame)
    return TIMES * len(frames) / (time.perf_counter() - start)


def _ccxt(frames: list[bytes]) -> float | None:
    python = os.environ.get(
        "EXEC_CLIENTS_PYTHON", str(ROOT / ".venv" / "clients" / "bin" / "python")
    )
    if not Path(python).exists():
        return None
    given = json.dumps({"frames": [frame.decode() for frame in frames], "times": TIMES})
    runs = [
        subprocess.run(
            [python, str(_SCRIPT)], input=given, capture_output=True, text=True, check=True
        )
        for _ in range(RUNS)
    ]
    rates: list[float] = [json.loads(run.stdout)["per_s"] for run in runs]
    return statistics.median(rates)
