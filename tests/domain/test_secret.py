"""A secret shows itself only to whoever asks it to."""

import copy
import json
import logging
import pickle
import traceback

import pytest

from backend.domain.secret import Secret

CANARY = "canary-7f3a91"


def test_no_way_of_writing_a_secret_shows_it():
    secret = Secret(CANARY)

    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>40}", f"{secret!r}", "%s" % secret]  # noqa: UP031
    shown += [repr({"secret": secret}), str([secret]), repr(vars(type(secret)))]

    assert [text for text in shown if CANARY in text] == []
    assert secret.reveal() == CANARY


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_a_secret_is_neither_pickled_nor_copied_nor_made_json(leave):
    with pytest.raises(TypeError) as refused:
        leave(Secret(CANARY))

    assert CANARY not in str(refused.value)


def test_a_traceback_and_a_log_line_do_not_show_it(caplog):
    secret = Secret(CANARY)
    with caplog.at_level(logging.DEBUG):
        logging.debug("with %s", secret)
    try:
        raise ValueError(secret)
    except ValueError as error:
        told = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )

    assert "***" in told
    assert CANARY not in told.replace(f"CANARY = '{CANARY}'", "")
    assert CANARY not in caplog.text


def test_secrets_are_equal_by_their_text_and_are_no_keys():
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert Secret("é") == Secret("é")
    with pytest.raises(TypeError):
        hash(Secret("a"))
