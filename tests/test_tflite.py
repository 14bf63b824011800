"""TFLite -> ONNX: a hand-made quantised network, and the public ones against reference outputs."""

import struct
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnxruntime
import pytest

from playspot.engines import ModelError
from playspot.engines.tflite import convert, convert_file

UINT8, INT32 = 3, 2
WEIGHT_SCALE, WEIGHT_ZERO = 0.02, 120
TOP = 1.5  # what the quantised activation is clamped to, below the 6 of its ReLU6


def table(builder: Any, *fields: tuple[str, Any]) -> int:
    """Write a table; fields are (type, value) in the order of the schema, ("", None) is absent."""
    builder.StartObject(len(fields))
    for number, (kind, value) in enumerate(fields):
        if kind == "offset":
            builder.PrependUOffsetTRelativeSlot(number, value, 0)
        elif kind:
            getattr(builder, f"Prepend{kind}Slot")(number, value, 0)
    return int(builder.EndObject())


def offsets(builder: Any, items: list[int]) -> int:
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        builder.PrependUOffsetTRelative(item)
    return int(builder.EndVector())


def vector(builder: Any, values: Any, dtype: Any) -> tuple[str, int]:
    return "offset", builder.CreateNumpyVector(np.asarray(values, dtype))


def make_tflite(kernel: np.ndarray, bias: np.ndarray, dense: np.ndarray) -> bytes:
    """Quantised input -> convolution (SAME, stride 2, ReLU6) -> mean -> fully connected."""
    b: Any = flatbuffers.Builder(0)
    none = ("", None)

    def tensor(shape: tuple[int, ...], kind: int, buffer: int, scale: float, zero: int) -> int:
        scales, zeros = vector(b, [scale], np.float32), vector(b, [zero], np.int64)
        quantisation = table(b, none, none, scales, zeros)
        fields = (vector(b, shape, np.int32), ("Int8", kind), ("Uint32", buffer), none)
        return table(b, *fields, ("offset", quantisation))

    def operator(code: int, given: list[int], out: list[int], options: int | None) -> int:
        ins, outs = vector(b, given, np.int32), vector(b, out, np.int32)
        last = [] if options is None else [("Uint8", 1), ("offset", options)]
        return table(b, ("Uint32", code), ins, outs, *last)

    integers = [kernel, (bias / 1e-4).round().astype(np.int32), dense, np.zeros(2, np.int32)]
    buffers = [table(b)] + [
        table(b, vector(b, np.frombuffer(array.tobytes(), np.uint8), np.uint8))
        for array in integers
    ]
    tensors = [
        tensor((1, 8, 64, 1), UINT8, 0, 1 / 128, 128),
        tensor(kernel.shape, UINT8, 1, WEIGHT_SCALE, WEIGHT_ZERO),
        tensor(bias.shape, INT32, 2, 1e-4, 0),
        tensor((1, 4, 32, 3), UINT8, 0, TOP / 255, 0),
        tensor((1, 3), UINT8, 0, TOP / 255, 0),
        tensor(dense.shape, UINT8, 3, WEIGHT_SCALE, WEIGHT_ZERO),
        tensor((2,), INT32, 4, 1e-4, 0),
        tensor((1, 2), UINT8, 0, 0.1, 128),
    ]
    conv = table(b, none, ("Int32", 2), ("Int32", 2), ("Int8", 3))
    operators = [
        operator(0, [0, 1, 2], [3], conv),
        operator(1, [3], [4], None),
        operator(2, [4, 5, 6], [7], None),
    ]
    ins, outs = vector(b, [0], np.int32), vector(b, [7], np.int32)
    graph = table(b, ("offset", offsets(b, tensors)), ins, outs, ("offset", offsets(b, operators)))
    codes = [table(b, ("Int8", code), none, none, ("Int32", code)) for code in (3, 40, 9)]
    model = table(
        b,
        ("Uint32", 3),
        ("offset", offsets(b, codes)),
        ("offset", offsets(b, [graph])),
        none,
        ("offset", offsets(b, buffers)),
    )
    b.Finish(model, file_identifier=b"TFL3")
    return bytes(b.Output())


