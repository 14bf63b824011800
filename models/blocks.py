"""What the three networks share: their configuration, standardisation, LRN and the image FCN."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from .labels import LABELS

Kind = Literal["sound", "object", "action"]
KINDS: tuple[Kind, ...] = ("sound", "object", "action")


@dataclass(frozen=True)
class NetConfig:
    """Everything needed to build a network again, as a checkpoint stores it.

    Attributes
    ----------
    kind : {"sound", "object", "action"}
    labels : tuple of str
        The axis K of the output, in order.
    width : float
        Multiplies the number of filters of every hidden layer; 1.0 is the paper's. See
        `n_filters`.
    dropout : float
        Probability of zeroing, where the paper has dropout.
    backbone : str
        Early layers of another network in place of the paper's, by its name in timm; pictures and
        flow only. See `backbone.BackboneNet`.

    Raises
    ------
    ValueError
        If a value is outside its bounds, or the labels are none or not distinct.

    Examples
    --------
    >>> NetConfig.from_dict(NetConfig("object", width=0.25).to_dict()).width
    0.25
    """

    kind: Kind
    labels: tuple[str, ...] = LABELS
    width: float = 1.0
    dropout: float = 0.5
    backbone: str = ""

    def __post_init__(self) -> None:
        """Refuse values outside their bounds."""
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; use one of {', '.join(KINDS)}")
        if not 0 < self.width <= 4:
            raise ValueError(f"width is {self.width}; use a value above 0 and at most 4")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; use a value from 0 to below 1")
        if self.backbone and self.kind == "sound":
            raise ValueError(f"backbone is {self.backbone!r}; the sound network has none")
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels are {self.labels}; give at least one, each once")

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain numbers, text and lists, for JSON or a checkpoint."""
        return {**asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration that `to_dict` wrote; an unknown key is a ValueError."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"unknown key {unknown[0]!r}; the keys are {', '.join(sorted(known))}")
        if "kind" not in values:
            raise ValueError(f"the key 'kind' is missing; use one of {', '.join(KINDS)}")
        return cls(**{**values, "labels": tuple(values.get("labels", LABELS))})


def n_filters(paper: int, width: float) -> int:
    """Return the number of filters of a layer: the paper's times `width`, as a multiple of 8.

    The nearest multiple (a half goes up), and never below 8: vector units work on 8 floats at a
    time. Some back ends want 16 or 32; a width of 1/3 gives the first layer 32.

    Examples
    --------
    >>> n_filters(96, 0.25), n_filters(256, 1 / 3), n_filters(96, 0.01)
    (24, 88, 8)
    """
    return max(8, 8 * math.floor(paper * width / 8 + 0.5))


def n_parameters(net: nn.Module) -> int:
    """Return how many numbers of a network are trained.

    Examples
    --------
    >>> n_parameters(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in net.parameters())


class Standardise(nn.Module):
    """`(input - mean) / scale` per channel, kept with the weights.

    Parameters
    ----------
    n_channels : int
        Size of the input's axis 1.
    mean, scale : float or sequence of float
        One for all channels or one for each.

    Examples
    --------
    >>> Standardise(3, mean=1.0, scale=2.0)(torch.full((1, 3, 1, 1), 5.0)).flatten()
    tensor([2., 2., 2.])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_channels: int, mean: Any = 0.0, scale: Any = 1.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_channels))
        self.register_buffer("scale", torch.ones(n_channels))
        self.set(mean, scale)

    def set(self, mean: Any = None, scale: Any = None) -> None:
        """Set what is given, from numbers, a sequence, an array or a tensor.

        Raises
        ------
        ValueError
            If there is neither one value nor one for each channel, if a value is not finite, or
            if a scale is not above 0.
        """
        if mean is not None:
            self._fill("mean", mean)
        if scale is not None:
            if not bool((torch.as_tensor(scale) > 0).all()):
                raise ValueError(f"scale is {scale}; every value must be above 0")
            self._fill("scale", scale)

    def _fill(self, name: str, values: Any) -> None:
        buffer: Tensor = getattr(self, name)
        given = torch.as_tensor(values, dtype=buffer.dtype, device=buffer.device).detach()
        if given.ndim > 1 or given.numel() not in (1, buffer.numel()):
            raise ValueError(
                f"{name} has the shape {tuple(given.shape)}; give 1 or {buffer.numel()} values"
            )
        if not bool(torch.isfinite(given).all()):
            raise ValueError(f"{name} is {values}; every value must be finite")
        buffer.copy_(given)

    def forward(self, x: Tensor) -> Tensor:
        """Return the standardised input, any real type in, the type of the weights out."""
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (x.to(self.mean.dtype) - self.mean.view(shape)) / self.scale.view(shape)


