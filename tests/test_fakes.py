"""The fake GPU is strict: what a real one would answer with undefined behaviour raises.

Each test does one thing wrong; `wrong` makes sure that it is noticed, and remembered.
"""

import inspect
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

Wrong = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def wrong(fake_gpu: Any) -> Wrong:
    @contextmanager
    def misuse(told: str) -> Iterator[None]:
        from pycuda.fake_device import MisuseError

        with pytest.raises(MisuseError, match=told):
            yield
        assert fake_gpu.faults
        fake_gpu.faults.clear()

    return misuse


@pytest.fixture
def gpu(fake_gpu: Any) -> Iterator[SimpleNamespace]:
    """Return a context that is current, a stream, and a pair of buffers of 64 bytes."""
    import pycuda.driver as cuda

    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.push()
    made = SimpleNamespace(cuda=cuda, stream=cuda.Stream(1), device=cuda.mem_alloc(64))
    made.host = cuda.pagelocked_empty(64, np.uint8)
    yield made
    fake_gpu.faults.clear()
    for stream in list(fake_gpu.streams.values()):
        stream.queue.clear()
    if not made.device._block.is_freed:
        made.device.free()
    made.host.base.free()
    del made.stream
    cuda.Context.pop()
    context.detach()
    fake_gpu.stack().clear()


@pytest.fixture
def loaded(gpu: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """Return a context of an engine that doubles `x`, float32 (n, 2), n of 1 to 4."""
    import tensorrt as trt
    from tensorrt.fake_build import make_plan

    sizes: list[str | int | None] = ["n", 2]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, sizes)],
    )
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    plan = make_plan(model.SerializeToString(), {"x": [(1, 2), (2, 2), (4, 2)]})
    gpu.runtime = trt.Runtime(trt.Logger())
    gpu.engine = gpu.runtime.deserialize_cuda_engine(plan)
    gpu.context = gpu.engine.create_execution_context()
    yield gpu
    for name in ("context", "engine", "runtime"):
        vars(gpu).pop(name, None)


def ready(loaded: SimpleNamespace) -> None:
    loaded.context.set_input_shape("x", (2, 2))
    loaded.context.set_tensor_address("x", int(loaded.device))
    loaded.context.set_tensor_address("y", int(loaded.device))


def test_copies_run_when_the_stream_is_waited_for(gpu: SimpleNamespace) -> None:
    gpu.host[:] = 1
    gpu.cuda.memcpy_htod_async(gpu.device, gpu.host, gpu.stream)
    gpu.host[:] = 2  # too early: the copy has not run
    gpu.stream.synchronize()
    gpu.host[:] = 0
    gpu.cuda.memcpy_dtoh_async(gpu.host, gpu.device, gpu.stream)
    assert np.all(gpu.host == 0)  # too early again
    gpu.stream.synchronize()
    assert np.all(gpu.host == 2)


def test_ordinary_memory_cannot_be_copied_asynchronously(
    gpu: SimpleNamespace, wrong: Wrong
) -> None:
    with wrong("not page-locked"):
        gpu.cuda.memcpy_htod_async(gpu.device, np.zeros(64, np.uint8), gpu.stream)


def test_a_copy_that_is_too_long_is_noticed(gpu: SimpleNamespace, wrong: Wrong) -> None:
    with wrong("64 bytes at .* are not in device memory"):
        gpu.cuda.memcpy_htod_async(int(gpu.device) + 8, gpu.host, gpu.stream)


def test_the_default_stream_is_noticed(gpu: SimpleNamespace, wrong: Wrong) -> None:
    with wrong("default stream"):
        gpu.cuda.memcpy_htod_async(gpu.device, gpu.host)


def test_memory_that_is_freed_while_work_is_pending_is_noticed(
    gpu: SimpleNamespace, wrong: Wrong
) -> None:
    gpu.cuda.memcpy_htod_async(gpu.device, gpu.host, gpu.stream)
    with wrong("freed while work is pending"):
        gpu.device.free()


