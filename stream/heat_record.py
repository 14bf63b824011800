"""Heat: the playing maps of a scored step, as they go to subscribers."""

from base64 import b64encode

import numpy as np

from .messages import Message
from .timeline import step_time
from .wire import Heat


def heat_of(message: Message, source: str, system_id: str, step: int) -> Heat:
    """Return the record of the maps that came with a scored step; an empty one without maps.

    Parameters
    ----------
    message : Message
        Its array, uint8 (K, H, W), holds the maps of the labels in `heat_labels`, 255 is 1.
    source, system_id : str
    step : int
        Of the time line of the source.

    Raises
    ------
    ValueError
        If there are not as many maps as labels.

    Examples
    --------
    >>> maps = np.array([[[0, 255]]], np.uint8)
    >>> message = Message("scored", data={"heat_labels": ["drum"]}, arrays=(maps,))
    >>> heat = heat_of(message, "stage", "a1", 0)
    >>> heat.shape, heat.maps
    ((1, 2), {'drum': 'AP8='})
    """
    labels = message.data.get("heat_labels", ())
    maps = message.arrays[0] if message.arrays else np.empty((0, 0, 0), np.uint8)
    if maps.dtype != np.uint8 or maps.ndim != 3 or len(maps) != len(labels):
        raise ValueError(f"{len(labels)} heat maps were announced, {maps.shape} came")
    return Heat(
        source=source,
        system_id=system_id,
        step=step,
        time=step_time(step),
        shape=(maps.shape[1], maps.shape[2]),
        maps={
            str(label): b64encode(each.tobytes()).decode()
            for label, each in zip(labels, maps, strict=True)
        },
    )
