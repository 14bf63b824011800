"""How near to the machine's limits a network runs: its roofline.

In: what a network costs (`graph_cost`) and how long it took. Out: the share of the speed that the
processor's arithmetic and its memory allow. Source: Williams, Waterman and Patterson 2009.
"""

import ctypes
import time
from dataclasses import dataclass
from typing import Final

import numpy as np

from .graph_cost import GraphCost

GEMM_SIDE = 1024
COPY_BYTES = 128 * 2**20  # far more than any cache holds
PROBE_SECONDS = 0.4
# fp32 lanes of a multiprocessor by compute capability (CUDA programming guide, throughput of
# native arithmetic instructions). Without tensor cores, which TF32, fp16 and int8 use.
LANES: Final = {
    (5, 0): 128, (5, 2): 128, (5, 3): 128, (6, 0): 64, (6, 1): 128, (6, 2): 128, (7, 0): 64,
    (7, 2): 64, (7, 5): 64, (8, 0): 64, (8, 6): 128, (8, 7): 128, (8, 9): 128, (9, 0): 128,
    (10, 0): 128, (10, 3): 128, (11, 0): 128, (12, 0): 128, (12, 1): 128,
}  # fmt: skip
# CUdevice_attribute of cuda.h.
_N_MULTIPROCESSORS, _CLOCK_KHZ, _MEMORY_CLOCK_KHZ, _BUS_BITS = 16, 13, 36, 37
_CAPABILITY = (75, 76)


@dataclass(frozen=True)
class Peak:
    """What a processor can do at most.

    Attributes
    ----------
    flops : float
        Floating point operations a second, fp32.
    bandwidth : float
        Bytes a second to and from its memory.
    source : str
        How that is known.
    """

    flops: float
    bandwidth: float
    source: str

    def roof(self, cost: GraphCost) -> float:
        """Return the FLOP a second that a network of this intensity can reach.

        Examples
        --------
        >>> from playspot.training.graph_cost import OperatorCost
        >>> cost = GraphCost((OperatorCost("a", "Conv", 1000, 10),))
        >>> Peak(5e9, 1e8, "made up").roof(cost), Peak(5e9, 1e7, "made up").roof(cost)
        (5000000000.0, 1000000000.0)
        """
        return min(self.flops, cost.intensity * self.bandwidth)

    def share(self, cost: GraphCost, seconds: float) -> float:
        """Return the reached part of the roof, for a run that took so many seconds.

        Notes
        -----
        Above 1 where an engine fuses operators and so moves fewer bytes than the graph says, or
        computes in a type narrower than fp32.
        """
        return cost.flop / max(seconds, 1e-9) / self.roof(cost)


def cpu_peak(seconds: float = PROBE_SECONDS) -> Peak:
    """Return what this process's threads of NumPy reach: a product of matrices, a copy.

    By the time of the processor, all threads together, so that it holds for one core, and beside
    other processes.

    Parameters
    ----------
    seconds : float
        How long each of the two is tried; the fastest try counts.
    """
    a = np.ones((GEMM_SIDE, GEMM_SIDE), np.float32)
    product = np.empty_like(a)
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.zeros_like(source)

    def fastest(work: str) -> float:
        best, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end or best == float("inf"):
            began = time.process_time()
            np.matmul(a, a, out=product) if work == "gemm" else np.copyto(target, source)
            best = min(best, time.process_time() - began)
        return best

    flops = 2 * GEMM_SIDE**3 / fastest("gemm")
    bandwidth = 2 * COPY_BYTES / fastest("copy")  # read and written
    return Peak(
        flops, bandwidth, "probe: a product of matrices by NumPy, a copy in memory; one core"
    )


def gpu_peak(device: int = 0) -> Peak | None:
    """Return what a GPU can do by its attributes; None without a driver, or for an unknown one.

    No context is created. fp32 outside the tensor cores.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    handle = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(handle), device):
        return None

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        failed = cuda.cuDeviceGetAttribute(ctypes.byref(value), number, handle)
        return 0 if failed else value.value

    capability = (attribute(_CAPABILITY[0]), attribute(_CAPABILITY[1]))
    rates = [attribute(n) for n in (_N_MULTIPROCESSORS, _CLOCK_KHZ, _MEMORY_CLOCK_KHZ, _BUS_BITS)]
    if capability not in LANES or 0 in rates:
        return None
    n_multiprocessors, clock, memory_clock, bus_bits = rates
    return Peak(
        2.0 * n_multiprocessors * LANES[capability] * clock * 1e3,
        2.0 * memory_clock * 1e3 * bus_bits / 8,  # two transfers a cycle
        f"attributes of the GPU, compute capability {capability[0]}.{capability[1]}; "
        "fp32 outside the tensor cores",
    )
