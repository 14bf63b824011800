"""Sound -> log-mel patches as YAMNet was trained on: 0.975 s, 96 columns of 10 ms, 64 bands."""

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .media import Waveform
from .timeline import SAMPLE_RATE

PATCH_COLUMNS, PATCH_BANDS = 96, 64
PATCH_WIN_LENGTH, PATCH_HOP_LENGTH, PATCH_N_FFT = 400, 160, 512  # samples: 25 ms, 10 ms
PATCH_SAMPLES = (PATCH_COLUMNS - 1) * PATCH_HOP_LENGTH + PATCH_WIN_LENGTH  # 15600: 0.975 s
PATCH_FMIN, PATCH_FMAX = 125.0, 7500.0  # Hz
PATCH_FLOOR = 0.001  # log(magnitude + floor)


def yamnet_patch(waveform: Waveform) -> NDArray[np.float32]:
    """Return the log-mel patch of 0.975 s of sound, as YAMNet wants it.

    Parameters
    ----------
    waveform : float32, shape (15600,)
        Mono, in [-1, 1], at 16 kHz.

    Returns
    -------
    patch : float32, shape (96, 64)
        Column by band: ln(0.001 + magnitude through the mel filters).

    Raises
    ------
    ValueError
        If `waveform` has another shape.

    Notes
    -----
    Hann windows of 25 ms every 10 ms, 64 bands from 125 Hz to 7500 Hz on the HTK mel scale.
    Patches of neighbouring steps overlap but share no column: 8192 samples are not a multiple of
    160. Source: the public YAMNet code (TensorFlow models, research/audioset/yamnet).

    Examples
    --------
    >>> import numpy as np
    >>> yamnet_patch(np.zeros(15_600, np.float32)).shape
    (96, 64)
    """
    if waveform.shape != (PATCH_SAMPLES,):
        raise ValueError(f"waveform has shape {waveform.shape}; give {PATCH_SAMPLES} samples.")
    frames = sliding_window_view(waveform, PATCH_WIN_LENGTH)[::PATCH_HOP_LENGTH]  # (96, 400)
    window, filters = _patch_constants()
    magnitude = np.abs(np.fft.rfft(frames * window, PATCH_N_FFT))  # (96, 257)
    patch: NDArray[np.float32] = np.log(magnitude @ filters + PATCH_FLOOR).astype(np.float32)
    return patch


@cache
def _patch_constants() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(PATCH_WIN_LENGTH) / PATCH_WIN_LENGTH)
    bins = _hz_to_htk(np.arange(1 + PATCH_N_FFT // 2) * (SAMPLE_RATE / PATCH_N_FFT))
    lowest, highest = _hz_to_htk(np.array([PATCH_FMIN, PATCH_FMAX]))
    edges = np.linspace(lowest, highest, PATCH_BANDS + 2)
    # Triangles over mel, not over Hz; the bin at 0 Hz lies below them all.
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return window, np.maximum(0.0, np.minimum(rising, falling))  # (400,), (257, 64)


def _hz_to_htk(hz: NDArray[np.floating]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127.0 * np.log1p(hz / 700.0)
    return mel
