"""JSON documents with something wrong in them, and bytes that are hardly JSON at all."""

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

_MARK = "\x01raw:"
# JSON texts of values that a parser may trip over; some are no JSON.
HOSTILE = [
    *("null", "true", "false", "0", "-0", "-1", "1", "0.5", "1e5", "1E+400", "1e-400", "1e9999999"),
    *("NaN", "Infinity", "-Infinity", "9223372036854775808", "18446744073709551616", "1" * 60),
    *('""', '" "', '"0"', '"-1"', '"1e5"', '"NaN"', '"Infinity"', '"１２"', '"1_0"', '"0x1"'),
    *('"' + "9" * 70 + '"', '"' + "9" * 5000 + '"', '"0.' + "0" * 50 + '1"', '"1,5"', '"+1"'),
    *('"\\ud800"', '"\\u0000"', '"a\\nb"', '"🚪"', '"trd-aaaaaaaaaaaaaaaaaaaa"', '"BTCUSDT"'),
    *("[]", "{}", "[[]]", '[{"a":1}]', '{"code":-2010}', "[" * 3000, '{"a":' * 2000),
    *('"FILLED"', '"CANCELED"', '"buy"', '"2026-13-45"', "99999999999999999", '"0"'),
]
Path = tuple[Any, ...]


def _paths(value: Any, here: Path = ()) -> list[Path]:
    found = [here] if here else []
    if isinstance(value, dict):
        for key in value:
            found += _paths(value[key], (*here, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 4)):
            found += _paths(value[index], (*here, index))
    return found


def _holder(document: Any, path: Path) -> Any:
    for part in path[:-1]:
        document = document[part]
    return document


@dataclass(frozen=True)
class Edit:
    """One thing that is wrong; the numbers choose among whatever the document has.

    Attributes:
        how: `hostile`, `drop`, `other`, `twice` or `wrap`; of bytes `cut`, `flip`, `insert`.
    """

    how: str
    where: int
    what: int


def _changed(document: Any, edit: Edit) -> Any:
    paths = _paths(document)
    if not paths:
        return _MARK + HOSTILE[edit.what % len(HOSTILE)]
    path = paths[edit.where % len(paths)]
    holder, key = _holder(document, path), path[-1]
    if edit.how == "drop":
        del holder[key]
    elif edit.how == "other":
        other = paths[edit.what % len(paths)]
        holder[key] = json.loads(json.dumps(_holder(document, other)[other[-1]]))
    elif edit.how == "twice" and isinstance(holder, list):
        holder.append(json.loads(json.dumps(holder[key])))
    elif edit.how == "wrap":
        holder[key] = [holder[key]]
    else:
        holder[key] = _MARK + HOSTILE[edit.what % len(HOSTILE)]
    return document


def _dumped(document: Any) -> bytes:
    text = json.dumps(document, ensure_ascii=False)
    mark = json.dumps(_MARK, ensure_ascii=False)[:-1]
    parts = text.split(mark)
    made = parts[0]
    for part in parts[1:]:
        raw, rest = json.JSONDecoder().raw_decode('"' + part)
        made += raw + part[rest - 1 :]
    return made.encode("utf-8", "surrogatepass")


def _mangled(body: bytes, edit: Edit) -> bytes:
    at = edit.where % max(len(body), 1)
    if edit.how == "cut":
        return body[:at]
    if edit.how == "flip" and body:
        return body[:at] + bytes([body[at] ^ (edit.what % 255 + 1)]) + body[at + 1 :]
    return body[:at] + edit.what.to_bytes(4, "little") + body[at:]


@dataclass(frozen=True)
class Change:
    """What makes another body of an exchange's answer; JSON stays JSON most of the time."""

    edits: tuple[Edit, ...]
    mangled: Edit | None

    def __call__(self, body: bytes) -> bytes:
        try:
            document = json.loads(body)
        except ValueError:
            return body
        for edit in self.edits:
            document = _changed(document, edit)
        made = _dumped(document)
        return made if self.mangled is None else _mangled(made, self.mangled)


_numbers = st.integers(0, 2**16)
_hows = st.sampled_from(["hostile", "hostile", "hostile", "drop", "other", "twice", "wrap"])
_edits = st.lists(st.builds(Edit, _hows, _numbers, _numbers), max_size=2).map(tuple)
_mangling = st.builds(Edit, st.sampled_from(["cut", "flip", "insert"]), _numbers, _numbers)
changes = st.builds(Change, _edits, st.one_of(*([st.none()] * 8), _mangling))
