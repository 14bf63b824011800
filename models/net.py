"""A network from its configuration, as a checkpoint stores it."""

from .action import ActionNet
from .backbone import BackboneNet
from .blocks import NetConfig
from .object import ObjectNet
from .sound import SoundNet

Net = SoundNet | ObjectNet | ActionNet | BackboneNet


def build(config: NetConfig) -> Net:
    """Return a new network of this configuration, with weights as before training.

    Examples
    --------
    >>> build(NetConfig("action", width=0.25)).config.width
    0.25
    """
    if config.backbone:
        return BackboneNet(config)
    networks: dict[str, type[SoundNet] | type[ObjectNet] | type[ActionNet]] = {
        "sound": SoundNet,
        "object": ObjectNet,
        "action": ActionNet,
    }
    return networks[config.kind](config.labels, width=config.width, dropout=config.dropout)
