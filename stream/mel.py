"""Waveform -> log-mel spectrogram at three window lengths: `log_mel` (whole), `MelStream` (chunks).

In: mono float32 in [-1, 1] at `SAMPLE_RATE`. Out: float32 (384, T), in natural log: rows 0..127 are
the mel bands of the 512-sample window, then those of 2048, then those of 8192, each from low to
high; a column every `HOP_LENGTH` samples (32 ms). Standardisation is inside the network.

Column t is centred on sample 512 t. At the ends of the sound the windows see its mirror image, so
that n samples give 1 + n // 512 columns (none for n = 0). Source: Liu, Yang and Jeng 2018, section
IV-B; power, scale and mirrored ends from the features that the authors publish.
"""

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .media import Waveform
from .timeline import HOP_LENGTH, N_MELS, SAMPLE_RATE, WIN_LENGTHS

LogMel = NDArray[np.float32]  # (N_BANDS, T)

N_BANDS = N_MELS * len(WIN_LENGTHS)  # 384
GAIN = 10_000.0  # log(1 + GAIN * power)
LOOK_AHEAD = max(WIN_LENGTHS) // 2  # samples after its centre that a column needs: 4096

_BLOCK = 16  # columns computed at a time: a few MB of spectra, however long the waveform
_GROUP = 32  # bands multiplied at a time, see `_grouped_filters`


def log_mel(waveform: Waveform) -> LogMel:
    """Return the log-mel spectrogram of a whole waveform.

    Parameters
    ----------
    waveform : float32, shape (n,)
        Mono, in [-1, 1], at 16 kHz. Any length, also shorter than a window.

    Returns
    -------
    log_mel : float32, shape (384, 1 + n // 512)
        ln(1 + 10000 power); (384, 0) for n = 0.

    Raises
    ------
    ValueError
        If `waveform` is not mono or not of floating type.

    Notes
    -----
    Equals librosa 0.11's `melspectrogram` with power 2, Slaney mel scale and norm, and
    `pad_mode="reflect"`, to 1e-4. Source: Liu, Yang and Jeng 2018, section IV-B.

    Examples
    --------
    >>> import numpy as np
    >>> log_mel(np.zeros(16_000, np.float32)).shape
    (384, 32)
    """
    stream = MelStream()
    return np.concatenate([stream.push(waveform), stream.flush()], axis=1)