def test_memory_that_is_freed_twice_or_used_then_is_noticed(
    gpu: SimpleNamespace, wrong: Wrong
) -> None:
    gpu.device.free()
    with wrong("freed twice"):
        gpu.device.free()
    with wrong("freed device memory"):
        int(gpu.device)


def test_a_thread_without_a_context_is_noticed(gpu: SimpleNamespace, wrong: Wrong) -> None:
    def work() -> None:
        with wrong("without a context that is current on this thread"):
            gpu.cuda.mem_alloc(64)
        done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done


def test_a_context_is_of_no_use_when_it_is_detached(fake_gpu: Any, wrong: Wrong) -> None:
    import pycuda.driver as cuda

    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.detach()
    with wrong("after it was detached"):
        context.push()
    assert fake_gpu.left() == ["a context that is still pushed"]  # as pycuda leaves it
    fake_gpu.stack().clear()


def test_what_is_left_in_a_context_is_noticed(fake_gpu: Any, wrong: Wrong) -> None:
    import pycuda.driver as cuda

    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.push()
    memory = cuda.mem_alloc(64)
    with wrong("the context is released before what lives in it"):
        context.detach()
    del memory._block.is_freed  # as it is gone with the context
    memory._block.is_freed = True
    fake_gpu.blocks.clear()
    fake_gpu.stack().clear()
    fake_gpu.pycuda_stack().clear()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda c, s: c.get_tensor_shape("y"), "before set_input_shape"),
        (lambda c, s: c.execute_async_v3(s), "before set_input_shape"),
        (lambda c, s: c.set_input_shape("x", (5, 2)), "outside the profile"),
        (lambda c, s: c.set_input_shape("y", (1, 2)), "is no input"),
        (lambda c, s: c.set_tensor_address("z", 0), "has no tensor"),
        (lambda c, s: c.set_tensor_address("x", 0x7F0000000008), "not aligned"),
        (lambda c, s: c.execute_async_v3(0), "default stream"),
        (lambda c, s: c.execute_async_v3(99), "is no stream"),
    ],
)
def test_a_call_out_of_order_or_out_of_bounds_is_noticed(
    loaded: SimpleNamespace, wrong: Wrong, call: Callable[[Any, int], object], told: str
) -> None:
    with wrong(told):
        call(loaded.context, loaded.stream.handle)


def test_addresses_must_be_set_and_hold_the_tensor(loaded: SimpleNamespace, wrong: Wrong) -> None:
    loaded.context.set_input_shape("x", (2, 2))
    with wrong("before set_tensor_address of x"):
        loaded.context.execute_async_v3(loaded.stream.handle)
    loaded.context.set_tensor_address("x", int(loaded.device))
    loaded.context.set_tensor_address("y", 0x100)
    with wrong("the tensor y: 16 bytes at 0x100 are not in device memory"):
        loaded.context.execute_async_v3(loaded.stream.handle)


def test_a_context_that_changes_before_its_work_is_done_is_noticed(
    loaded: SimpleNamespace, wrong: Wrong
) -> None:
    ready(loaded)
    loaded.context.execute_async_v3(loaded.stream.handle)
    loaded.context.set_input_shape("x", (3, 2))
    with wrong("execution context changed since"):
        loaded.stream.synchronize()


