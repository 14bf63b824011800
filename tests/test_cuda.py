"""The CUDA context, stream and memory of one network, and CUDA graphs, on a strict fake."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from playspot.engines.cuda import Buffer, Gpu, cuda_errors
from playspot.engines.cuda_graph import Graph, GraphError
from playspot.engines.engine import ModelError

BYTES = np.dtype(np.uint8)


@pytest.fixture
def gpu(fake_gpu: Any) -> Iterator[Gpu]:
    made = Gpu()
    yield made
    made.close()


@pytest.fixture
def buffer(gpu: Gpu) -> Iterator[Buffer]:
    with gpu:
        made = Buffer(gpu, 64)
    yield made
    with gpu:
        made.free()


def test_importing_it_touches_no_gpu() -> None:
    script = (
        "import sys, playspot.engines.trt; "
        "sys.exit(any(name.startswith(('pycuda', 'tensorrt')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_context_is_current_inside_only(gpu: Gpu, fake_gpu: Any) -> None:
    stacks = [len(fake_gpu.stack())]
    with gpu:
        stacks.append(len(fake_gpu.stack()))
        with gpu:
            stacks.append(len(fake_gpu.pycuda_stack()))
    stacks.append(len(fake_gpu.stack()))
    assert stacks == [0, 1, 2, 0]


def test_the_context_is_let_go_of_after_an_error(gpu: Gpu, fake_gpu: Any) -> None:
    with pytest.raises(KeyError), gpu:
        raise KeyError
    assert fake_gpu.stack() == []
    with gpu:
        gpu.wait()


def test_closing_releases_all_and_is_harmless_twice(fake_gpu: Any) -> None:
    gpu = Gpu()
    assert fake_gpu.primary.retained == 1
    gpu.close()
    gpu.close()
    assert fake_gpu.left() == []
    with pytest.raises(ValueError, match="GPU 0 is closed"), gpu:
        pass


def test_each_user_retains_the_context_once(gpu: Gpu, fake_gpu: Any) -> None:
    second = Gpu()
    assert fake_gpu.primary.retained == 2
    second.close()
    assert fake_gpu.primary.retained == 1


def test_it_can_be_closed_inside_another(gpu: Gpu, fake_gpu: Any) -> None:
    second = Gpu()
    with gpu:
        second.close()
        gpu.wait()
    assert fake_gpu.stack() == []


def test_it_can_be_closed_on_another_thread(fake_gpu: Any) -> None:
    gpu = Gpu()
    thread = threading.Thread(target=gpu.close)
    thread.start()
    thread.join()
    assert fake_gpu.left() == []


def test_two_threads_take_turns(gpu: Gpu) -> None:
    inside, waits = threading.Event(), []

    def work() -> None:
        inside.wait()
        with gpu:
            waits.append("second")

    thread = threading.Thread(target=work)
    thread.start()
    with gpu:
        inside.set()
        waits.append("first")
    thread.join()
    assert waits == ["first", "second"]


def test_a_forked_process_is_refused(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.getpid()
    with monkeypatch.context() as changed:
        changed.setattr(os, "getpid", lambda: own + 1)
        with pytest.raises(ModelError, match=f"opened by process {own}.*spawn"), gpu:
            pass
        gpu.close()  # leaves it alone
    with gpu:
        gpu.wait()


def test_what_is_written_comes_back_by_way_of_the_gpu(gpu: Gpu, buffer: Buffer) -> None:
    with gpu:
        buffer.write(np.arange(12, dtype=np.float32).reshape(3, 4))
        buffer.upload(48)
        gpu.wait()
        buffer.write(np.zeros(16, np.float32))
        buffer.download(48)
        gpu.wait()
        found = buffer.read((3, 4), np.dtype(np.float32))
    np.testing.assert_array_equal(found, np.arange(12).reshape(3, 4))


def test_a_buffer_is_one_piece_of_memory_for_ever(gpu: Gpu, buffer: Buffer, fake_gpu: Any) -> None:
    before = (buffer.address, list(fake_gpu.pinned), fake_gpu.n_allocations)
    with gpu:
        for shape in ((1, 2), (4, 16), (64,)):
            buffer.write(np.ones(shape, np.uint8))
            buffer.upload(int(np.prod(shape)))
            gpu.wait()
    assert (buffer.address, list(fake_gpu.pinned), fake_gpu.n_allocations) == before


def test_what_is_read_is_a_copy(gpu: Gpu, buffer: Buffer) -> None:
    with gpu:
        buffer.write(np.ones(64, np.uint8))
        found = buffer.read((64,), BYTES)
        buffer.write(np.zeros(64, np.uint8))
    assert found.all()


def test_an_array_that_is_too_large_is_refused(gpu: Gpu, buffer: Buffer) -> None:
    with gpu, pytest.raises(ValueError, match="reshape"):
        buffer.write(np.ones(65, np.uint8))


@pytest.mark.parametrize("nth", [1, 2])
def test_out_of_memory_leaves_no_half_of_a_buffer(
    gpu: Gpu, fake_gpu: Any, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    monkeypatch.setenv("FAKE_GPU", f"out-of-memory:{nth}")
    with pytest.raises(ModelError, match="a: the GPU has not enough memory"):  # noqa: SIM117
        with gpu, cuda_errors("a"):
            Buffer(gpu, 64)
    gc.collect()
    assert not fake_gpu.blocks
    assert not fake_gpu.pinned


def test_a_graph_does_again_what_was_captured(gpu: Gpu, buffer: Buffer, fake_gpu: Any) -> None:
    def there_and_back() -> None:
        buffer.upload(64)
        buffer.download(64)

    with gpu:
        graph = Graph(gpu.stream, there_and_back)
        for value in (1, 2):
            buffer.write(np.full(64, value, np.uint8))
            graph.launch()
            gpu.wait()
            assert np.all(buffer.read((64,), BYTES) == value)
        graph.close()
        graph.close()
    assert [*fake_gpu.alive.values()] == ["an event"]


def test_work_that_waits_cannot_be_captured_and_the_stream_goes_on(
    gpu: Gpu, buffer: Buffer, fake_gpu: Any
) -> None:
    with gpu:
        with pytest.raises(GraphError, match="not permitted when capturing"):
            Graph(gpu.stream, gpu.wait)
        buffer.upload(64)
        gpu.wait()
    assert [*fake_gpu.alive.values()] == ["an event"]


def test_work_that_allocates_breaks_the_capture(gpu: Gpu, buffer: Buffer, fake_gpu: Any) -> None:
    def work() -> None:
        with pytest.raises(Exception, match="not permitted"):
            gpu.allocate(64)

    with gpu:
        with pytest.raises(GraphError, match=r"cuStreamEndCapture failed: capture invalidated"):
            Graph(gpu.stream, work)
        gpu.wait()
    assert [*fake_gpu.alive.values()] == ["an event"]


def test_where_the_driver_cannot_capture_it_says_so(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_GPU", "no-capture")
    with gpu, pytest.raises(GraphError, match=r"cuStreamBeginCapture_v2 failed: .* \(801\)"):
        Graph(gpu.stream, lambda: None)


def test_without_pycuda_one_line_says_what_to_install(
    fake_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # undone before the fake goes, or it would come back
        patch.setitem(sys.modules, "pycuda", None)
        patch.delitem(sys.modules, "pycuda.driver", raising=False)
        with pytest.raises(ModelError, match=r"pip install 'playspot\[gpu\]'"):
            Gpu()
