"""The three networks against TABLE I and II of the paper and the sizes of the authors' code."""

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'playspot[train]'")

from playspot.models import (  # noqa: E402
    LABELS,
    ActionNet,
    NetConfig,
    ObjectNet,
    SoundNet,
    Standardise,
    build,
    n_parameters,
)
from playspot.models.blocks import ImageFCN, n_filters, response_norm  # noqa: E402

NARROW = 0.01  # 8 filters in most layers: enough wherever only shapes count


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20181)


def _all_positive(net: Any) -> Any:
    """Return the network with positive weights and no biases: what it sees, it answers to."""
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, torch.nn.Conv1d | torch.nn.Conv2d):
                layer.weight.abs_()
                layer.bias.zero_()
    return net.eval()


@pytest.mark.parametrize(
    ("kind", "width", "expected"),
    [
        ("object", 1.0, 18_075_273),
        ("object", 0.5, 4_525_897),
        ("object", 0.25, 1_135_017),
        ("action", 1.0, 18_108_201),
        ("action", 0.5, 4_542_361),
        ("action", 0.25, 1_143_249),
        ("sound", 1.0, 2_142_217),
        ("sound", 0.5, 661_513),
        ("sound", 0.25, 228_361),
    ],
)
def test_the_number_of_parameters_is_that_of_the_tables(
    kind: Any, width: float, expected: Any
) -> None:
    assert n_parameters(build(NetConfig(kind, width=width))) == expected


def test_table_1_filters() -> None:
    net = SoundNet()
    assert [
        layer.out_channels for layer in net.modules() if isinstance(layer, torch.nn.Conv1d)
    ] == [
        *(768, 768, 512, 512, 9),
    ]
    assert net.conv1.groups == net.conv2.groups == 3
    assert net.conv1.in_channels == 3 * 128


def test_table_2_filters() -> None:
    layers = [layer for layer in ActionNet().modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in layers] == [96, 256, 512, 512, 512, 2048, 1024, 9]
    assert [layer.kernel_size[0] for layer in layers] == [7, 5, 3, 3, 3, 3, 1, 1]
    assert layers[0].in_channels == 10


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((144, 256), (5, 8)),
        ((192, 256), (6, 8)),
        ((170, 256), (6, 8)),
        ((204, 256), (7, 8)),
        ((256, 143), (8, 5)),
        ((360, 640), (12, 20)),
        ((360, 480), (12, 15)),
        ((1, 1), (1, 1)),
        ((33, 32), (2, 1)),
    ],
)
def test_the_map_has_the_size_that_the_authors_code_gives(
    size: tuple[int, int], expected: Any
) -> None:
    net = ObjectNet(width=NARROW).eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 3, *size)).shape == (1, 9, *expected)
    assert net.map_size(*size) == expected


@pytest.mark.parametrize(
    ("n_columns", "expected"), [(157, 11), (313, 20), (410, 26), (911, 58), (1, 1), (16, 2)]
)
def test_the_sound_output_has_the_length_that_the_authors_code_gives(
    n_columns: int, expected: Any
) -> None:
    net = SoundNet(width=NARROW).eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 384, n_columns)).shape == (1, 9, expected)
    assert net.n_outputs(n_columns) == expected


def test_sound_output_j_sees_columns_16j_minus_20_to_16j_plus_15() -> None:
    net = _all_positive(SoundNet(width=NARROW))
    columns = torch.zeros(160, 384, 160)
    columns[torch.arange(160), :, torch.arange(160)] = 1.0  # one column at a time
    with torch.inference_mode():
        answers = net(columns)[:, 0, 4] != 0
    assert answers.nonzero().flatten().tolist() == list(range(16 * 4 - 20, 16 * 4 + 16))


def test_a_map_cell_is_centred_on_a_multiple_of_32_px() -> None:
    net = _all_positive(ActionNet(width=NARROW))
    lines = torch.zeros(512, 10, 1, 512)
    lines[torch.arange(512), :, :, torch.arange(512)] = 1.0  # one line of pixels at a time
    with torch.inference_mode():
        seen = (net(lines)[:, 0, 0, 8] != 0).nonzero().flatten()
    assert (seen[0] + seen[-1]) / 2 == ImageFCN.OFFSET + ImageFCN.STRIDE * 8
    assert len(seen) == 235


def test_early_layers_do_not_mix_the_three_scales() -> None:
    net = SoundNet(width=NARROW).eval()
    first = torch.randn(1, 384, 40)
    second = first.clone()
    second[:, :128] += 1  # the shortest window only
    with torch.inference_mode():
        changed = (net.conv2(net.conv1(first)) != net.conv2(net.conv1(second))).any(dim=2)[0]
    n = len(changed) // 3
    assert changed[:n].all()
    assert not changed[n:].any()


def test_response_norm_is_torchs() -> None:
    x = torch.randn(2, 24, 9, 7) * 300
    expected = torch.nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)(x)
    assert torch.allclose(response_norm(x), expected, rtol=1e-6, atol=1e-5)