def run(model: Any, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (out,) = session.run(None, {session.get_inputs()[0].name: x})
    return np.asarray(out)


def test_a_quantised_network_gives_what_its_arithmetic_says(rng: np.random.Generator) -> None:
    kernel = rng.integers(60, 180, (3, 3, 3, 1), dtype=np.uint8)
    dense = rng.integers(60, 180, (2, 3), dtype=np.uint8)
    bias = np.array([0.1, -0.2, 0.3])
    model = convert(make_tflite(kernel, bias, dense), "sound", "tiny.tflite")
    x = rng.uniform(-1, 1, (1, 1, 8, 64)).astype(np.float32)

    weights = (kernel.astype(float) - WEIGHT_ZERO) * WEIGHT_SCALE  # (out, h, w, in)
    padded = np.pad(x[0].transpose(1, 2, 0), ((0, 1), (0, 1), (0, 0)))  # SAME: at the far end
    features = np.zeros((4, 32, 3))
    for row, column in np.ndindex(4, 32):
        seen = padded[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        features[row, column] = np.tensordot(weights, seen, 3) + bias
    mean = np.clip(features, 0, TOP).mean(axis=(0, 1))
    logits = (dense.astype(float) - WEIGHT_ZERO) * WEIGHT_SCALE @ mean
    assert run(model, x)[0] == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a model at all, but long enough",
        struct.pack("<I", 2**31 - 1) + b"TFL3" + bytes(64),
        struct.pack("<I", 8) + b"TFL3" + b"\xff" * 64,
    ],
)
def test_garbage_is_one_clear_line(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"bad\.tflite: cannot be converted") as caught:
        convert(content, "object", "bad.tflite")
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_clear_line(rng: np.random.Generator) -> None:
    kernel = rng.integers(60, 180, (3, 3, 3, 1), dtype=np.uint8)
    whole = make_tflite(kernel, np.zeros(3), np.full((2, 3), 120, np.uint8))
    for cut in range(8, len(whole) - 1, 97):
        with pytest.raises(ModelError, match="cannot be converted"):
            convert(whole[:cut], "sound", "cut.tflite")


def test_a_network_of_the_other_kind_is_refused(rng: np.random.Generator) -> None:
    kernel = rng.integers(60, 180, (3, 3, 3, 1), dtype=np.uint8)
    content = make_tflite(kernel, np.zeros(3), np.full((2, 3), 120, np.uint8))
    with pytest.raises(ModelError, match="no classifier"):
        convert(content, "object", "ears.tflite")


@pytest.mark.parametrize(
    ("source", "reference", "kind", "output", "shapes", "tolerance"),
    [
        (
            "mobilenet_v2_1.0_224_quant.tflite",
            "mobilenet_v2_1.0_224_fcn_from_quant.onnx",
            "object",
            "logit_map",
            [(1, 3, 224, 224), (1, 3, 320, 448)],
            1e-4,  # of logits up to 15: the order of float32 sums
        ),
        (
            "yamnet_lite_classification.tflite",
            "yamnet_core_from_lite.onnx",
            "sound",
            "scores",
            [(1, 1, 96, 64), (3, 1, 96, 64)],
            1e-6,
        ),
    ],
)
def test_the_public_networks_give_the_reference_outputs(
    shared: Path,
    tmp_path: Path,
    rng: np.random.Generator,
    source: str,
    reference: str,
    kind: Any,
    output: str,
    shapes: list[tuple[int, ...]],
    tolerance: float,
) -> None:
    teachers = shared / "data" / "teachers"
    convert_file(teachers / source, tmp_path / "ours.onnx", kind)
    ours = onnxruntime.InferenceSession(tmp_path / "ours.onnx")
    theirs = onnxruntime.InferenceSession(teachers / reference)
    for shape in shapes:
        x = rng.uniform(-1, 1, shape).astype(np.float32)
        given = {ours.get_inputs()[0].name: x}
        difference = ours.run([output], given)[0] - theirs.run([output], given)[0]
        assert np.abs(difference).max() <= tolerance