class MelStream:
    """The log-mel columns of a waveform that comes in chunks of any length.

    The columns together equal `log_mel` of the chunks together. A column is given as soon as its
    longest window is full, 4096 samples (256 ms) after its centre, and each is computed once. At
    most 8192 samples are kept between calls.

    Examples
    --------
    >>> import numpy as np
    >>> stream = MelStream()
    >>> stream.push(np.zeros(8192, np.float32)).shape  # columns 0 .. 8 have all they need
    (384, 9)
    >>> stream.flush().shape  # columns 9 .. 16
    (384, 8)
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all sound, as if the stream were new."""
        # The buffer starts LOOK_AHEAD samples before the centre of the next column; at the very
        # start these are the mirror image, which is not known before the first 4096 samples.
        self._buffer: Waveform = np.zeros(0, np.float32)
        self._n_samples = 0
        self._n_columns = 0
        self._has_left_edge = False

    def push(self, waveform: Waveform) -> LogMel:
        """Return the columns that `waveform`, the sound that follows, completes.

        Parameters
        ----------
        waveform : float32, shape (n,)
            Mono, in [-1, 1], at 16 kHz; n may be 0.

        Returns
        -------
        log_mel : float32, shape (384, m)
            The next m columns; m may be 0.

        Raises
        ------
        ValueError
            If `waveform` is not mono or not of floating type.
        """
        waveform = checked_waveform(waveform)
        self._n_samples += len(waveform)
        self._buffer = np.concatenate([self._buffer, waveform])
        if not self._has_left_edge:
            if self._n_samples < LOOK_AHEAD:
                return np.zeros((N_BANDS, 0), np.float32)
            # The outermost sample of the mirror image is sample 4096, perhaps not here yet; but
            # its weight in the Hann window is 0.
            self._add_left_edge()
        return self._columns(1 + (self._n_samples - LOOK_AHEAD) // HOP_LENGTH)

    def flush(self) -> LogMel:
        """Return the columns that are left at the end of the sound, and start afresh.

        Returns
        -------
        log_mel : float32, shape (384, m)
            The last m columns, up to column n // 512 of n samples; m = 0 if there was no sound.
        """
        if self._n_samples == 0:
            return np.zeros((N_BANDS, 0), np.float32)
        right = self._mirrored(np.arange(self._n_samples, self._n_samples + LOOK_AHEAD))
        if not self._has_left_edge:
            self._add_left_edge()
        self._buffer = np.concatenate([self._buffer, right])
        columns = self._columns(1 + self._n_samples // HOP_LENGTH)
        self.reset()
        return columns

    def _add_left_edge(self) -> None:
        left = self._mirrored(np.arange(-LOOK_AHEAD, 0))
        self._buffer = np.concatenate([left, self._buffer])
        self._has_left_edge = True

    def _mirrored(self, indices: NDArray[np.intp]) -> Waveform:
        # Mirroring at both ends without doubling the end samples, again and again where the sound
        # is shorter than the window: a triangle wave of period 2 (n - 1).
        period = max(1, 2 * (self._n_samples - 1))
        folded = indices % period
        folded = np.minimum(folded, period - folded)
        return self._buffer[folded - self._n_samples + len(self._buffer)]

    def _columns(self, end: int) -> LogMel:
        # Columns [self._n_columns, end) from the front of the buffer, which then moves on.
        n_columns = end - self._n_columns
        log_mel = np.empty((N_BANDS, n_columns), np.float32)
        for first in range(0, n_columns, _BLOCK):
            last = min(first + _BLOCK, n_columns)
            part = self._buffer[first * HOP_LENGTH : (last - 1) * HOP_LENGTH + 2 * LOOK_AHEAD]
            log_mel[:, first:last] = _log_mel_block(part).T
        if n_columns:  # a copy: a view would keep all of a long chunk
            self._buffer = self._buffer[n_columns * HOP_LENGTH :].copy()
            self._n_columns = end
        return log_mel


def checked_waveform(waveform: Waveform) -> Waveform:
    """Return a waveform as float32 once it is seen to be one.

    Parameters
    ----------
    waveform : floating, shape (n,)

    Returns
    -------
    waveform : float32, shape (n,)
        The same array if it is float32 already.

    Raises
    ------
    ValueError
        If `waveform` is not mono or not of floating type (whole numbers have another scale).

    Examples
    --------
    >>> import numpy as np
    >>> checked_waveform(np.zeros(3)).dtype
    dtype('float32')
    """
    waveform = np.asarray(waveform)
    if waveform.ndim != 1:
        raise ValueError(f"waveform has shape {waveform.shape}; give mono sound, shape (n,).")
    if not np.issubdtype(waveform.dtype, np.floating):
        raise ValueError(f"waveform has type {waveform.dtype}; give float32 in [-1, 1].")
    return waveform.astype(np.float32, copy=False)


def mel_filters(n_fft: int) -> NDArray[np.float64]:
    """Return the triangular mel filters for the power spectrum of one window length.

    Parameters
    ----------
    n_fft : int
        Window length, in samples.

    Returns
    -------
    filters : float64, shape (128, 1 + n_fft // 2)
        Band by frequency bin, from 0 Hz to 8000 Hz; each triangle has area 1 over Hz.

    Notes
    -----
    Mel scale of Slaney's Auditory Toolbox (1998): linear to 1000 Hz, then logarithmic, 27 steps
    to the factor 6.4.

    Examples
    --------
    >>> mel_filters(512).shape
    (128, 257)
    """
    bins = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
    edges = _slaney_to_hz(np.linspace(0.0, _hz_to_slaney(SAMPLE_RATE / 2), N_MELS + 2))
    widths = np.diff(edges)
    distances = edges[:, None] - bins  # (N_MELS + 2, n_bins)
    rising = -distances[:-2] / widths[:-1, None]
    falling = distances[2:] / widths[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]


_LINEAR_HZ = 200.0 / 3  # Hz per mel below the corner
_CORNER_HZ = 1000.0
_CORNER_MEL = _CORNER_HZ / _LINEAR_HZ  # 15
_LOG_STEP = np.log(6.4) / 27.0  # per mel above the corner


def _hz_to_slaney(hz: float) -> float:  # for frequencies above the corner
    return float(_CORNER_MEL + np.log(hz / _CORNER_HZ) / _LOG_STEP)


def _slaney_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _CORNER_HZ * np.exp(_LOG_STEP * (mel - _CORNER_MEL))
    return np.where(mel < _CORNER_MEL, mel * _LINEAR_HZ, above)


@cache
def _hann(n_fft: int) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)  # periodic


@cache
def _grouped_filters(n_fft: int) -> list[tuple[slice, slice, NDArray[np.float32]]]:
    # Most of the filter matrix is zero. Neighbouring bands overlap, so a group of them is a small
    # dense matrix over a stretch of bins: (bands, bins, weights (n_bins, n_bands)).
    filters = mel_filters(n_fft)
    groups = []
    for first in range(0, N_MELS, _GROUP):
        bands = slice(first, first + _GROUP)
        used = np.flatnonzero(filters[bands].any(axis=0))
        bins = slice(int(used[0]), int(used[-1]) + 1)
        weights = np.ascontiguousarray(GAIN * filters[bands, bins].T, np.float32)
        groups.append((bands, bins, weights))
    return groups


def _log_mel_block(part: Waveform) -> NDArray[np.float32]:
    # `part` holds 512 (m - 1) + 8192 samples; returns (m, N_BANDS).
    n_columns = 1 + (len(part) - 2 * LOOK_AHEAD) // HOP_LENGTH
    power_mel = np.empty((n_columns, N_BANDS), np.float32)
    for scale, n_fft in enumerate(WIN_LENGTHS):
        margin = LOOK_AHEAD - n_fft // 2
        frames = sliding_window_view(part[margin : len(part) - margin], n_fft)[::HOP_LENGTH]
        # In double precision: single would leave errors of the loudest bin in the quietest band.
        spectrum = np.fft.rfft(frames * _hann(n_fft))  # (m, 1 + n_fft // 2)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        for bands, bins, weights in _grouped_filters(n_fft):
            rows = slice(scale * N_MELS + bands.start, scale * N_MELS + bands.stop)
            np.matmul(power[:, bins], weights, out=power_mel[:, rows])
    return np.log1p(power_mel, out=power_mel)
