"""Export: what is written says what it is, runs at any size and gives PyTorch's scores."""

import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'playspot[train]'")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript", reason="needs onnxscript: pip install 'playspot[train]'")

from playspot.engines import Kind, ModelEngine, ModelError, load  # noqa: E402
from playspot.engines import export as export_module  # noqa: E402
from playspot.engines.export import export, make_header  # noqa: E402
from playspot.engines.metadata import read_header  # noqa: E402
from playspot.models import NetConfig, build  # noqa: E402

Exported = dict[Kind, tuple[Any, Path, float]]

KINDS: tuple[Kind, ...] = ("sound", "object", "action")
SIZES: dict[Kind, list[tuple[int, ...]]] = {  # other ones than those that the export checks
    "sound": [(1, 384, 1), (1, 384, 157), (4, 384, 35)],
    "object": [(1, 144, 256, 3), (1, 1, 1, 3), (4, 200, 33, 3)],
    "action": [(1, 10, 256, 143), (1, 10, 1, 1), (4, 10, 33, 70)],
}
# Float32 sums in another order: 1e-6 is usual, the score's slope is 1/4 at most.
TOLERANCE = 1e-5


def _net(kind: Kind) -> Any:
    torch.manual_seed(7)
    net = build(NetConfig(kind, width=0.02))
    net.standardise.set(scale=58.0 if kind == "object" else 2.0)
    with torch.no_grad():  # a trained batch norm is no identity
        for layer in net.modules():
            if isinstance(layer, torch.nn.BatchNorm1d):
                layer.running_mean.uniform_(-0.2, 0.2)
                layer.running_var.uniform_(0.5, 2.0)
                layer.weight.uniform_(0.5, 2.0)
                layer.bias.uniform_(-0.5, 0.5)
    return net


def _batch(kind: Kind, shape: Any, rng: np.random.Generator) -> Any:
    if kind == "object":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return rng.standard_normal(shape, dtype=np.float32) * 4


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Return {kind: (network, path, difference)}; the exporter takes seconds, so once for all."""
    folder = tmp_path_factory.mktemp("a folder with ünïcode")
    models = {}
    for kind in KINDS:
        net = _net(kind)
        header = make_header(
            net, f"test {kind}", thresholds={"drum": 0.4}, provenance={"seed": 7, "clips": [1, 2]}
        )
        models[kind] = net, folder / f"{kind}.onnx", export(net, folder / f"{kind}.onnx", header)
    return models


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_gives_the_scores_of_pytorch_at_any_size(
    exported: Exported, kind: Kind, rng: np.random.Generator
) -> None:
    net, path, _ = exported[kind]
    engine = load(path, kind)
    net.eval()
    for shape in SIZES[kind]:
        batch = _batch(kind, shape, rng)
        x = torch.from_numpy(batch)
        with torch.inference_mode():
            expected = net.scores(x.permute(0, 3, 1, 2) if kind == "object" else x).numpy()
        given = engine(batch)
        assert given.dtype == np.float32
        assert given.shape == expected.shape
        assert np.abs(given - expected).max() < TOLERANCE
        assert ((given >= 0) & (given <= 1)).all()
    net.train()


@pytest.mark.parametrize("kind", KINDS)
def test_export_returns_the_difference_it_found(exported: Exported, kind: Kind) -> None:
    assert 0 <= exported[kind][2] < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_says_what_it_is(exported: Exported, kind: Kind) -> None:
    net, path, _ = exported[kind]
    header = read_header(path)
    assert (header.kind, header.name, header.labels) == (kind, f"test {kind}", net.config.labels)
    assert header.front_end == ("paper" if kind == "sound" else None)
    assert header.thresholds == {"drum": 0.4}
    assert header.provenance == {"width": 0.02, "seed": 7, "clips": [1, 2]}
    assert header.normalisation["scale"] == (58.0 if kind == "object" else 2.0)
    if kind != "sound":
        assert (header.stride, header.offset) == (32.0, 0.0)


def test_the_header_is_json_under_the_key_playspot(exported: Exported) -> None:
    (entry,) = onnx.load(exported["sound"][1]).metadata_props
    assert entry.key == "playspot"
    assert json.loads(entry.value)["schema_version"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_tells_nothing_of_the_machine(exported: Exported, kind: Kind) -> None:
    content = exported[kind][1].read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_uses_standard_operators_only(exported: Exported, kind: Kind) -> None:
    model = onnx.load(exported[kind][1])
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert {node.op_type for node in model.graph.node}.isdisjoint({"If", "Loop", "Scan"})


def test_the_axes_of_any_size_are_named(exported: Exported) -> None:
    graph = onnx.load(exported["object"][1]).graph
    assert [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [
        *("batch", "height", "width", 3),
    ]
    assert [d.dim_param or d.dim_value for d in graph.output[0].type.tensor_type.shape.dim] == [
        *("batch", 9, "rows", "cells"),
    ]


def test_export_leaves_the_network_as_it_was(exported: Exported) -> None:
    net = exported["sound"][0]
    assert net.training
    before = _net("sound").state_dict()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_same_network_gives_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    net, path, _ = exported["sound"]
    export(net, tmp_path / "again.onnx", read_header(path))
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_an_export_can_be_read_by_others(exported: Exported) -> None:
    mode = exported["sound"][1].stat().st_mode
    assert mode & stat.S_IROTH


@pytest.fixture
def quick(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the sound network, with the slow conversion replaced by its stored result."""
    net, path, _ = exported["sound"]
    monkeypatch.setattr(export_module, "_convert", lambda scores: onnx.load(path))
    return net


def test_scores_that_differ_from_pytorch_are_not_written(
    quick: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(ModelEngine):
        def __call__(self, batch: Any) -> Any:
            return super().__call__(batch) + np.float32(2e-4)

    monkeypatch.setattr(export_module, "ModelEngine", Wrong)
    path = tmp_path / "sound.onnx"
    path.write_bytes(b"the last good one")
    with pytest.raises(ModelError, match=r"sound.onnx: not written: .*differ by 2.0e-04") as caught:
        export(quick, path, make_header(quick, "wrong"))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"the last good one"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_that_are_not_finite_are_not_written(quick: Any, tmp_path: Path) -> None:
    net: Any = build(quick.config)
    with torch.no_grad():
        net.conv5.bias[0] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        export(net, tmp_path / "sound.onnx", make_header(net, "broken"))
    assert list(tmp_path.iterdir()) == []


def test_a_header_of_another_network_is_refused(quick: Any, tmp_path: Path) -> None:
    other = make_header(_net("action"), "other")
    with pytest.raises(ModelError, match="header is of another network"):
        export(quick, tmp_path / "sound.onnx", other)


def test_a_folder_that_is_not_there_is_named(quick: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no folder .*missing; make it first"):
        export(quick, tmp_path / "missing" / "sound.onnx", make_header(quick, "lost"))


def test_a_file_that_cannot_be_written_is_named(quick: Any, tmp_path: Path) -> None:
    (tmp_path / "sound.onnx").mkdir()
    with pytest.raises(ModelError, match=r"sound.onnx: cannot be written \(Is a directory\)"):
        export(quick, tmp_path / "sound.onnx", make_header(quick, "lost"))
    assert [path.name for path in tmp_path.iterdir()] == ["sound.onnx"]


def test_the_header_of_a_sound_network_lists_its_bands() -> None:
    net = _net("sound")
    net.standardise.set(mean=np.linspace(0, 1, 384), scale=1.0)
    normalisation = make_header(net, "bands").normalisation
    assert len(normalisation["mean"]) == 384
    assert normalisation["scale"] == 1.0