def test_a_capture_without_a_run_before_it_is_noticed(
    loaded: SimpleNamespace, wrong: Wrong, fake_gpu: Any
) -> None:
    ready(loaded)
    fake_gpu.streams[loaded.stream.handle].captured = []
    with wrong("not enqueued since its last change"):
        loaded.context.execute_async_v3(loaded.stream.handle)
    fake_gpu.streams[loaded.stream.handle].captured = None


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("runtime", "a runtime is released before its engines"),
        ("engine", "an engine is released before its execution contexts"),
    ],
)
def test_what_others_live_in_must_outlive_them(
    loaded: SimpleNamespace, fake_gpu: Any, first: str, told: str
) -> None:
    delattr(loaded, first)
    assert fake_gpu.faults == [told]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("context.push(); memory = cuda.mem_alloc(8)", 99),
        ("context.push(); cuda.Context.pop(); context.detach()", 99),  # pycuda leaves it current
        ("context.push(); pop(); context.detach()", 0),
    ],
)
def test_at_the_end_of_a_process_what_is_left_is_its_exit_status(
    fake_gpu: Any, script: str, status: int
) -> None:
    before = (
        "import pycuda.driver as cuda\n"
        "from playspot.engines.cuda_graph import pop_context as pop\n"
        "cuda.init(); context = cuda.Device(0).retain_primary_context()\n"
    )
    command = [sys.executable, "-c", before + script]
    assert subprocess.run(command, capture_output=True, check=False).returncode == status


# pycuda's own signatures, as its docstrings have them: read from 2026.1, built by hand against
# the headers of CUDA 13 and a libcuda that has no GPU. Its source is no part of the tests, and
# building it takes two minutes.
PYCUDA = {
    "init": ["flags"],
    "get_version": [],
    "get_driver_version": [],
    "mem_alloc": [""],  # a name of no meaning: by position only
    "mem_get_info": [],
    "pagelocked_empty": ["shape", "dtype", "order", "mem_flags"],
    "memcpy_htod_async": ["dest", "src", "stream"],
    "memcpy_dtoh_async": ["dest", "src", "stream"],
    "Device.count": [],
    "Device.name": [],
    "Device.compute_capability": [],
    "Device.total_memory": [],
    "Device.retain_primary_context": [],
    "Context.push": [],
    "Context.pop": [],
    "Context.synchronize": [],
    "Context.detach": [],
    "Context.handle": None,  # a property
    "Stream.__init__": ["flags"],
    "Stream.handle": None,
    "Stream.synchronize": [],
    "Stream.is_done": [],
    "event_flags.DEFAULT": None,
    "event_flags.BLOCKING_SYNC": None,
    "event_flags.DISABLE_TIMING": None,
    "Event.__init__": ["flags"],
    "Event.record": ["stream"],
    "Event.synchronize": [],
    "DeviceAllocation.__int__": [],
    "DeviceAllocation.__index__": [],
    "DeviceAllocation.free": [],
    "PagelockedHostAllocation.free": [],
}
ERRORS = ["LogicError", "RuntimeError", "MemoryError", "LaunchError"]


def test_the_fake_pycuda_has_what_the_real_one_has_and_nothing_else(fake_gpu: Any) -> None:
    import pycuda.driver as cuda

    found: dict[str, Any] = {}
    for name, value in vars(cuda).items():
        if name.startswith("_") or getattr(value, "__module__", "") != cuda.__name__:
            continue
        if not isinstance(value, type):
            found[name] = value
        elif not issubclass(value, Exception):
            members = {key: inspect.getattr_static(value, key) for key in vars(value)}
            found |= {
                f"{name}.{key}": member
                for key, member in members.items()
                if not key.startswith("_") or f"{name}.{key}" in PYCUDA
            }
    assert found.keys() == PYCUDA.keys()
    for name, value in found.items():
        arguments = PYCUDA[name]
        if arguments is None or isinstance(value, property):
            continue
        function = value.__func__ if isinstance(value, staticmethod) else value
        own = [key for key in inspect.signature(function).parameters if key != "self"]
        assert len(own) == len(arguments), name
        assert all(a in ("", b) for a, b in zip(arguments, own, strict=True)), name


def test_the_errors_of_the_fake_pycuda_are_of_its_classes(fake_gpu: Any) -> None:
    import pycuda.driver as cuda

    assert all(getattr(cuda, name).__mro__[1] is cuda.Error for name in ERRORS)
    assert cuda.Error.__mro__[1] is Exception
