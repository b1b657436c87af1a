"""Networks for images by name: `LeNet`, `ResNet`."""

from __future__ import annotations

from pellucid.errors import ArgumentError, ShapeError, message
from pellucid.functional import adaptive_avg_pool, pad, relu
from pellucid.functional.windows import Sizes, check_images, per_axis
from pellucid.nn.activations import ReLU
from pellucid.nn.containers import Sequential
from pellucid.nn.conv import Conv2d
from pellucid.nn.linear import Linear, positive
from pellucid.nn.module import Module
from pellucid.nn.norm import BatchNorm2d
from pellucid.nn.pooling import MaxPool2d
from pellucid.nn.simple import Flatten
from pellucid.tensors import Tensor

__all__ = ["BasicBlock", "LeNet", "ResNet"]


class LeNet(Sequential):
    """LeNet-5 with ReLU and the largest of each window: `[n, c, h, w]` becomes scores.

    Two convolutions of 6 and 16 kernels of 5 × 5, each pooled by 2; then linear layers
    of 120, 84 and as many units as classes. The rectifier stands behind the pooling,
    where it has a quarter of the work and gives the same numbers. Source: LeCun,
    Bottou, Bengio and Haffner, "Gradient-based learning applied to document
    recognition" (1998).

    Args:
        num_classes: how many scores each image gets.
        in_channels: how many channels the images have.
        image_size: the height and width of the images, 12 or more.

    >>> import numpy as np
    >>> net = LeNet()
    >>> net(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    >>> sum(each.size for each in net.parameters())
    61706
    """

    def __init__(
        self, num_classes: int = 10, in_channels: int = 1, image_size: Sizes = 28
    ) -> None:
        positive(num_classes=num_classes)
        height, width = per_axis("image_size", image_size, 2, least=12)
        self._size = height, width
        features = 16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
        super().__init__(
            *(Conv2d(in_channels, 6, 5, padding=2), MaxPool2d(2), ReLU()),
            *(Conv2d(6, 16, 5), MaxPool2d(2), ReLU(), Flatten()),
            *(Linear(features, 120), ReLU(), Linear(120, 84), ReLU()),
            Linear(84, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a score for each class."""
        check_images(x, 2)
        if x.shape[2:] != self._size:
            found, made = (
                "×".join(map(str, each)) for each in (x.shape[2:], self._size)
            )
            raise ShapeError(
                message(
                    f"got images of {found}",
                    expected=f"expected {made}",
                    hint=f"bring them to one size, or make it with "
                    f"image_size={x.shape[2:]}",
                )
            )
        scores: Tensor = super().forward(x)
        return scores

    def arguments(self) -> dict[str, object]:
        """Return the constructor's arguments by name."""
        return Module.arguments(self)

    def extra_repr(self) -> str:
        """Nothing: the layers say it all."""
        return ""


class BasicBlock(Module):
    """Two convolutions that are added to what came in: relu(x + F(x)).

    With a stride, or more channels than came in, the shortcut takes every stride-th
    entry and puts zeros for the new channels: it has no weights (the paper's option A).

    Args:
        in_channels, out_channels: how many channels come in and go out.
        stride: of the first convolution.

    State: `conv1`, `bn1`, `conv2`, `bn2`.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        if out_channels < in_channels:
            raise ArgumentError(
                f"a block has as many channels or more: {in_channels} to {out_channels}"
            )
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm2d(out_channels)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(out_channels)
        self.stride, self.more = stride, out_channels - in_channels
        for each in (self.conv1, self.conv2):
            each.followed_by("relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + F(x))."""
        inner = relu(self.bn1(self.conv1(x)))
        return relu(self.bn2(self.conv2(inner)) + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return pad(x, [(0, self.more), (0, 0), (0, 0)]) if self.more else x


class ResNet(Module):
    """A residual network for small images: `[n, c, h, w]` becomes scores.

    A convolution, three stages of blocks, of which the second and the third halve the
    image and double the channels, the mean over the image, and a linear layer. Source:
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2015),
    section 4.2.

    Args:
        depth: how many layers have weights: 8, 14, 20, 26, …, each stage having
            (depth − 2) / 6 blocks of two.
        num_classes: how many scores each image gets.
        in_channels: how many channels the images have.
        width: how many channels the first stage has.

    State: `conv1`, `bn1`, `layer1` to `layer3` and `fc`.

    >>> import numpy as np
    >>> net = ResNet(8)
    >>> net(np.zeros((2, 3, 32, 32), np.float32)).shape
    (2, 10)
    """

    def __init__(
        self,
        depth: int = 8,
        num_classes: int = 10,
        in_channels: int = 3,
        width: int = 16,
    ) -> None:
        positive(depth=depth, num_classes=num_classes, width=width)
        blocks, rest = divmod(depth - 2, 6)
        if rest or not blocks:
            raise ArgumentError(
                message(
                    f"a ResNet for small images has 6 n + 2 layers, not {depth}",
                    hint=f"try depth={max(8, round((depth - 2) / 6) * 6 + 2)}",
                )
            )
        self.in_channels = in_channels
        self.conv1 = Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.conv1.followed_by("relu")
        self.bn1 = BatchNorm2d(width)
        self.layer1 = _stage(blocks, width, width, 1)
        self.layer2 = _stage(blocks, width, 2 * width, 2)
        self.layer3 = _stage(blocks, 2 * width, 4 * width, 2)
        self.fc = Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return a score for each class."""
        check_images(x, 2, self.in_channels)
        x = relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        scores: Tensor = self.fc(adaptive_avg_pool(x, (1, 1)).reshape(x.shape[:2]))
        return scores


def _stage(blocks: int, before: int, width: int, stride: int) -> Sequential:
    first = BasicBlock(before, width, stride)
    return Sequential(first, *(BasicBlock(width, width) for _ in range(blocks - 1)))
