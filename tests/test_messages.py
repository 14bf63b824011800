import json

import numpy as np
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from playspot.stream.messages import Message, MessageError, pack, receive, send, unpack


@given(
    st.sampled_from(["uint8", "float16", "float32"]),
    st.lists(st.integers(0, 5), min_size=0, max_size=4),
)
def test_what_is_packed_is_unpacked(dtype: str, shape: list[int]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    message = Message("stack", 3, 7, {"arrived": 1.5}, (array,))
    got = unpack([bytes(part) for part in pack(message)])
    assert (got.kind, got.source, got.index, got.data) == ("stack", 3, 7, {"arrived": 1.5})
    assert got.arrays[0].shape == array.shape
    np.testing.assert_array_equal(got.arrays[0], array)


def test_a_view_of_other_strides_arrives_in_order() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    got = unpack([bytes(part) for part in pack(Message("x", arrays=(array,)))])
    np.testing.assert_array_equal(got.arrays[0], array)


def header(**changes: object) -> bytes:
    fields = {"kind": "pcm", "source": 1, "index": 0, "data": {}, "arrays": [], **changes}
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ([], "header"),
        ([b"\x80\x04nonsense"], "not a message header"),
        ([b"{}"], "not a message header"),
        ([b"[1]"], "not a message header"),
        ([b"[" * 100_000], "not a message header"),
        ([b'{"arrays": [["uint8", [1e999]]]}'], "not a message header"),
        ([header(arrays=[["float32", [2]]])], "1 arrays announced, 0 received"),
        ([header(arrays=[["object", [1]]]), b"12345678"], "object"),
        ([header(arrays=[["float32", [3]]]), b"12345678"], "has not 8 bytes"),
        ([header(arrays=[["float32", [-1]]]), b""], "has not 0 bytes"),
        ([header(arrays=[["uint8", [10**9, 10**9]]]), b"1"], "has not 1 bytes"),
        ([b" " * ((1 << 20) + 1)], "header of at most"),
    ],
)
def test_what_is_not_a_message_is_refused(parts: list[bytes], match: str) -> None:
    with pytest.raises(MessageError, match=match):
        unpack(parts)


def test_messages_cross_a_real_socket() -> None:
    with (
        zmq.Context() as context,
        context.socket(zmq.PULL) as inlet,
        context.socket(zmq.PUSH) as outlet,
    ):
        port = inlet.bind_to_random_port("tcp://127.0.0.1")
        outlet.connect(f"tcp://127.0.0.1:{port}")
        picture = np.arange(256 * 144 * 3, dtype=np.uint8).reshape(144, 256, 3)
        send(outlet, Message("picture", 1, 4, arrays=(picture,)))
        assert inlet.poll(5000)
        np.testing.assert_array_equal(receive(inlet).arrays[0], picture)
