"""Autoencoders: networks that learn to give back what they were given.

Between encoder and decoder everything passes through few numbers, the code, so it
must hold what matters. `Trainer.fit(X)` without targets trains them: X is its own.

Sources:
    denoising    Vincent et al., "Extracting and composing robust features with
                 denoising autoencoders" (2008)
    variational  Kingma and Welling, "Auto-encoding variational Bayes" (2014)
    β            Higgins et al., "beta-VAE" (2017)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.errors import ArgumentError, ShapeError, did_you_mean, message
from pellucid.functional import (
    binary_cross_entropy_with_logits,
    exp,
    mse,
    reduced,
    sigmoid,
    where,
)
from pellucid.ir.graph import Array
from pellucid.nn.activations import activation_layer
from pellucid.nn.containers import Sequential
from pellucid.nn.conv import Conv2d, ConvTranspose2d
from pellucid.nn.linear import Linear, positive
from pellucid.nn.losses import Loss
from pellucid.nn.module import Module, Targets, evaluated
from pellucid.nn.scaling import fit_scale
from pellucid.nn.simple import Flatten, Unflatten
from pellucid.random import bernoulli, next_key, normal
from pellucid.tensors import Tensor, TensorLike, as_tensor

__all__ = [
    "Autoencoder",
    "ConvAutoencoder",
    "DenoisingAutoencoder",
    "ELBOLoss",
    "VariationalAutoencoder",
]


class Autoencoder(Module):
    """Decodes what it encodes: x becomes decoder(encoder(x)), of the shape of x.

    Trained with the squared error, a linear one finds the plane of the principal
    components. `Standardize` may lead the encoder and `Unstandardize` end the decoder.

    Args:
        encoder: from x to its code.
        decoder: from a code to x.

    >>> import numpy as np
    >>> import pellucid as pel
    >>> from pellucid import nn, optim
    >>> model = Autoencoder(nn.Linear(3, 1), nn.Linear(1, 3))
    >>> X = np.random.default_rng(0).normal(size=(50, 1)) * [[1.0, 2.0, 3.0]]
    >>> trainer = pel.Trainer(model, nn.MSELoss(), optim.Adam(lr=0.03))
    >>> trainer.fit(X, epochs=100, verbose=0)["loss"][-1] < 0.01
    True
    >>> model.encode(X).shape, model.reconstruct(X).shape
    ((50, 1), (50, 3))
    """

    def __init__(self, encoder: Module, decoder: Module) -> None:
        self.encoder, self.decoder = encoder, decoder

    def encode(self, x: TensorLike) -> Tensor:
        """Return the code of x."""
        return _tensor(self.encoder(as_tensor(x)), "encoder")

    def decode(self, code: TensorLike) -> Tensor:
        """Return what has this code."""
        return _tensor(self.decoder(as_tensor(code)), "decoder")

    def reconstruct(self, x: TensorLike) -> Tensor:
        """Return what comes back of x out of training."""
        with evaluated(self):
            return self.decode(self.encode(x))

    def forward(self, x: Tensor) -> Any:
        """Return what comes back of x."""
        return _alike(self.decode(self.encode(x)), x)

    def adapt(self, inputs: Array, targets: Targets = None) -> None:
        """Let the encoder learn what is learned before training, and the last scale."""
        self.encoder.adapt(inputs)
        fit_scale(self.target_scale, targets)
        self.check_fitted()

    @property
    def target_scale(self) -> Any:
        """The decoder's."""
        return self.decoder.target_scale


def _tensor(given: Any, name: str) -> Tensor:
    if isinstance(given, Tensor):
        return given
    raise ArgumentError(f"the {name} must return one tensor, not {given!r:.40}")


def _alike(y: Tensor, x: Tensor) -> Tensor:
    if y.shape == x.shape:
        return y
    raise ShapeError(
        message(
            f"{x.type} comes back as {y.type}",
            expected="expected its own shape",
            hint="check the last layer of the decoder",
        )
    )


