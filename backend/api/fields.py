"""What a request may carry: one description that parses it and documents it."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from backend.domain.errors import Refused
from backend.domain.exact_json import NumberText
from backend.domain.money import parse_positive
from backend.domain.secret import Secret

_LONGEST_TEXT = 200
_LONGEST_SECRET = 8192  # A private key in PEM has some lines.
_NUMBER_SCHEMA = {
    "oneOf": [
        {"type": "string", "pattern": r"^[0-9]{1,18}(\.[0-9]{1,18})?$"},
        {"type": "number", "exclusiveMinimum": 0},
    ]
}


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a body, or one query parameter.

    Attributes:
        kind: `text`, `number` (exact, > 0), `whole`, `flag`, `choice`, `texts`, `map` or
            `secrets` (names and texts that no message shows).
        choices: for `choice`; matched after trimming and lower-casing.
        least, most: for `whole`.
        longest: for `text`, in characters.
    """

    name: str
    kind: str
    help: str
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    least: int = 1
    most: int = 1_000_000
    longest: int = _LONGEST_TEXT

    def parse(self, value: Any) -> Any:
        """Return the value as its kind.

        Raises:
            Refused: `invalid_number` or `invalid_request`, naming the field and the rule.
        """
        if value is None:
            if self.required:
                raise Refused(f"{self.name} is missing: {self.help}", parameter=self.name)
            return self.default
        parsed: Any = getattr(self, f"_{self.kind}")(value)
        return parsed

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of the value."""
        schemas: dict[str, dict[str, Any]] = {
            "text": {"type": "string", "maxLength": self.longest},
            "number": _NUMBER_SCHEMA,
            "whole": {"type": "integer", "minimum": self.least, "maximum": self.most},
            "flag": {"type": "boolean"},
            "choice": {"type": "string", "enum": list(self.choices)},
            "texts": {"type": "array", "items": {"type": "string"}},
            "map": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
            "secrets": {
                "type": "object",
                "additionalProperties": {"type": "string", "maxLength": _LONGEST_SECRET},
                "writeOnly": True,
            },
        }
        return {**schemas[self.kind], "description": self.help}

    def _refuse(self, rule: str, code: str = "invalid_request") -> Refused:
        return Refused(f"{self.name} must be {rule}", code, parameter=self.name)

    def _text(self, value: Any) -> str:
        if not isinstance(value, str) or _is_number(value):
            raise self._refuse("text")
        if not value.strip() or len(value) > self.longest or not value.isprintable():
            raise self._refuse(f"1 to {self.longest} printable characters")
        return value.strip()

    def _number(self, value: Any) -> Decimal:
        number = parse_positive(value) if isinstance(value, str) else None
        if number is None:
            was = f", was {value[:40]}" if isinstance(value, str) and value.isascii() else ""
            raise self._refuse(
                "a number greater than 0 in plain decimal digits, at most 18 on either side of "
                f"the point, such as 10 or 0.5{was}",
                "invalid_number",
            )
        return number

    def _whole(self, value: Any) -> int:
        plain = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12
        if not plain or not self.least <= int(value) <= self.most:
            raise self._refuse(f"a whole number from {self.least} to {self.most}", "invalid_number")
        return int(value)

    def _flag(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self._refuse("true or false")
        return value

    def _choice(self, value: Any) -> str:
        word = value.strip().lower() if isinstance(value, str) and value.isascii() else ""
        if word not in self.choices:
            raise self._refuse(f"one of {', '.join(self.choices)}")
        return word

    def _texts(self, value: Any) -> list[str]:
        if not isinstance(value, list) or len(value) > 100:
            raise self._refuse("a list of texts")
        return [self._text(item) for item in value]

    def _map(self, value: Any) -> dict[str, str | None]:
        if not isinstance(value, Mapping) or len(value) > 100:
            raise self._refuse("an object of texts")
        made = {self._text(key): self._item(item) for key, item in value.items()}
        if len(made) != len(value):
            raise self._refuse("an object without doubled keys")
        return made

    def _secrets(self, value: Any) -> dict[str, Secret]:
        if not isinstance(value, Mapping) or len(value) > 10:
            raise self._refuse("an object of texts")
        for text in value.values():
            if not isinstance(text, str) or _is_number(text) or len(text) > _LONGEST_SECRET:
                raise self._refuse(f"an object of texts of at most {_LONGEST_SECRET} characters")
        return {self._text(name): Secret(text.strip()) for name, text in value.items()}

    def _item(self, value: Any) -> str | None:
        if value is None:
            return None
        return "" if value == "" else self._text(str(value) if _is_number(value) else value)


def _is_number(value: Any) -> bool:
    return isinstance(value, NumberText)


def parse_fields(fields: tuple[Field, ...], given: Any, where: str) -> dict[str, Any]:
    """Return every field of `fields`, parsed or at its default. Unknown ones are refused.

    Args:
        where: `body` or `query`, for the message.
    """
    if not isinstance(given, Mapping):
        raise Refused("the body must be a JSON object")
    names = {field.name for field in fields}
    for name in given:
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise Refused(f"unknown member in the {where}; known: {known}")
    return {field.name: field.parse(given.get(field.name)) for field in fields}
