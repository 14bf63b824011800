"""A plan is used only where it belongs, and only as it was written."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playspot.engines.plan import (
    MAX_KEY_BYTES,
    PlanKey,
    PlanMismatch,
    pack_plan,
    read_plan,
    unpack_plan,
    write_plan,
)

KEY = PlanKey(
    model_hash="0123456789ab",
    precision="fp32",
    shapes={"x": ((1, 3), (2, 3), (4, 3))},
    gpu_name="NVIDIA H100",
    compute_capability="9.0",
    tensorrt_version="11.4.0",
)
PLAN = bytes(range(256)) * 4


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_plan(tmp_path / "a" / "m.plan", KEY, PLAN)
    assert read_plan(tmp_path / "a" / "m.plan", KEY) == PLAN
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["m.plan"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    write_plan(tmp_path / "m.plan", KEY, PLAN)
    assert (tmp_path / "m.plan").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("part", "value", "why"),
    [
        ("model_hash", "ba9876543210", "was built from the model 0123456789ab, this is ba9876"),
        ("gpu_name", "Orin", "was built for the GPU NVIDIA H100, this is Orin"),
        ("compute_capability", "8.7", "was built for compute capability 9.0, this is 8.7"),
        ("tensorrt_version", "11.5.0", "was built by TensorRT 11.4.0, this is 11.5.0"),
        ("precision", "fp16", "was built in fp32, wanted is fp16"),
        ("shapes", {}, "was built for the shapes x 1x3:2x3:4x3, wanted are none"),
    ],
)
def test_a_plan_that_does_not_belong_is_refused_and_says_why(
    part: str, value: Any, why: str
) -> None:
    with pytest.raises(PlanMismatch) as error:
        unpack_plan(pack_plan(KEY, PLAN), KEY.model_copy(update={part: value}))
    assert str(error.value).startswith(why)


@given(st.integers(0, len(pack_plan(KEY, PLAN)) * 8 - 1))
def test_no_bit_may_be_another(bit: int) -> None:
    content = bytearray(pack_plan(KEY, PLAN))
    content[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PlanMismatch):
        unpack_plan(bytes(content), KEY)


@given(st.integers(0, len(pack_plan(KEY, PLAN)) - 1))
def test_a_plan_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(PlanMismatch):
        unpack_plan(pack_plan(KEY, PLAN)[:length], KEY)


@given(st.binary(max_size=400))
def test_garbage_is_refused(content: bytes) -> None:
    with pytest.raises(PlanMismatch, match=r"is no plan|is cut short"):
        unpack_plan(content, KEY)


def test_a_key_without_end_is_not_read() -> None:
    content = bytearray(pack_plan(KEY, PLAN))
    at = content.index(b"{") - 4
    content[at : at + 4] = (MAX_KEY_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(PlanMismatch, match="cut short"):
        unpack_plan(bytes(content), KEY)


@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_plan_that_anybody_could_have_written_is_refused(tmp_path: Path, place: str) -> None:
    path = tmp_path / "a" / "m.plan"
    write_plan(path, KEY, PLAN)
    (path if place == "file" else path.parent).chmod(0o777)
    with pytest.raises(PlanMismatch, match="anybody may write"):
        read_plan(path, KEY)


def test_a_plan_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PlanMismatch, match="is missing"):
        read_plan(tmp_path / "m.plan", KEY)
    with pytest.raises(PlanMismatch, match="cannot be read"):
        read_plan(tmp_path, KEY)