class DenoisingAutoencoder(Autoencoder):
    """An autoencoder that learns to mend: in training its input is spoiled, not its
    target.

    Args:
        encoder: from x to its code.
        decoder: from a code to x.
        noise: the standard deviation of normal noise that is added to x.
        mask: the share of the entries of x that become 0.

    Out of training nothing is spoiled.

    >>> from pellucid import nn
    >>> DenoisingAutoencoder(nn.Linear(4, 2), nn.Linear(2, 4), noise=0.0, mask=0.5)
    DenoisingAutoencoder(noise=0.0, mask=0.5
      (encoder): Linear(in_features=4, out_features=2)
      (decoder): Linear(in_features=2, out_features=4)
    )
    """

    def __init__(
        self, encoder: Module, decoder: Module, noise: float = 0.1, mask: float = 0.0
    ) -> None:
        super().__init__(encoder, decoder)
        if not noise >= 0.0:
            raise ArgumentError(f"noise is a standard deviation ≥ 0, not {noise!r}")
        if not 0.0 <= mask < 1.0:
            raise ArgumentError(f"mask is a share from 0 to below 1, not {mask!r}")
        self.noise, self.mask = noise, mask

    def spoil(self, x: TensorLike) -> Tensor:
        """Return x with noise and with entries at 0, drawn by the next keys."""
        found = as_tensor(x)
        if self.noise:
            found = found + normal(next_key(), found.shape, _dtype(self)) * self.noise
        if self.mask:
            kept = bernoulli(next_key(), 1.0 - self.mask, found.shape)
            found = where(kept, found, 0.0)
        return found

    def forward(self, x: Tensor) -> Any:
        """Return what comes back of x, which is spoiled in training."""
        seen = self.spoil(x) if self.training else x
        return _alike(self.decode(self.encode(seen)), x)


def _dtype(module: Module) -> Any:
    return next((each.dtype for each in module.parameters()), None)


# --- variational -----------------------------------------------------------------


class VariationalAutoencoder(Autoencoder):
    """An autoencoder whose codes are normal distributions, so that it can make new x.

    Training draws z = mean + exp(log_variance / 2) · ε from the code of x, ε standard
    normal, and decodes it; evaluation decodes the mean. It returns a dict:
    `reconstruction`, `mean`, `log_variance`, and for a Bernoulli decoder `logits`.
    Train it with `ELBOLoss`.

    Args:
        encoder: from x to `[batch, 2 · latent_features]`: means, then log variances.
        decoder: from `[batch, latent_features]` to x.
        latent_features: the length of a code.
        likelihood: `gaussian`, of variance 1 around the decoder's output, or
            `bernoulli`, for x from 0 to 1: then the decoder gives logits.

    >>> import numpy as np
    >>> from pellucid import nn
    >>> model = VariationalAutoencoder(nn.Linear(5, 4), nn.Linear(2, 5), 2)
    >>> sorted(model(np.ones((3, 5), np.float32)))
    ['log_variance', 'mean', 'reconstruction']
    >>> model.sample(10).shape
    (10, 5)
    """

    def __init__(
        self,
        encoder: Module,
        decoder: Module,
        latent_features: int,
        likelihood: str = "gaussian",
    ) -> None:
        super().__init__(encoder, decoder)
        positive(latent_features=latent_features)
        if likelihood not in _LIKELIHOODS:
            hint = did_you_mean(likelihood, _LIKELIHOODS)
            raise ArgumentError(message(f"no likelihood {likelihood!r}", hint=hint))
        self.latent_features, self.likelihood = latent_features, likelihood

    def distribution(self, x: TensorLike) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of the code of x."""
        found, size = super().encode(x), self.latent_features
        if found.ndim != 2 or found.shape[1] != 2 * size:
            raise ShapeError(
                message(
                    f"the encoder gives {found.type}",
                    expected=f"expected [batch, {2 * size}]: the means of {size} "
                    "latent features and their log variances",
                )
            )
        return found[:, :size], found[:, size:]

    def encode(self, x: TensorLike) -> Tensor:
        """Return the mean of the code of x."""
        return self.distribution(x)[0]

    def decode(self, code: TensorLike) -> Tensor:
        """Return the mean of what has this code."""
        found = super().decode(code)
        return sigmoid(found) if self.likelihood == "bernoulli" else found

    def sample(self, count: int) -> Tensor:
        """Return the means of `count` new x, of codes drawn by the next key."""
        positive(count=count)
        with evaluated(self):
            shape = count, self.latent_features
            return self.decode(normal(next_key(), shape, _dtype(self)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return what comes back of x, and the distribution of its code."""
        mean, log_variance = self.distribution(x)
        code = mean
        if self.training:
            drawn = normal(next_key(), mean.shape, mean.dtype)
            code = mean + exp(log_variance * 0.5) * drawn
        output = _alike(super().decode(code), x)
        found = {"mean": mean, "log_variance": log_variance}
        if self.likelihood == "bernoulli":
            return {"reconstruction": sigmoid(output), "logits": output, **found}
        return {"reconstruction": output, **found}

    @property
    def target_scale(self) -> Any:
        """None: its loss, a likelihood, is taken in the units of x."""
        return None


_LIKELIHOODS = ("gaussian", "bernoulli")


