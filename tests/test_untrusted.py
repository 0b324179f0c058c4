"""What somebody else made is bounded before it is read: JSON and heads of safetensors, the same in both
packages that read them."""

import json
import os
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import untrusted as of_model
from pipelines import untrusted as of_pipelines

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=30,
)


@pytest.fixture(params=["model", "pipelines"])
def read(request, tmp_path):
    """Bytes to the value that a file of them holds."""

    def of_a_file(data: bytes):
        path = tmp_path / "told.json"
        path.write_bytes(data)
        return of_model.read_json(path)

    return of_a_file if request.param == "model" else lambda data: of_pipelines.parse_json(data, "told.json")


@settings(deadline=None, max_examples=40)
@given(value=VALUES, depth=st.integers(0, 3000))
def test_any_json_is_its_value_or_one_line_in_time(value, depth):
    data = b"[" * depth + json.dumps(value).encode() + b"]" * depth
    began_s, told, line = time.monotonic(), None, None
    try:
        told = of_pipelines.parse_json(data, "a.json")
    except ValueError as error:
        line = str(error)
    assert time.monotonic() - began_s < 2
    if line is not None:
        assert len(line.splitlines()) == 1
        assert depth > 50 or "forty digits" in line
        return
    for _ in range(depth):
        (told,) = told
    assert told == value


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_one_line(data):
    line = "a.json"
    try:
        of_pipelines.parse_json(data, "a.json")
    except ValueError as error:
        line = str(error)
    assert line.startswith("a.json")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 64 deep"),
        (b"[" * 100 + b"]" * 100, "nested more than 64 deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested more than 64 deep"),
        (b"[" + b"[]," * 5_000_000 + b"1]", "holds more than 4,000,000 values"),
        (b" " * (16 * 2**20 + 1), "bytes, and at most 16,777,216"),
        (b'{"a": NaN}', "holds the number nan"),
        (b'{"a": [1e400]}', "holds the number inf"),
        (b'{"a": {"b": -Infinity}}', "holds the number -inf"),
        (b"1" + b"0" * 4000, "more than forty digits"),
        (b"1" + b"0" * 5000, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"", "is not JSON"),
    ],
)
def test_a_bomb_is_one_line_within_two_seconds(read, data, told):
    began_s = time.monotonic()
    with pytest.raises(ValueError, match=told):
        read(data)
    assert time.monotonic() - began_s < 2


def test_what_is_real_is_read(read):
    index = {
        "weight_map": {
            f"model.layers.{i}.mlp.experts.{j}.w": "m.safetensors" for i in range(60) for j in range(900)
        }
    }
    assert read(json.dumps(index).encode()) == index
    assert read(b'{"model_max_length": 1000000000000000019884624838656}')["model_max_length"] > 1e29


@pytest.mark.parametrize("module", [of_model, of_pipelines])
def test_a_pipe_is_not_waited_for(module, tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ValueError, match="no regular file"):
        module.read_object(tmp_path / "config.json")


def _head(length: int, text: bytes = b"") -> bytes:
    return struct.pack("<Q", length) + text


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (_head(10**9), "its head would have 1,000,000,000 bytes"),
        (_head(2**64 - 1), "its head would have"),
        (_head(15_000_000, b'{"a":{"dtype":"F32"},' * 700_000), "names 700,000 tensors"),
    ],
)
def test_a_head_that_is_none_is_not_parsed(tmp_path, data, told):
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    for check in (of_model.check_safetensors_header, of_pipelines.check_safetensors_file):
        with pytest.raises(ValueError, match=told):
            check(path)
    with pytest.raises(ValueError, match=told):
        of_pipelines.check_safetensors_header(data, "a")


def test_the_bounds_of_both_packages_are_the_same():
    for name in ("JSON_BYTES", "TOKENIZER_BYTES", "HEAD_BYTES", "MAX_TENSORS", "MAX_VALUES", "MAX_DEPTH"):
        assert getattr(of_model, name) == getattr(of_pipelines, name)
