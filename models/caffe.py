"""Weights of a Caffe model: a `.caffemodel` file -> arrays by layer.

VGG_CNN_M_2048, whose early layers the paper starts from, was published in this form. Only what
holds weights is read; nothing of Caffe is needed.

Conventions: a Protocol Buffers message is a row of (field number, value); numbers below are those
of Caffe's `caffe.proto`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# NetParameter: `layers` (of 2014) or `layer`; of either the fields of its name and its blobs.
_LAYER_FIELDS = {2: (4, 6), 100: (1, 7)}
_OLD_SIDES = (1, 2, 3, 4)  # BlobProto: num, channels, height, width
_DATA, _SHAPE = 5, 7
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_caffemodel(path: Path) -> dict[str, list[Array]]:
    """Return the weights of each layer that has some: filters, then biases, as Caffe stores them.

    Parameters
    ----------
    path : Path

    Returns
    -------
    layers : dict of layer name to list of float32 arrays
        Convolutions (filters, channels, height, width); in the order of the file.

    Raises
    ------
    ValueError
        If the file cannot be read as a Caffe model.

    Notes
    -----
    Networks trained in Caffe saw blue first: the channels of a first layer are in the order BGR.
    """
    layers: dict[str, list[Array]] = {}
    try:
        content = memoryview(path.read_bytes())
        for number, layer in _fields(content):
            if number not in _LAYER_FIELDS or isinstance(layer, int):
                continue
            of_name, of_blobs = _LAYER_FIELDS[number]
            fields = list(_fields(layer))
            blobs = [_blob(v) for n, v in fields if n == of_blobs and not isinstance(v, int)]
            names = [v for n, v in fields if n == of_name and not isinstance(v, int)]
            if blobs and names:
                layers[bytes(names[0]).decode()] = blobs
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: not a Caffe model ({error})") from None
    if not layers:
        raise ValueError(f"{path}: not a Caffe model with weights")
    return layers


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the fields of a message: numbers as int, everything else as bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
        if wire == _BYTES:
            size, place = _varint(message, place)
        if size < 0 or place + size > len(message):
            raise ValueError(f"broken at byte {place}")
        yield number, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError(f"broken at byte {place}")


def _blob(message: memoryview) -> Array:
    sides: dict[int, int] = {}
    shape: list[int] = []
    data: list[memoryview] = []  # one part if packed, else one a number
    for number, value in _fields(message):
        if number in _OLD_SIDES and isinstance(value, int):
            sides[number] = value
        elif number == _SHAPE and not isinstance(value, int):
            shape = _dimensions(value)
        elif number == _DATA and not isinstance(value, int):
            data.append(value)
    numbers = np.frombuffer(b"".join(data), "<f4")
    return numbers.reshape(shape or [sides.get(side, 1) for side in _OLD_SIDES])


def _dimensions(message: memoryview) -> list[int]:
    """Return a BlobShape: one number a field, or all of them packed."""
    found: list[int] = []
    for _, value in _fields(message):
        if isinstance(value, int):
            found.append(value)
            continue
        place = 0
        while place < len(value):
            side, place = _varint(value, place)
            found.append(side)
    return found