class ELBOLoss(Loss):
    """−log p(x | z) + β · KL(q(z | x) ‖ N(0, 1)): what a variational autoencoder pays.

    Both terms are sums over the features of a row; `mean` is over the rows. The first
    is ½ (x − reconstruction)², without the constant of the normal distribution, or,
    where there are `logits`, the cross entropy. With β = 1 it is the negative evidence
    lower bound; a larger β asks for simpler codes.

    >>> from pellucid.tensors import tensor
    >>> zero = tensor([[0.0, 0.0]])
    >>> outputs = {"reconstruction": zero + 1.0, "mean": zero, "log_variance": zero}
    >>> ELBOLoss()(outputs, zero).item()
    1.0
    """

    def __init__(self, beta: float = 1.0, reduction: str = "mean") -> None:
        if not beta >= 0.0:
            raise ArgumentError(f"beta must be at least 0, not {beta!r}")
        self.beta = beta
        self._reduce_by(reduction)

    def forward(
        self,
        output: Mapping[str, Tensor],
        target: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of the dict that a `VariationalAutoencoder` returns."""
        losses = _per_row(_unlikely(output, target)) + self.beta * _per_row(
            _divergence(output["mean"], output["log_variance"])
        )
        return reduced(losses, weight, self.reduction)


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(m, v) ‖ N(0, 1)) = (m² + v − 1 − log v) / 2 of each entry."""
    return (mean * mean + exp(log_variance) - 1.0 - log_variance) * 0.5


def _unlikely(output: Mapping[str, Tensor], target: Tensor) -> Tensor:
    if not isinstance(output, Mapping) or "log_variance" not in output:
        raise ArgumentError(
            message(
                "ELBOLoss takes the outputs of a VariationalAutoencoder",
                expected="a dict of reconstruction, mean and log_variance",
            )
        )
    if "logits" in output:
        return binary_cross_entropy_with_logits(
            output["logits"], target, reduction="none"
        )
    return mse(output["reconstruction"], target, reduction="none") * 0.5


def _per_row(losses: Tensor) -> Tensor:
    return losses.sum(range(1, losses.ndim))


# --- for images ------------------------------------------------------------------


class ConvAutoencoder(Autoencoder):
    """An autoencoder of images, `[batch, channels, height, width]`.

    Each width is a convolution that halves the image, and on the way back one that
    doubles it; between them stands the code, which is flat.

    Args:
        shape: channels, height and width.
        widths: the channels behind each convolution.
        latent_features: the length of a code.
        activation: the name of the activation behind each but the last.

    >>> import numpy as np
    >>> model = ConvAutoencoder((1, 28, 28), (8, 16), 32)
    >>> x = np.zeros((2, 1, 28, 28), np.float32)
    >>> model.encode(x).shape, model(x).shape
    ((2, 32), (2, 1, 28, 28))
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int] = (16, 32),
        latent_features: int = 32,
        activation: str = "relu",
    ) -> None:
        if len(shape) != 3 or not widths:
            raise ArgumentError(
                message(
                    f"shape {tuple(shape)} and widths {tuple(widths)}",
                    expected="expected channels, height and width, and one width or "
                    "more",
                )
            )
        channels, height, width = shape
        positive(channels=channels, height=height, width=width)
        steps = _halvings(channels, (height, width), widths)
        inner = (widths[-1], *steps[-1].small)
        flat = math.prod(inner)
        super().__init__(
            Sequential(
                *_downward(steps, activation), Flatten(), Linear(flat, latent_features)
            ),
            Sequential(
                Linear(latent_features, flat),
                activation_layer(activation),
                Unflatten(1, inner),
                *_upward(steps, activation),
            ),
        )

    def extra_repr(self) -> str:
        """Nothing: the layers say it all."""
        return ""


@dataclass(frozen=True)
class _Halving:
    """A convolution that halves: channels and sizes on its two sides."""

    outer: int
    inner: int
    large: tuple[int, int]
    small: tuple[int, int]


def _halvings(
    channels: int, size: tuple[int, int], widths: Sequence[int]
) -> list[_Halving]:
    found = []
    for width in widths:
        small = (size[0] + 1) // 2, (size[1] + 1) // 2
        found.append(_Halving(channels, width, size, small))
        channels, size = width, small
    return found


def _downward(steps: Sequence[_Halving], activation: str) -> Iterator[Module]:
    for each in steps:
        yield Conv2d(each.outer, each.inner, 3, stride=2, padding=1)
        yield activation_layer(activation)


def _upward(steps: Sequence[_Halving], activation: str) -> Iterator[Module]:
    for each in reversed(steps):
        # An even size comes back one short.
        missing = tuple(1 - size % 2 for size in each.large)
        yield ConvTranspose2d(
            each.inner, each.outer, 3, stride=2, padding=1, output_padding=missing
        )
        if each is not steps[0]:
            yield activation_layer(activation)
