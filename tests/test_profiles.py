"""Which sizes a plan is built for."""

import numpy as np
import pytest

from playspot.engines.engine import ModelError
from playspot.engines.network import Tensor
from playspot.engines.profiles import COLUMNS, is_inside, shapes_for

U8, F32 = np.dtype(np.uint8), np.dtype(np.float32)
PICTURES = Tensor("pictures", U8, ("batch", "height", "width", 3))
STACKS = Tensor("stacks", F32, ("batch", 10, "height", "width"))
WINDOWS = Tensor("log_mel", F32, ("batch", 384, "columns"))
FRAMES = Tensor("frames", U8, ("batch", "time", "height", "width"))


def test_pictures_of_any_aspect_are_inside() -> None:
    shapes = shapes_for([PICTURES], "object")
    assert shapes["pictures"][1] == (4, 144, 256, 3)
    for height, width in ((144, 256), (256, 144), (192, 256), (256, 256), (109, 256)):
        assert is_inside(shapes, {"pictures": np.zeros((1, height, width, 3), np.uint8)})


def test_a_larger_picture_is_outside_unless_the_model_asks_for_it() -> None:
    arrays = {"pictures": np.zeros((1, 252, 448, 3), np.uint8)}
    assert not is_inside(shapes_for([PICTURES], "object"), arrays)
    assert is_inside(shapes_for([PICTURES], "object", side=448), arrays)


def test_a_size_that_is_given_is_the_only_one() -> None:
    shapes = shapes_for([STACKS], "action", batch=(1, 1, 1), size=(144, 256))
    assert shapes == {"stacks": ((1, 10, 144, 256),) * 3}


def test_windows_of_any_length_are_inside() -> None:
    low, usual, high = shapes_for([WINDOWS], "sound")["log_mel"]
    assert (low[2], usual[2], high[2]) == COLUMNS
    assert low[1] == usual[1] == high[1] == 384


def test_frames_in_a_row_are_an_axis_of_flow() -> None:
    low, usual, high = shapes_for([FRAMES], "flow")["frames"]
    assert (low[1], usual[1], high[1]) == (2, 5, 6)


def test_an_open_axis_without_a_name_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"leaves axis 1 \(what\) open"):
        shapes_for([Tensor("x", F32, ("batch", "what"))], "", (1, 1, 1))


@pytest.mark.parametrize("batch", [(0, 1, 2), (4, 2, 8), (1, 9, 8)])
def test_batches_out_of_order_are_refused(batch: tuple[int, int, int]) -> None:
    with pytest.raises(ModelError, match=r"batch is .*; give 1 or more, in order MIN:OPT:MAX"):
        shapes_for([STACKS], "action", batch)


def test_an_input_that_is_missing_is_outside() -> None:
    assert not is_inside(shapes_for([STACKS], "action"), {})
