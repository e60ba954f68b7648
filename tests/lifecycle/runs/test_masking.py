from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.lifecycle.runs.masking import masked_command, masked_text

COMMANDS = [
    (["--token", "abc", "--depth", "3"], ["--token", "***", "--depth", "3"]),
    (["--api-key=abc"], ["--api-key=***"]),
    (["--apikey", "abc"], ["--apikey", "***"]),
    (["--accessToken=abc"], ["--accessToken=***"]),
    (["-p", "db_password=abc"], ["-p", "db_password=***"]),
    (["PGPASSWORD=abc"], ["PGPASSWORD=***"]),
    (["--key", "abc", "--password"], ["--key", "***", "--password"]),
    (["--secret", "--verbose"], ["--secret", "--verbose"]),
    (["postgres://ann:abc@db/x"], ["postgres://ann:***@db/x"]),
    (["hw_abcdefghijklmnop"], ["***"]),
    (["ghp_abcdefghijklmnopqrst"], ["***"]),
    (["--max-tokens", "100", "--tokenizer=bpe"], ["--max-tokens", "100", "--tokenizer=bpe"]),
    (["--author", "ann", "--monkey=1", "keyword=x"], ["--author", "ann", "--monkey=1", "keyword=x"]),
    (["-c", "connect(password='abc')"], ["-c", "connect(password='***')"]),
    (["--token="], ["--token="]),
]


@pytest.mark.parametrize(("given_", "told"), COMMANDS)
def test_commands(given_: list[str], told: list[str]) -> None:
    assert masked_command(given_) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('+API_KEY = "abc"', '+API_KEY = "***"'),
        ("+  'password': 'a b c',", "+  'password': '***',"),
        ("-token: str = 'abc'", "-token: str = 'abc'"),
        ("+depth = 'abc'", "+depth = 'abc'"),
        ("+url = 'https://ann:abc@example.org'", "+url = 'https://ann:***@example.org'"),
        ("+x = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.abc'", "+x = '***'"),
    ],
)
def test_texts(text: str, told: str) -> None:
    assert masked_text(text) == told


@given(st.lists(st.text(max_size=30), max_size=6))
def test_a_command_keeps_its_length_and_masking_again_changes_nothing(arguments: list[str]) -> None:
    once = masked_command(arguments)
    assert len(once) == len(arguments)
    assert masked_command(once) == once


@given(
    st.text(alphabet="abcdefghijklmnop0123456789", min_size=6, max_size=40),
    st.sampled_from(["--token", "--db-password"]),
)
def test_the_value_of_a_secret_option_is_never_told(value: str, option: str) -> None:
    for arguments in ([option, value], [f"{option}={value}"], ["-p", f"{option.lstrip('-')}={value}"]):
        assert value not in " ".join(masked_command(arguments))
