"""Early layers from other networks: by name, by order, from Caffe; what does not fit is said."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'playspot[train]'")

from playspot.models import NetConfig, build  # noqa: E402
from playspot.models.caffe import read_caffemodel  # noqa: E402
from playspot.models.pretrained import load_early  # noqa: E402

WIDTH = 0.1
EARLY = [f"conv{i}.{part}" for i in range(1, 6) for part in ("weight", "bias")]


def _object_net(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build(NetConfig("object", width=WIDTH))


def _same(first: Any, second: Any, names: list[str]) -> list[str]:
    a, b = first.state_dict(), second.state_dict()
    return [name for name in names if torch.equal(a[name], b[name])]


def test_early_layers_come_by_name_and_late_ones_stay(tmp_path: Path) -> None:
    other, net, before = _object_net(1), _object_net(2), _object_net(2)
    torch.save({"state_dict": other.state_dict()}, tmp_path / "other.pt")
    assert sorted(load_early(net, tmp_path / "other.pt")) == sorted(EARLY)
    assert _same(net, other, EARLY) == EARLY
    assert _same(net, before, ["conv6.weight", "conv8.weight"]) == ["conv6.weight", "conv8.weight"]


def test_foreign_names_are_matched_in_their_order(tmp_path: Path) -> None:
    other, net = _object_net(1), _object_net(2)
    renamed = {f"features.{name}": value for name, value in other.state_dict().items()}
    renamed["classifier.weight"] = torch.zeros(1000, 8)
    torch.save(renamed, tmp_path / "foreign.pth")
    load_early(net, tmp_path / "foreign.pth")
    assert _same(net, other, EARLY) == EARLY


def test_a_numpy_archive_is_read(tmp_path: Path) -> None:
    other, net = _object_net(1), _object_net(2)
    np.savez(tmp_path / "a.npz", **{k: v.numpy() for k, v in other.state_dict().items()})
    load_early(net, tmp_path / "a.npz")
    assert _same(net, other, EARLY) == EARLY


def test_the_sound_network_has_early_layers_too(tmp_path: Path) -> None:
    net = build(NetConfig("sound", width=WIDTH))
    torch.save(net.state_dict(), tmp_path / "s.pt")
    assert "norm1.running_mean" in load_early(net, tmp_path / "s.pt")


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _caffemodel(net: Any, *, is_old: bool) -> bytes:
    """Return the early layers of a network as Caffe writes them, blue first."""
    of_layer, of_name, of_blob = (2, 4, 6) if is_old else (100, 1, 7)
    content = _field(1, b"VGG_CNN_M_2048")
    for i, layer in enumerate(net.early_layers(), 1):
        weight = layer.weight.detach().numpy()
        blobs = [weight[:, ::-1] if i == 1 else weight, layer.bias.detach().numpy()]
        blob_fields = b""
        for blob in blobs:
            sides = (1,) * (4 - blob.ndim) + blob.shape
            if is_old:
                shape = b"".join(_field(n, side) for n, side in enumerate(sides, 1))
            else:
                shape = _field(7, _field(1, b"".join(_varint(side) for side in blob.shape)))
            data = np.ascontiguousarray(blob, "<f4").tobytes()
            blob_fields += _field(of_blob, shape + _field(5, data))
        content += _field(of_layer, _field(of_name, f"conv{i}".encode()) + blob_fields)
    return content


@pytest.mark.parametrize("is_old", [True, False])
def test_a_caffe_model_is_read_and_its_colours_put_in_order(tmp_path: Path, is_old: bool) -> None:
    other, net = _object_net(1), _object_net(2)
    path = tmp_path / "VGG_CNN_M_2048.caffemodel"
    path.write_bytes(_caffemodel(other, is_old=is_old))
    assert list(read_caffemodel(path)) == [f"conv{i}" for i in range(1, 6)]
    load_early(net, path)
    assert _same(net, other, EARLY) == EARLY


@pytest.mark.parametrize("cut", [1, 7, 100, 5000])
def test_a_truncated_caffe_model_is_one_line(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.caffemodel"
    path.write_bytes(_caffemodel(_object_net(), is_old=True)[:cut])
    with pytest.raises(ValueError, match=r"cut\.caffemodel: (not a Caffe model|has nothing)"):
        load_early(_object_net(), path)


def test_another_width_is_refused_with_both_shapes(tmp_path: Path) -> None:
    torch.save(_object_net().state_dict(), tmp_path / "narrow.pt")
    with pytest.raises(ValueError, match=r"narrow.pt: conv1.weight is \(8, 3, 7, 7\), .* \(24, 3"):
        load_early(build(NetConfig("object", width=0.25)), tmp_path / "narrow.pt")


class _Evil:
    def __reduce__(self) -> Any:
        return (print, ("it ran",))


@pytest.mark.parametrize(
    "content", [b"", b"garbage" * 50, pickle.dumps({"a": 1}), pickle.dumps(_Evil())]
)
@pytest.mark.parametrize("suffix", [".pt", ".npz", ".caffemodel"])
def test_garbage_is_one_line_and_runs_nothing(
    tmp_path: Path, content: bytes, suffix: str, capsys: Any
) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="bad") as caught:
        load_early(_object_net(), path)
    assert "\n" not in str(caught.value)
    assert "it ran" not in capsys.readouterr().out


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = _object_net().state_dict()
    state["conv3.bias"] = torch.full_like(state["conv3.bias"], float("nan"))
    torch.save(state, tmp_path / "nan.pt")
    with pytest.raises(ValueError, match=r"conv3\.bias holds values that are not finite"):
        load_early(_object_net(), tmp_path / "nan.pt")


def test_published_weights_are_for_backbones_only() -> None:
    with pytest.raises(ValueError, match="for a network with a backbone"):
        load_early(_object_net(), "timm")


def test_a_backbone_is_refused_for_sound_and_said_when_timm_is_missing(monkeypatch: Any) -> None:
    with pytest.raises(ValueError, match="the sound network has none"):
        NetConfig("sound", backbone="resnet18")
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ValueError, match=r"pip install 'playspot\[backbones\]'"):
        build(NetConfig("object", backbone="resnet18"))


def test_a_timm_whose_torchvision_is_for_another_torch_is_one_line(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.delitem(__import__("sys").modules, "timm", raising=False)
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms: none')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"needs timm: .*torchvision::nms: none"):
        build(NetConfig("object", backbone="resnet18"))


@pytest.fixture(scope="module")
def _timm() -> None:
    """Skip without timm, or where its torchvision is not made for the torch that is there."""
    try:
        import timm  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"needs timm that loads: pip install 'playspot[backbones]' ({error})")


@pytest.mark.usefixtures("_timm")
@pytest.mark.parametrize("kind", ["object", "action"])
def test_a_backbone_has_the_map_of_the_papers_network(kind: Any) -> None:
    net = build(NetConfig(kind, width=WIDTH, backbone="mobilenetv3_small_050"))
    channels = 3 if kind == "object" else 10
    assert net(torch.zeros(1, channels, 144, 256)).shape == (1, 9, 5, 8)
    assert net.early_layers() == [net.body]


@pytest.mark.usefixtures("_timm")
def test_a_backbone_is_exported_as_every_network_is(tmp_path: Path) -> None:
    from playspot.engines.export import export, make_header

    net = build(NetConfig("action", width=WIDTH, backbone="mobilenetv3_small_050")).eval()
    assert export(net, tmp_path / "a.onnx", make_header(net, "backbone")) < 1e-4


@pytest.mark.usefixtures("_timm")
@pytest.mark.parametrize(
    ("name", "reason"),
    [("convnext_atto", "take one with padded strides"), ("nothing_at_all", "is not in timm")],
)
def test_a_backbone_that_does_not_fit_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        build(NetConfig("object", backbone=name))


def test_a_state_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(torch.zeros(3), buffer)
    (tmp_path / "tensor.pt").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="holds no weights by name"):
        load_early(_object_net(), tmp_path / "tensor.pt")
