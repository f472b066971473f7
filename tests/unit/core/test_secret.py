# Copyright (c) 2026, serverops.circleci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets: what they show of themselves (nothing), every form in which they come back, and markers."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import traceback
import urllib.parse

import pytest
from ansible_collections.serverops.circleci.plugins.module_utils._core.secret import MASK, Mask, Secret, forms, marker
from hypothesis import given
from hypothesis import strategies as st

CANARY = 'c4n4ry-Wert/ä+"q<uote>&=%'


def printed(secret: Secret) -> list[str]:
    trace = ""
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "value %s %r", (secret, secret), None)
    try:
        raise ValueError(secret)
    except ValueError as error:
        trace = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    return [
        str(secret), repr(secret), f"{secret}", f"{secret!r}", f"{secret:>20}", "%s" % secret, "{0} {0!r}".format(secret), format(secret, ""),  # noqa: UP031, UP032
        str([secret]), str({"k": secret}), str((secret,)), record.getMessage(), trace, json.dumps({"k": secret}, default=str), ascii(secret),
    ]  # fmt: skip


def test_a_secret_shows_nothing_of_itself() -> None:
    secret = Secret(CANARY)
    for text in printed(secret):
        assert CANARY not in text
        assert MASK in text
    assert secret.reveal() == CANARY


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="not serialised"):
        pickle.dumps(Secret(CANARY), protocol)


def test_a_secret_is_not_json_has_no_attributes_and_no_copies() -> None:
    secret = Secret(CANARY)
    with pytest.raises(TypeError) as told:
        json.dumps(secret)
    assert CANARY not in str(told.value)
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)


def test_secrets_compare_by_value_only_with_secrets() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a")
    assert not Secret("")


def test_marker_differs_by_value_and_by_key_and_shows_neither() -> None:
    one = marker(CANARY, "uid-1")
    assert one == marker(CANARY, "uid-1")
    assert len({one, marker(CANARY + "x", "uid-1"), marker(CANARY, "uid-2")}) == 3
    assert one.startswith(MASK)
    assert CANARY not in one
    assert "uid-1" not in one


def test_without_a_key_there_is_no_marker() -> None:
    # an unkeyed hash of a short secret could be guessed at
    assert marker("a", "") == marker("b", "") == MASK