def response_norm(x: Tensor) -> Tensor:
    """Return local response normalisation over 5 channels: x / (2 + 1e-4 mean of squares)^0.75.

    Parameters
    ----------
    x : float, shape (B, C, H, W)

    Returns
    -------
    y : float, shape (B, C, H, W)

    Notes
    -----
    Equal to `torch.nn.LocalResponseNorm(5, 1e-4, 0.75, 2)`, written as a sum of shifted slices and
    two square roots: standard operators only, and 1.5 times as fast in ONNX Runtime as the
    exporter's own decomposition. The mean is over 5 channels at the edges as well. Source: Liu,
    Yang and Jeng 2018, TABLE II; constants of the authors' code.

    Examples
    --------
    >>> response_norm(torch.zeros(1, 8, 2, 2)).shape
    torch.Size([1, 8, 2, 2])
    """
    wide = x.float()  # squares of activations in the hundreds overflow half precision
    n_channels = x.shape[1]
    squares = functional.pad(wide * wide, (0, 0, 0, 0, 2, 2))
    total = squares[:, 0:n_channels]
    for shift in range(1, 5):
        total = total + squares[:, shift : shift + n_channels]
    root = torch.sqrt(2.0 + (1e-4 / 5) * total)  # to the power 0.75 below: r * sqrt(r)
    return (wide / (root * torch.sqrt(root))).to(x.dtype)


def xavier(layers: Iterable[nn.Module]) -> None:
    """Give convolutions their first weights: Xavier-uniform, biases zero, as the authors did."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class MapNet(nn.Module):
    """What gives a map of scores for a picture or a flow stack: `forward` and what follows from it.

    Map cell i is centred on input pixel 32 i.
    """

    STRIDE = 32  # input pixels between map cells
    OFFSET = 0  # input pixel on which cell 0 is centred

    config: NetConfig
    standardise: Standardise

    @staticmethod
    def map_size(height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of the map for an input of this size.

        Examples
        --------
        >>> MapNet.map_size(144, 256)
        (5, 8)
        """
        return math.ceil(height / 32), math.ceil(width / 32)

    def early_layers(self) -> list[nn.Module]:
        """Return the layers that may come from another network and be frozen at first."""
        raise NotImplementedError

    def scores(self, x: Tensor) -> Tensor:
        """Return scores (B, K, h, w) in [0, 1]: the sigmoid of `forward`."""
        return torch.sigmoid(self(x))

    def clip_scores(self, x: Tensor) -> Tensor:
        """Return one score a picture and label, (B, K): the maximum over the map.

        Notes
        -----
        The object model's global pooling in TABLE II; the paper's VT and ST targets are compared
        with the same maximum of the action map.
        """
        return self.scores(x).amax(dim=(2, 3))


class ImageFCN(MapNet):
    """The fully convolutional network of TABLE II, for pictures and for flow stacks.

    Parameters
    ----------
    n_channels : int
        Of the input.
    config : NetConfig

    Notes
    -----
    Pools are 3x3, stride 2, padding 1, and conv6 is padded by 1, as in the authors' code (the
    table prints 0): every stage halves and rounds up, so 144x256 gives 5x8 and not 3x6. Map cell
    i is centred on input pixel 32 i. Weights start as Xavier-uniform, biases at zero.

    Source: Liu, Yang and Jeng 2018, TABLE II; after VGG_CNN_M_2048 (Chatfield et al. 2014).
    """

    def __init__(self, n_channels: int, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        c1, c2, c3, c6, c7 = (n_filters(n, config.width) for n in (96, 256, 512, 2048, 1024))
        self.standardise = Standardise(n_channels)
        self.conv1 = nn.Conv2d(n_channels, c1, 7, stride=2, padding=3)
        self.conv2 = nn.Conv2d(c1, c2, 5, stride=2, padding=2)
        self.conv3 = nn.Conv2d(c2, c3, 3, padding=1)
        self.conv4 = nn.Conv2d(c3, c3, 3, padding=1)
        self.conv5 = nn.Conv2d(c3, c3, 3, padding=1)
        self.conv6 = nn.Conv2d(c3, c6, 3, padding=1)
        self.conv7 = nn.Conv2d(c6, c7, 1)
        self.conv8 = nn.Conv2d(c7, len(config.labels), 1)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.dropout = nn.Dropout(config.dropout)
        xavier(self.children())

    def early_layers(self) -> list[nn.Module]:
        """Return conv1 to conv5, which the paper takes from VGG_CNN_M_2048 (section IV-A2)."""
        return [self.conv1, self.conv2, self.conv3, self.conv4, self.conv5]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K, h, w) for an input (B, C, H, W); sizes as in `map_size`."""
        x = self.standardise(x)
        x = self.pool(response_norm(functional.relu(self.conv1(x))))
        x = self.pool(functional.relu(self.conv2(x)))
        x = functional.relu(self.conv3(x))
        x = functional.relu(self.conv4(x))
        x = self.pool(functional.relu(self.conv5(x)))
        x = self.dropout(functional.relu(self.conv6(x)))
        x = self.dropout(functional.relu(self.conv7(x)))
        return self.conv8(x)  # type: ignore[no-any-return]
