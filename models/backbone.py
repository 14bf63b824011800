"""A modern network of the timm library in place of the paper's early layers.

In and out as in `ImageFCN`: pictures or flow stacks -> logits (B, K, h, w), a cell each 32 pixels.
Needs `pip install 'playspot[backbones]'`.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import MapNet, NetConfig, Standardise, n_filters, xavier

IMAGENET_MEAN = (123.675, 116.28, 103.53)  # of RGB, 0 to 255; what timm's networks were trained on
IMAGENET_SCALE = (58.395, 57.12, 57.375)
N_CHANNELS = {"object": 3, "action": 10}


class BackboneNet(MapNet):
    """Early layers of a network of timm, then the three late convolutions of TABLE II.

    Parameters
    ----------
    config : NetConfig
        `backbone` is the name of a convolutional network in `timm.list_models()`; `width` is of
        the late layers only.

    Raises
    ------
    ValueError
        If timm is not installed or has no such network, or its map has no cell each 32 pixels
        from the first pixel on.

    Notes
    -----
    Its weights begin at random: `pretrained.load_early(net, "timm")` fetches the published ones,
    as section IV-A2 of the paper takes those of VGG_CNN_M_2048.

    Examples
    --------
    >>> net = BackboneNet(NetConfig("object", backbone="resnet18"))  # doctest: +SKIP
    >>> net(torch.zeros(2, 3, 144, 256)).shape  # doctest: +SKIP
    torch.Size([2, 9, 5, 8])
    """

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        n_channels = N_CHANNELS[config.kind]
        self.standardise = Standardise(n_channels)
        if config.kind == "object":
            self.standardise.set(IMAGENET_MEAN, IMAGENET_SCALE)
        self.body = make_body(config.backbone, n_channels)
        c6, c7 = n_filters(2048, config.width), n_filters(1024, config.width)
        self.conv6 = nn.Conv2d(
            _map_channels(self.body, config.backbone, n_channels), c6, 3, padding=1
        )
        self.conv7 = nn.Conv2d(c6, c7, 1)
        self.conv8 = nn.Conv2d(c7, len(config.labels), 1)
        self.dropout = nn.Dropout(config.dropout)
        xavier([self.conv6, self.conv7, self.conv8])

    def early_layers(self) -> list[nn.Module]:
        """Return what comes from timm."""
        return [self.body]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K, h, w) for an input (B, C, H, W); sizes as in `map_size`."""
        x = self.body(self.standardise(x))[-1]
        x = self.dropout(functional.relu(self.conv6(x)))
        x = self.dropout(functional.relu(self.conv7(x)))
        return self.conv8(x)  # type: ignore[no-any-return]


def make_body(name: str, n_channels: int, *, is_pretrained: bool = False) -> nn.Module:
    """Return the feature layers of a network of timm, up to 32 pixels a cell.

    Raises
    ------
    ValueError
        As `BackboneNet`; or if published weights are asked for and cannot be had.
    """
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # the latter: of a torchvision of another torch
        raise ValueError(
            f"backbone {name!r} needs timm: pip install 'playspot[backbones]' ({error})"
        ) from None
    if name not in timm.list_models():
        near = timm.list_models(f"*{name.split('_')[0]}*")[:3] or ["resnet18"]
        raise ValueError(f"backbone {name!r} is not in timm; such as {', '.join(near)} are")
    try:
        body = timm.create_model(
            name, pretrained=is_pretrained, features_only=True, in_chans=n_channels
        )
    except Exception as error:  # of many kinds: no such layers, no weights, no network
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"backbone {name!r} cannot be used: {reason}") from None
    return body  # type: ignore[no-any-return]


@torch.no_grad()
def _map_channels(body: Any, name: str, n_channels: int) -> int:
    """Return the channels of the last map; refuse a network whose cells lie elsewhere than ours."""
    mode = body.training
    size = (96 + 16, 64 + 16)  # an odd number of half cells: strides that round down would show
    try:
        last = body.eval()(torch.zeros(1, n_channels, *size))[-1]
    except Exception as error:  # made for pictures of one size
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"backbone {name!r} takes no picture of {size}: {reason}") from None
    finally:
        body.train(mode)
    if tuple(last.shape[2:]) != MapNet.map_size(*size):
        raise ValueError(
            f"backbone {name!r} has a map of {tuple(last.shape[2:])} for a picture of {size}, "
            f"expected {MapNet.map_size(*size)}; take one with padded strides, such as resnet18"
        )
    return int(last.shape[1])
