"""Authentication v2: the signature of a request, and the exchange's own of its answer.

Source: Bitstamp HTTP API, "Authentication" (read 2026-09).
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from backend.domain.secret import Secret
from backend.wire import Answer

FORM = "application/x-www-form-urlencoded"
_ANSWER_SIGNATURE = "x-server-auth-signature"


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and the sub account it acts for ("" for its own)."""

    name: Secret = field(repr=False)
    secret: Secret = field(repr=False)
    subaccount_id: str = ""

    def sign(
        self, method: str, host: str, target: str, body: bytes, nonce: str, stamp_ms: int
    ) -> dict[str, str]:
        """Return the headers of one request.

        Args:
            host: as in the URL, with a port where that has one.
            target: path and query, exactly as they go out.
            nonce: a UUID of version 4 in lower case, used once.
        """
        who = f"BITSTAMP {self.name.reveal()}"
        content_type = FORM if body else ""
        head = f"{who}{method}{host}{target}{content_type}{nonce}{stamp_ms}v2"
        headers = {
            "X-Auth": who,
            "X-Auth-Nonce": nonce,
            "X-Auth-Timestamp": str(stamp_ms),
            "X-Auth-Version": "v2",
            "X-Auth-Signature": self._digest(head.encode() + body),
        }
        if body:
            headers["Content-Type"] = content_type
        if self.subaccount_id:
            headers["X-Auth-Subaccount-Id"] = self.subaccount_id
        return headers

    def vouches_for(self, sent: Mapping[str, str], answer: Answer) -> bool:
        """Say whether the exchange signed this answer, and to this request."""
        given = answer.headers.get(_ANSWER_SIGNATURE)
        if given is None:
            return False
        head = "".join(
            (
                sent["X-Auth-Nonce"],
                sent["X-Auth-Timestamp"],
                answer.headers.get("content-type", ""),
            )
        )
        expected = self._digest(head.encode() + answer.body)
        return hmac.compare_digest(given.lower().encode(), expected.encode())

    @staticmethod
    def must_be_signed(answer: Answer) -> bool:
        """Say whether an answer without a right signature is none.

        Errors under other statuses carry none, as far as is known: they are read, and
        prove less. A signature that is there must be right.
        """
        return answer.status == 200 or _ANSWER_SIGNATURE in answer.headers

    def _digest(self, message: bytes) -> str:
        return hmac.new(self.secret.reveal().encode(), message, sha256).hexdigest()