def encodings(text: str) -> dict[str, str]:
    return {
        "plain": text,
        "base64": base64.b64encode(text.encode()).decode(),
        "base64 without padding": base64.b64encode(text.encode()).decode().rstrip("="),
        "URL-safe base64": base64.urlsafe_b64encode(text.encode()).decode(),
        "JSON": json.dumps(text),
        "JSON, not ASCII": json.dumps(text, ensure_ascii=False),
        "JSON as Go writes it": json.dumps(text, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        "URL": urllib.parse.quote(text, safe=""),
        "URL path": urllib.parse.quote(text),
        "form": urllib.parse.quote_plus(text),
        "form with fields": urllib.parse.urlencode({"token": text}),
        "base64 of a pair, shifted by 1": base64.b64encode(f"a{text}b".encode()).decode(),
        "base64 of a pair, shifted by 2": base64.b64encode(f"ab{text}b".encode()).decode(),
        "base64 of a pair, shifted by 3": base64.b64encode(f"abc{text}cd".encode()).decode(),
        "base64 of a user and a password": base64.b64encode(f"admin:{text}".encode()).decode(),
    }


@pytest.mark.parametrize(
    "secret", [CANARY, "plainword", "with space and more", "tab\tand\nline of text", "ÄÖÜßéèç", "trailing-newline\n", "日本語の秘密の鍵"]
)
def test_every_form_is_masked_in_a_longer_text(secret: str) -> None:
    mask = Mask([secret])
    for name, form in encodings(secret).items():
        text = mask.text(f"begin|{form}|end")
        assert MASK in text, name
        for left in forms(secret):
            assert left not in text, (name, left)


@pytest.mark.parametrize("head", ["", "a", "ab", "abc", "abcd"])
@pytest.mark.parametrize("tail", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("secret", ["12345678", "123456789", "1234567890", CANARY])
def test_base64_at_each_alignment(head: str, secret: str, tail: str) -> None:
    encoded = base64.b64encode((head + secret + tail).encode()).decode()
    text = Mask([secret]).text(encoded)
    assert MASK in text
    # what is left decodes to no more than the neighbours and one character cut at each side
    assert len(text.replace(MASK, "")) <= len(encoded) - (len(secret.encode()) * 8 - 10) // 6


AWS = """[default]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
region = eu-central-1

[other]
aws_secret_access_key : second/SecretValue/with+signs
aws_session_token=FwoGZXIvYXdzEJr
short_key=abc
"""
GCP = json.dumps(
    {
        "type": "service_account",
        "project_id": "demo-project",
        "private_key_id": "0123456789abcdef",
        "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj\nAgEAAoIBAQC7VJTUt9Us8cKj\n-----END PRIVATE KEY-----\n",
        "token_uri": "https://oauth2.googleapis.com/token",
        "client_email": "velero@demo-project.iam.gserviceaccount.com",
        "nested": [{"client_secret": "deep-Secret-value"}],
    },
    indent=2,
)


def test_the_values_inside_an_ini_file_are_secret_on_their_own() -> None:
    mask = Mask([AWS])
    for value in ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "second/SecretValue/with+signs", "FwoGZXIvYXdzEJr"):
        for form in encodings(value).values():
            assert value not in mask.text(f"The key {form} is unknown")
            assert MASK in mask.text(f"The key {form} is unknown")
    assert mask.text("region eu-central-1, abc") == "region eu-central-1, abc"


def test_the_values_inside_a_json_key_are_secret_on_their_own() -> None:
    mask = Mask([GCP])
    key = json.loads(GCP)["private_key"]
    for value in (key, key.splitlines()[1], key.splitlines()[2], "0123456789abcdef", "deep-Secret-value"):
        assert value not in mask.text(f"bad key {value}!")
        assert value not in mask.text(json.dumps({"x": value}))
    for public in ("demo-project", "https://oauth2.googleapis.com/token", "velero@demo-project.iam.gserviceaccount.com", "service_account"):
        assert mask.text(f"see {public}") == f"see {public}"


def test_a_json_file_that_is_none_is_masked_as_a_whole_and_by_lines() -> None:
    text = Mask(['{"private_key": "abcdefghij"\n"broken line of it"']).text('said "broken line of it" and more')
    assert text == f"said {MASK} and more"


def test_lines_are_masked_from_eight_characters_on() -> None:
    mask = Mask(["1234567\n12345678\n"])
    assert mask.text("1234567 12345678") == f"1234567 {MASK}"


def test_overlapping_secrets_leave_no_rest() -> None:
    # whichever is replaced first would leave a piece of the other one
    assert Mask(["abcSEC", "SECRETLONG"]).text("abcSECRETLONG!") == f"{MASK}!"
    assert Mask(["aba"]).text("xababay") == f"x{MASK}y"
    assert Mask(["*"]).text("a*b") == f"a{MASK}b"


def test_values_are_masked_all_the_way_down_and_other_types_are_kept() -> None:
    mask = Mask(["canary-1"])
    value = {"a": ["x canary-1", {"canary-1": True}, ("canary-1", 1, None, 2.5)], "b": False}
    assert mask.value(value) == {"a": [f"x {MASK}", {MASK: True}, [MASK, 1, None, 2.5]], "b": False}
    assert value["a"][0] == "x canary-1"  # type: ignore[index]  # the argument itself is not touched


def test_an_empty_mask_changes_nothing_and_empty_secrets_are_none() -> None:
    mask = Mask()
    mask.add("", None, Secret(""))
    assert mask.forms() == []
    assert mask.text("text") == "text"


def test_a_mask_takes_secrets_later() -> None:
    mask = Mask(["first-secret"])
    assert mask.text("second-secret") == "second-secret"
    mask.add(Secret("second-secret"))
    assert mask.text("second-secret first-secret") == f"{MASK} {MASK}"


# "*" is left out: a piece of the mask itself is no leak
characters = st.characters(blacklist_characters="*", blacklist_categories=("Cs",))
secret_texts = st.one_of(st.text(characters, min_size=1, max_size=30), st.text('aAb1=/+\n" :[]{}', min_size=1, max_size=30))


@given(
    st.lists(secret_texts, min_size=1, max_size=3), st.lists(st.tuples(st.text(characters, max_size=8), st.integers(0, 50)), max_size=8), st.data()
)
def test_no_form_of_any_secret_survives(secrets: list[str], parts: list[tuple[str, int]], data: st.DataObject) -> None:
    mask = Mask(secrets)
    every = [form for secret in secrets for form in [*sorted(forms(secret)), *encodings(secret).values()]]
    text = "".join(before + every[number % len(every)] for before, number in parts) + data.draw(st.text(characters, max_size=8))
    masked = mask.text(text)
    for secret in secrets:
        for form in forms(secret):
            assert form not in masked
    assert mask.text(masked) == masked
