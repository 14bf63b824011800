"""TEMPORARY by the lead until the engineer of network sources writes it: overwrite freely."""
from .config import SourceConfig
from .live import LiveSource
from .locator import parse_locator


def open_source(name: str, config: SourceConfig, *, picture_side: int, picture_multiple: int) -> LiveSource:
    locator = parse_locator(config.url)
    if locator.scheme == "file":
        from .paced import PacedFile

        return PacedFile(locator.text.removeprefix("file://"), name=name, loop=config.loop, picture_side=picture_side, picture_multiple=picture_multiple)
    from importlib.metadata import entry_points

    found = list(entry_points(group="playspot.sources", name=locator.scheme))
    return found[0].load()(locator, config, picture_side=picture_side, picture_multiple=picture_multiple, name=name)