def test_response_norm_of_half_precision_does_not_overflow() -> None:
    x = torch.full((1, 8, 2, 2), 1000.0, dtype=torch.float16)  # squared: beyond 65504
    y = response_norm(x)
    assert y.dtype == torch.float16
    assert torch.allclose(y.float(), response_norm(x.float()), rtol=1e-3)


@pytest.mark.parametrize("width", [0.01, 0.25, 1 / 3, 0.7, 1.0])
def test_filters_come_in_eights(width: float) -> None:
    assert all(n_filters(n, width) % 8 == 0 for n in (96, 256, 512, 1024, 2048))
    assert n_filters(2048, width) == pytest.approx(max(8, 2048 * width), abs=4)


@pytest.mark.parametrize("network", [ObjectNet, ActionNet])
def test_image_networks_start_with_xavier_weights_and_no_bias(network: Any) -> None:
    for layer in network(width=0.25).modules():
        if isinstance(layer, torch.nn.Conv2d):
            area = layer.kernel_size[0] ** 2
            bound = (6 / (area * (layer.in_channels + layer.out_channels))) ** 0.5
            assert layer.weight.abs().max() <= bound
            assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
            assert not layer.bias.any()


def test_pictures_lose_the_mean_colour() -> None:
    net = ObjectNet(width=NARROW)
    grey = torch.tensor([123.509, 115.773, 102.717]).view(1, 3, 1, 1)
    assert not net.standardise(grey).any()


def test_pictures_may_be_bytes() -> None:
    net = ObjectNet(width=NARROW).eval()
    picture = torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8)
    assert torch.equal(net(picture), net(picture.float()))


def test_standardisation_travels_with_the_weights() -> None:
    net = SoundNet(width=NARROW)
    net.standardise.set(mean=list(range(384)), scale=2.0)
    again = SoundNet(width=NARROW)
    again.load_state_dict(net.state_dict())
    x = torch.ones(1, 384, 1)
    assert again.standardise(x)[0, 383, 0] == (1 - 383) / 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scale": 0.0}, "above 0"),
        ({"scale": [1.0, -1.0, 1.0]}, "above 0"),
        ({"scale": float("nan")}, "above 0"),
        ({"mean": float("inf")}, "finite"),
        ({"mean": [1.0, 2.0]}, "1 or 3 values"),
    ],
)
def test_a_standardisation_that_makes_no_sense_is_refused(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Standardise(3).set(**values)


def test_sound_clip_score_is_the_mean_over_time() -> None:
    net = SoundNet(width=NARROW).eval()
    x = torch.randn(2, 384, 100)
    assert torch.allclose(net.clip_scores(x), torch.sigmoid(net(x)).mean(dim=2))


def test_object_clip_score_is_the_maximum_over_space() -> None:
    net = ObjectNet(width=NARROW).eval()
    x = torch.rand(2, 3, 70, 90) * 255
    assert torch.allclose(net.clip_scores(x), torch.sigmoid(net(x)).flatten(2).max(dim=2).values)


@pytest.mark.parametrize("kind", ["sound", "object", "action"])
def test_a_network_is_built_again_from_its_configuration(kind: Any) -> None:
    config = NetConfig(kind, labels=("drum", "violin"), width=0.02, dropout=0.2)
    net = build(NetConfig.from_dict(config.to_dict()))
    assert net.config == config
    build(net.config).load_state_dict(net.state_dict())


def test_the_default_labels_are_the_nine() -> None:
    assert NetConfig("sound").labels == LABELS
    assert len(LABELS) == 9
    assert list(LABELS) == sorted(LABELS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "smell"}, "'smell'; use one of sound, object, action"),
        ({"kind": "sound", "width": 0}, "width is 0; use a value above 0"),
        ({"kind": "sound", "width": float("nan")}, "width is nan"),
        ({"kind": "sound", "dropout": 1.0}, "dropout is 1.0"),
        ({"kind": "sound", "labels": []}, "at least one"),
        ({"kind": "sound", "labels": ["drum", "drum"]}, "each once"),
        ({"kind": "sound", "depth": 3}, "unknown key 'depth'"),
        ({}, "'kind' is missing"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        NetConfig.from_dict(values)


@pytest.mark.parametrize("kind", ["sound", "object", "action"])
def test_dropout_works_in_training_only(kind: Any) -> None:
    net = build(NetConfig(kind, width=NARROW))
    x = {
        "sound": torch.randn(2, 384, 48),
        "object": torch.rand(2, 3, 64, 64) * 255,
        "action": torch.randn(2, 10, 64, 64),
    }[kind]
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize("kind", ["sound", "object", "action"])
def test_every_layer_learns(kind: Any) -> None:
    net: Any = build(NetConfig(kind, width=NARROW, dropout=0.0))
    x = {
        "sound": torch.randn(2, 384, 48),
        "object": torch.rand(2, 3, 64, 64) * 255,
        "action": torch.randn(2, 10, 64, 64),
    }[kind]
    net(x).square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())
    assert all(
        parameter.grad.any() for name, parameter in net.named_parameters() if "weight" in name
    )
