"""The configuration of a source -> what plays it, by the scheme of its locator."""

import importlib.metadata
from dataclasses import replace

from .config import SourceConfig
from .failures import SourceFailure
from .live import LiveSource
from .locator import ENTRY_POINTS, NETWORK_SCHEMES, Locator, parse_locator


def open_source(
    name: str, config: SourceConfig, *, picture_side: int = 256, picture_multiple: int = 1
) -> LiveSource:
    """Return the live source that a configuration names; it connects when it is iterated.

    Parameters
    ----------
    name : str
        Of the source.
    config : SourceConfig
    picture_side, picture_multiple : int
        Size of the pictures, as the object model's header asks for.

    Raises
    ------
    SourceFailure
        "unsupported", if nothing here plays such a locator.

    Examples
    --------
    >>> type(open_source("stage", SourceConfig(url="rtsp://10.0.0.7/1"))).__name__
    'NetworkSource'
    >>> type(open_source("stage", SourceConfig(url="concert.mp4", loop=True))).__name__
    'PacedFile'
    """
    try:
        locator = parse_locator(config.url)
    except ValueError as error:
        raise SourceFailure("unsupported", str(error)) from None
    if locator.microphone is None:
        return _single(locator, config, name, picture_side, picture_multiple)
    from .microphone import MicrophoneSource
    from .pair import PairSource

    camera = replace(locator, microphone=None)
    video = _single(camera, config, name, picture_side, picture_multiple)
    sound = MicrophoneSource(_device(locator.microphone), name=name, timeout=config.timeout)
    return PairSource(video, sound, name=name, av_offset=config.av_offset)


def _single(
    locator: Locator, config: SourceConfig, name: str, picture_side: int, picture_multiple: int
) -> LiveSource:
    # Imported here, so that a reader loads only what its source needs.
    if locator.scheme == "file":
        from .paced import PacedFile

        return PacedFile(
            locator.address,
            name=name,
            loop=config.loop,
            picture_side=picture_side,
            picture_multiple=picture_multiple,
        )
    if locator.scheme in (*NETWORK_SCHEMES, "v4l2"):
        from .live_source import NetworkSource

        return NetworkSource(
            locator,
            config,
            name=name,
            picture_side=picture_side,
            picture_multiple=picture_multiple,
        )
    if locator.scheme == "mic":
        from .microphone import MicrophoneSource

        return MicrophoneSource(_device(locator), name=name, timeout=config.timeout)
    return _further(locator, config, name, picture_side, picture_multiple)


def _device(microphone: Locator) -> str:
    return microphone.address or "default"


def _further(
    locator: Locator, config: SourceConfig, name: str, picture_side: int, picture_multiple: int
) -> LiveSource:
    found = importlib.metadata.entry_points(group=ENTRY_POINTS, name=locator.scheme)
    if not found:
        raise SourceFailure(
            "unsupported",
            f"{locator.shown}: no installed package plays {locator.scheme}://; install one that "
            f"has an entry point {ENTRY_POINTS!r} of this name.",
        )
    [point, *_] = found
    try:
        make = point.load()
    except Exception as error:  # whatever a package of somebody else does
        raise SourceFailure(
            "unsupported",
            f"{locator.shown}: {point.value} cannot be loaded "
            f"({type(error).__name__}: {error}); repair or remove that package.",
        ) from None
    source: LiveSource = make(
        locator,
        config,
        picture_side=picture_side,
        picture_multiple=picture_multiple,
        name=name,
    )
    return source
