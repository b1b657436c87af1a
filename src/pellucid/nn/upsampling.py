"""Images brought to another size: `Upsample`."""

from __future__ import annotations

from pellucid.functional import upsample
from pellucid.functional.upsampling import Factors, Resizing
from pellucid.functional.windows import Sizes
from pellucid.nn.module import Module
from pellucid.tensors import Tensor

__all__ = ["Upsample"]


class Upsample(Module):
    """Images in another size: `[n, c, h, w]` becomes `[n, c, h', w']`.

    Arguments and numbers are PyTorch's; where entries are taken from stands in
    `functional/upsampling.py`.

    Args:
        size: the size, one number or one for each axis of space.
        scale_factor: how much larger, in the place of a size; sizes are rounded down.
        mode: `nearest` repeats entries. `linear`, `bilinear` and `trilinear`, for one,
            two and three axes of space, go from one to the next on a line.
        align_corners: whether the first and the last entry keep their places, else the
            edges of the image do.

    >>> import numpy as np
    >>> Upsample(scale_factor=2)(np.zeros((1, 6, 5, 7), np.float32)).shape
    (1, 6, 10, 14)
    >>> Upsample((8, 9), mode="bilinear")(np.zeros((1, 6, 5, 7), np.float32)).shape
    (1, 6, 8, 9)
    """

    transparent = True

    def __init__(
        self,
        size: Sizes | None = None,
        scale_factor: Factors | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        Resizing(scale_factor, size, mode, align_corners)
        self.size, self.scale_factor = size, scale_factor
        self.mode, self.align_corners = mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        """Return x in the other size."""
        given = self.scale_factor, self.size, self.mode, self.align_corners
        return upsample(x, *given)
