import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raynas_snn.config.yaml_text import BrokenYamlError, dump, parse, show

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("5E2", 500.0),
        (".5", 0.5),
        ("-1.", -1.0),
        ("-.inf", -math.inf),
        ("010", 10),
        ("0o17", 15),
        ("0x1f", 31),
        ("-7", -7),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("True", True),
        ("~", None),
        ("", None),
        ("'1e-3'", "1e-3"),
        ("!!str 5", "5"),
        ("{a: [1, b]}", {"a": [1, "b"]}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
    ],
)
def test_reads_by_the_core_schema(text, value):
    assert parse(text) == value
    assert type(parse(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "line 2, column 1: the key 'a' stands here a second time"),
        ("a: &x 1\nb: *x", "line 2, column 6: aliases are not supported"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        (
            "[1, 2",
            "line 1, column 6: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
        ),
        ("1: 2", "line 1, column 1: the key 1 is not text"),
        ("? [a]\n: 1", "line 1, column 3: the key ['a'] is not text"),
        (
            "a: !!python/name:os.system x",
            "the tag 'tag:yaml.org,2002:python/name:os.system' is not supported",
        ),
        ("!!timestamp x", "is not supported"),
        ("!!int x", "cannot read 'x' as a value"),
        ("!!bool x", "cannot read 'x' as a value"),
        ("!!map x", "is not supported"),
        ("9" * 5000, "line 1, column 1: cannot read"),
        ("a: 1\nb: \x07", "line 2: a character that YAML does not allow"),
        ("[" * 100_000, "nested too deeply"),
        ("--- 1\n--- 2", "but found another document"),
    ],
)
def test_says_what_is_broken_and_where(text, message):
    with pytest.raises(BrokenYamlError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@given(PLAIN)
def test_what_is_dumped_is_read_back(value):
    text = dump(value)
    assert parse(text) == value


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_readers_of_yaml_1_1_agree_on_what_is_dumped(value):
    assert yaml.safe_load(dump(value)) == value


@given(PLAIN)
def test_a_shown_value_is_one_short_line(value):
    text = show(value)
    assert len(text) <= 80
    assert len(text.splitlines()) == 1
