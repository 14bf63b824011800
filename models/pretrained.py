"""Early layers from a network that was trained on something else.

The paper's object model takes conv1 to conv5 from VGG_CNN_M_2048 and begins its late layers anew,
frozen first and free later (sections IV-A2 and IV-D).
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .backbone import BackboneNet, make_body
from .caffe import read_caffemodel
from .net import Net

TIMM = "timm"  # in place of a path: what timm publishes for the backbone


def load_early(net: Net, source: str | Path) -> list[str]:
    """Give a network's early layers the weights of another, and return their names.

    Parameters
    ----------
    net : SoundNet, ObjectNet, ActionNet or BackboneNet
        Changed in place; its other layers stay.
    source : path or "timm"
        A checkpoint of `playspot train`, a PyTorch state dict (`.pt`, `.pth`), a NumPy archive
        (`.npz`) or a Caffe model (`.caffemodel`, blue first). Weights are found by name, or else
        convolutions in their order. "timm" downloads what timm publishes for a backbone.

    Returns
    -------
    names : list of str
        Of the weights that were taken, as in `net.state_dict()`.

    Raises
    ------
    ValueError
        If the file cannot be read, or an early layer has no weight of its shape in it.

    Examples
    --------
    >>> from .blocks import NetConfig
    >>> from .net import build
    >>> load_early(build(NetConfig("object", width=0.1)), "nothing.pt")
    Traceback (most recent call last):
    ...
    ValueError: nothing.pt: no such file
    """
    if source == TIMM:
        if not isinstance(net, BackboneNet):
            raise ValueError("init_from is 'timm', which is for a network with a backbone")
        n_channels = net.standardise.mean.numel()
        body = make_body(net.config.backbone, n_channels, is_pretrained=True)
        net.body.load_state_dict(body.state_dict())
        return [f"body.{name}" for name in body.state_dict()]
    path = Path(source)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    given = _read(path)
    wanted = _early_names(net)
    found = {name: given[name] for name in wanted if name in given}
    if len(found) < len(wanted):
        found = _in_order(wanted, given)
    own = net.state_dict()
    for name in wanted:
        if name not in found:
            raise ValueError(f"{path}: has nothing for {name}; is it a network of this form?")
        if found[name].shape != own[name].shape:
            raise ValueError(
                f"{path}: {name} is {tuple(found[name].shape)}, this network needs "
                f"{tuple(own[name].shape)} (width {net.config.width:g})"
            )
        if not bool(torch.isfinite(found[name]).all()):
            raise ValueError(f"{path}: {name} holds values that are not finite")
    net.load_state_dict(found, strict=False)
    return wanted


def _early_names(net: Net) -> list[str]:
    """Return the names of everything in the early layers, in their order."""
    name_of = {layer: name for name, layer in net.named_modules()}
    return [
        f"{name_of[layer]}.{name}" for layer in net.early_layers() for name in layer.state_dict()
    ]


def _in_order(wanted: list[str], given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the given convolutions, filters and biases, under our names, first to first."""
    filters = [name for name, value in given.items() if value.ndim in (3, 4)]
    found = {}
    for name, other in zip([n for n in wanted if n.endswith("weight")], filters, strict=False):
        found[name] = given[other]
        bias = other.removesuffix("weight") + "bias"
        if bias in given:
            found[name.removesuffix("weight") + "bias"] = given[bias]
    return found


def _read(path: Path) -> dict[str, Tensor]:
    """Return the weights of a file by name, without running any code from it."""
    if path.suffix == ".caffemodel":
        return _from_caffe(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                content: Any = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: cannot be read ({_reason(error)})") from None
    except Exception:  # torch: pickle errors of several kinds, which advise to load without safety
        raise ValueError(
            f"{path}: cannot be read safely: damaged, or more than tensors in it; give a state dict"
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds no weights by name")
    return {name: value.float() for name, value in content.items() if isinstance(value, Tensor)}


def _from_caffe(path: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for name, blobs in read_caffemodel(path).items():
        filters = torch.from_numpy(blobs[0].copy())
        if not weights and filters.ndim == 4 and filters.shape[1] == 3:
            filters = filters.flip(1)  # BGR -> RGB
        weights[f"{name}.weight"] = filters
        if len(blobs) > 1:
            weights[f"{name}.bias"] = torch.from_numpy(blobs[1].reshape(-1).copy())
    return {name: value for name, value in weights.items() if min(value.shape[:1], default=0)}


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
