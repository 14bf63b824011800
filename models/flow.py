"""Dense optical flow as a network: OpenCV's Farneback, step by step, for whatever runs networks.

In: grey frames in 0..255. Out: displacements in pixels, x (to the right), then y (down).
"""

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

WINDOW: Final = 15  # side of the box over which motion is taken as one, in pixels
ITERATIONS: Final = 3  # at each level
REACH: Final = 5  # pixels that the polynomial of a pixel looks to each side
SIGMA: Final = 1.2  # of their weights
SMALLEST_LEVEL: Final = 32  # a frame is not reduced to fewer pixels a side
SMALLEST_SIDE: Final = 16  # of a frame: the widest blur reflects nine pixels at each border
FLOW_LIMIT: Final = 128  # `sequence` keeps what a signed byte could


class FarnebackFlow(nn.Module):
    """Optical flow after Farneback, as OpenCV computes it with the parameters of the paper.

    Parameters
    ----------
    levels : int
        Reduced levels of the pyramid, each of half the size. A level counts where both its sides
        have 32 pixels or more (all three from 256 on, two from 128, one from 64). The others are
        computed and left out: they are small, and so one graph does for frames of any size.

    Notes
    -----
    Nothing is learnt. Source: Farneback 2003, "Two-frame motion estimation based on polynomial
    expansion"; borders, rounding and pyramid as `cv2.calcOpticalFlowFarneback` has them
    (pyr_scale 0.5, winsize 15, iterations 3, poly_n 5, poly_sigma 1.2, flags 0).

    Examples
    --------
    >>> import torch
    >>> FarnebackFlow()(torch.zeros(2, 1, 144, 256), torch.ones(2, 1, 144, 256)).shape
    torch.Size([2, 2, 144, 256])
    """

    down: Tensor
    across: Tensor

    def __init__(self, levels: int = 3) -> None:
        super().__init__()
        self.levels = levels
        down, across = _expansion()
        self.register_buffer("down", down, persistent=False)
        self.register_buffer("across", across, persistent=False)
        for level in range(levels + 1):
            self.register_buffer(f"blur{level}", _gaussian(level), persistent=False)

    def forward(self, previous: Tensor, next: Tensor) -> Tensor:
        """Return the flow from one frame to the next.

        Parameters
        ----------
        previous, next : uint8 or float (B, 1, H, W)
            Grey, in 0..255.

        Returns
        -------
        flow : float32 (B, 2, H, W)
            In pixels, x then y, not clipped.

        Raises
        ------
        ValueError
            If the shapes differ or are others, or a side is below 16.
        """
        if previous.shape != next.shape or previous.dim() != 4 or previous.shape[1] != 1:
            shapes = f"{tuple(previous.shape)} and {tuple(next.shape)}"
            raise ValueError(f"frames have shapes {shapes}; give two of (B, 1, H, W)")
        return self._flows(torch.cat([previous, next], 1).float())[:, 0]

    def sequence(self, frames: Tensor) -> Tensor:
        """Return the flow of every frame to the next; each frame is expanded once.

        Parameters
        ----------
        frames : uint8 or float (B, T, H, W)
            Grey, in 0..255; two or more in time.

        Returns
        -------
        flows : float32 (B, T - 1, 2, H, W)
            In pixels, x then y, clipped to [-128, 127]; zero between two frames that are equal, as
            `stream.flow.FlowStream` has it.

        Raises
        ------
        ValueError
            If there are fewer than two frames, or a side is below 16.
        """
        grey = frames.float()
        moves = (grey[:, 1:] - grey[:, :-1]).abs().amax((2, 3)) > 0  # (B, T - 1)
        flows = self._flows(grey).clamp(-FLOW_LIMIT, FLOW_LIMIT - 1)
        return flows * moves.float()[:, :, None, None, None]

    def _flows(self, grey: Tensor) -> Tensor:
        n_batch, n_frames, height, width = grey.shape
        if n_frames < 2 or height < SMALLEST_SIDE or width < SMALLEST_SIDE:
            raise ValueError(
                f"frames are {tuple(grey.shape)}; give two or more of at least "
                f"{SMALLEST_SIDE} x {SMALLEST_SIDE} pixels"
            )
        side = torch.minimum(_axis(grey, 2)[-1], _axis(grey, 3)[-1]) + 1  # a part of the graph
        grey = grey.reshape(-1, 1, height, width)
        flow: Tensor | None = None
        for level in range(self.levels, -1, -1):
            size = _reduced(height, level), _reduced(width, level)
            expansion = self._expand(self._blur(grey, level, size))
            expansion = expansion.reshape(n_batch, n_frames, 5, *size)
            before = expansion[:, :-1].reshape(-1, 5, *size)
            after = expansion[:, 1:].reshape(-1, 5, *size)
            if flow is None:
                flow = torch.zeros_like(before[:, :2])
            else:
                flow = 2 * F.interpolate(flow, size, mode="bilinear")
            flow = _refine(before, after, flow)
            if level:
                flow = flow * (side >= SMALLEST_LEVEL << level).float()
        assert flow is not None
        return flow.reshape(n_batch, n_frames - 1, 2, height, width)

    def _blur(self, grey: Tensor, level: int, size: tuple[int, int]) -> Tensor:
        """Return the frames at a level of the pyramid: always from the whole ones, as OpenCV."""
        kernel = self.get_buffer(f"blur{level}")  # (n,)
        margin = len(kernel) // 2
        grey = F.pad(grey, (margin, margin, margin, margin), "reflect")
        grey = F.conv2d(F.conv2d(grey, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
        return F.interpolate(grey, size, mode="bilinear") if level else grey

    def _expand(self, grey: Tensor) -> Tensor:
        """Return the polynomial of each pixel (N, 5, h, w): x, y, x squared, y squared, xy."""
        grey = F.pad(grey, (REACH, REACH, REACH, REACH), "replicate")
        return F.conv2d(F.conv2d(grey, self.down), self.across)


def _refine(before: Tensor, after: Tensor, flow: Tensor) -> Tensor:
    """Return a better flow (N, 2, h, w), of the polynomials (N, 5, h, w) of two frames."""
    x, y = _axis(before, 3), _axis(before, 2)[:, None]  # (w,), (h, 1)
    last = torch.stack([x[-1:], y[-1]])[..., None]  # (2, 1, 1)
    places = torch.stack([x + 0 * y, y + 0 * x])  # (2, h, w)
    weight = _border(x) * _border(y)  # (h, w)
    weight = weight * weight
    still = torch.cat([0 * before[:, :2], before[:, 2:]], 1)
    for _ in range(ITERATIONS):
        ends = places + flow
        grid = (ends / (last / 2) - 1).permute(0, 2, 3, 1)
        moved = F.grid_sample(after, grid, align_corners=True)
        # What leaves the frame is seen as a surface of the same curvature without a slope.
        end_x, end_y = ends[:, :1], ends[:, 1:]
        inside = (end_x >= 0) & (end_x < last[0]) & (end_y >= 0) & (end_y < last[1])
        flow = _solve(before, torch.where(inside, moved, still), flow, weight)
    return flow


def _solve(before: Tensor, moved: Tensor, flow: Tensor, weight: Tensor) -> Tensor:
    """Return the motion that explains best, over a window, how the polynomials differ."""
    mean = (before + moved) / 2
    square, cross = mean[:, 2:4], mean[:, 4:] / 2  # the matrix of curvatures, of x and y
    slope = (before - moved)[:, :2] / 2 + square * flow + cross * flow.flip(1)
    sums = torch.cat(  # of the normal equations, summed over a window
        [
            square * square + cross * cross,
            (square[:, :1] + square[:, 1:]) * cross,
            square * slope + cross * slope.flip(1),
        ],
        1,
    )
    margin = WINDOW // 2
    sums = F.pad(sums * weight, (margin, margin, margin, margin), "replicate")
    sums = F.avg_pool2d(F.avg_pool2d(sums, (WINDOW, 1), 1), (1, WINDOW), 1)
    square, cross, right = sums[:, :2], sums[:, 2:3], sums[:, 3:]
    determinant = square[:, :1] * square[:, 1:] - cross * cross
    return (square.flip(1) * right - cross * right.flip(1)) / (determinant + 1e-3)


def _axis(like: Tensor, axis: int) -> Tensor:
    """Return 0, 1, ... along an axis; counted in integers, as TensorRT wants open lengths."""
    return torch.arange(like.shape[axis], device=like.device).to(like.dtype)


def _border(place: Tensor) -> Tensor:
    """Return the weights of the pixels of an axis: near its ends a polynomial sees too little."""
    distance = torch.minimum(place, place[-1] - place)
    return torch.where(distance < 2, 0.14, torch.where(distance < 5, 0.4472, 1.0))


def _reduced(n: int, level: int) -> int:
    """Return n / 2 ** level, rounded as OpenCV does: halves to the even neighbour."""
    if not level:
        return n
    is_odd = (n >> level) - (n >> level + 1) * 2
    return (n + (1 << level - 1) - 1 + is_odd) >> level


def _gaussian(level: int) -> Tensor:
    """Return the kernel that blurs a frame before it is reduced to a level of the pyramid."""
    if not level:
        return torch.tensor([0.25, 0.5, 0.25])
    sigma = (2**level - 1) / 2
    margin = max(round(5 * sigma) | 1, 3) // 2
    kernel = np.exp(-(np.arange(-margin, margin + 1.0) ** 2) / (2 * sigma**2))
    return torch.from_numpy((kernel / kernel.sum()).astype(np.float32))


def _expansion() -> tuple[Tensor, Tensor]:
    """Return the kernels of the polynomial expansion: down (3, 1, n, 1), then across (5, 3, 1, n).

    A weighted least squares fit of 1, x, y, x squared, y squared and xy around each pixel.
    """
    place = np.arange(-REACH, REACH + 1.0)
    weight = np.exp(-(place**2) / (2 * SIGMA**2))
    weight /= weight.sum()
    moments = np.stack([weight, weight * place, weight * place**2])  # (3, n)
    second, fourth = (weight * place**2).sum(), (weight * place**4).sum()
    across = np.zeros((5, 3, len(place)))  # of what fits 1, y and y squared downwards
    across[0, 0] = moments[1] / second
    across[1, 1] = moments[0] / second
    across[2, 0] = (moments[2] - second * moments[0]) / (fourth - second**2)
    across[3, 2] = moments[0] / (fourth - second**2)
    across[3, 0] = -second * across[3, 2]
    across[4, 1] = moments[1] / second**2
    return (
        torch.from_numpy(moments.astype(np.float32)).view(3, 1, -1, 1),
        torch.from_numpy(across.astype(np.float32)).view(5, 3, 1, -1),
    )
