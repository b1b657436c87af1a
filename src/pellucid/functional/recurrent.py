"""Recurrent nets as functions: one step of each kind of unit, and the loop over time.

A step takes the sums of what enters the gates from outside, which the caller computes
for all time steps in one product, and the state, hidden first; it returns the new
state. Inside a step stands one product, of the hidden state with the weights of all
gates. Gates are computed as σ(x) = ½ + ½ tanh(x / 2).

What a step computes is born under a name (`cell`, `forget gate`, …), by which a
replay shows it.

Sources:
    RNN   Elman, "Finding structure in time" (1990)
    LSTM  Hochreiter and Schmidhuber, "Long short-term memory" (1997), with the forget
          gate of Gers, Schmidhuber and Cummins, "Learning to forget" (2000); projected:
          Sak, Senior and Beaufays, "Long short-term memory based recurrent neural
          network architectures for large vocabulary speech recognition" (2014)
    GRU   Cho et al., "Learning phrase representations using RNN encoder-decoder"
          (2014), its reset gate behind the product, as in cuDNN and PyTorch
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from pellucid.errors import ShapeError, message
from pellucid.functional.activations import activation_named
from pellucid.functional.array import tanh, where
from pellucid.functional.control import scan
from pellucid.functional.layout import broadcast_to, expand_dims
from pellucid.ir.graph import within
from pellucid.tensors import Tensor, apply

__all__ = ["gru_step", "lstm_step", "recur", "rnn_step"]

State: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = Callable[[Tensor, State, Tensor | None], State]


def _weighted(hidden: Tensor, weight: Tensor) -> Tensor:
    """Return h Wᵀ: `[batch, gates · hidden]` for all gates at once."""
    return apply("dot", hidden, weight, contract=((1,), (1,)), batch=((), ()))


def _gate(x: Tensor) -> Tensor:
    return tanh(x * 0.5) * 0.5 + 0.5


def _held(new: Tensor, old: Tensor, real: Tensor | None) -> Tensor:
    """Return the new state in rows where the step counts, the old one elsewhere."""
    if real is None:
        return new
    return where(broadcast_to(expand_dims(real, 1), new.shape), new, old)


def _parts(sums: Tensor, count: int) -> list[Tensor]:
    width = sums.shape[1] // count
    return [sums[:, i * width : (i + 1) * width] for i in range(count)]


def rnn_step(
    sums: Tensor,
    state: State,
    weight_hh: Tensor,
    activation: str = "tanh",
    real: Tensor | None = None,
) -> State:
    """Return the next state of a simple recurrent unit: h′ = tanh(sums + h Wᵀ).

    Args:
        sums: x W_ihᵀ and all biases, `[batch, hidden]`.
        state: `(h,)`, `[batch, hidden]`.
        weight_hh: `[hidden, hidden]`.
        activation: the name of an activation in the place of tanh.
        real: truth values `[batch]`: rows where it does not hold keep their state.

    >>> from pellucid.tensors import tensor
    >>> rnn_step(tensor([[0.0]]), (tensor([[2.0]]),), tensor([[-1.0]]), "relu")
    (Tensor([[0.]], f32[1,1]),)
    """
    (hidden,) = state
    with within("hidden"):
        new = activation_named(activation)(sums + _weighted(hidden, weight_hh))
        return (_held(new, hidden, real),)


def lstm_step(
    sums: Tensor,
    state: State,
    weight_hh: Tensor,
    real: Tensor | None = None,
    weight_hr: Tensor | None = None,
) -> State:
    """Return the next hidden and cell state of long short-term memory.

    i, f, o = σ(·), g = tanh(·) of `sums + h Wᵀ`, in the order i, f, g, o;
    c′ = f c + i g; h′ = o tanh(c′), or, projected, W_hr (o tanh(c′)).

    Args:
        sums: x W_ihᵀ and all biases, `[batch, 4 · hidden]`.
        state: `(h, c)`, h of the width of the state shown, c `[batch, hidden]`.
        weight_hh: `[4 · hidden, width]`.
        real: as for `rnn_step`.
        weight_hr: W_hr, `[width, hidden]`, which makes the state shown narrower; the
            width is `hidden` without it.

    >>> from pellucid.tensors import tensor
    >>> off = tensor([[-99.0, 99.0, 0.0, 99.0]])  # no input, no forgetting, all output
    >>> state = tensor([[0.0]]), tensor([[1.0]])
    >>> lstm_step(off, state, tensor([[0.0], [0.0], [0.0], [0.0]]))[1]
    Tensor([[1.]], f32[1,1])
    """
    hidden, cell = state
    i, f, g, o = _parts(sums + _weighted(hidden, weight_hh), 4)
    with within("input gate"):
        i = _gate(i)
    with within("forget gate"):
        f = _gate(f)
    with within("cell gate"):
        g = tanh(g)
    with within("output gate"):
        o = _gate(o)
    with within("cell"):
        cell = _held(f * cell + i * g, cell, real)
    with within("hidden"):
        shown = o * tanh(cell)
        if weight_hr is not None:
            shown = _weighted(shown, weight_hr)
        hidden = _held(shown, hidden, real)
    return hidden, cell


def gru_step(
    sums: Tensor,
    state: State,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    real: Tensor | None = None,
) -> State:
    """Return the next state of a gated recurrent unit.

    With s = h Wᵀ in the order r, z, n: r, z = σ(sums + s); n = tanh(sums + r (s + b));
    h′ = (1 − z) n + z h.

    Args:
        sums: x W_ihᵀ and all biases but b, `[batch, 3 · hidden]`.
        state: `(h,)`, `[batch, hidden]`.
        weight_hh: `[3 · hidden, hidden]`.
        bias: b, `[hidden]`, which the reset gate multiplies too.
        real: as for `rnn_step`.

    >>> from pellucid.tensors import tensor
    >>> keep = tensor([[0.0, 99.0, 5.0]])
    >>> gru_step(keep, (tensor([[0.25]]),), tensor([[1.0], [1.0], [1.0]]))
    (Tensor([[0.25]], f32[1,1]),)
    """
    (hidden,) = state
    r, z, n = _parts(sums, 3)
    r_own, z_own, n_own = _parts(_weighted(hidden, weight_hh), 3)
    with within("reset gate"):
        r = _gate(r + r_own)
    with within("update gate"):
        z = _gate(z + z_own)
    with within("new gate"):
        n = tanh(n + r * (n_own if bias is None else n_own + bias))
    with within("hidden"):
        return (_held(n + z * (hidden - n), hidden, real),)


# --- the loop over time ----------------------------------------------------------


def recur(
    step: Step,
    sums: Tensor,
    state: State,
    *,
    mask: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, State]:
    """Run a step over time; return the hidden state of every step, and the last state.

    Args:
        step: such as `lambda *of: lstm_step(of[0], of[1], weight, of[2])`: takes the
            sums of a step, the state, and what the mask says of it, or None.
        sums: `[time, batch, …]`: what enters the gates from outside.
        state: the first state, hidden first, each `[batch, hidden]`.
        mask: truth values `[time, batch]`. Where it does not hold the output is 0, and
            the step keeps the state as it was.
        reverse: from the last step to the first; outputs stay in place.

    >>> from pellucid.tensors import tensor
    >>> total = lambda x, state, real: (x + state[0],)
    >>> outputs, (last,) = recur(total, tensor([[[1.0]], [[2.0]]]), (tensor([[5.0]]),))
    >>> outputs.value.ravel().tolist(), last.item()
    ([6.0, 8.0], 8.0)
    """
    if mask is not None and mask.shape != sums.shape[:2]:
        raise ShapeError(
            message(
                f"the mask is {mask.type}",
                expected=f"expected [time, batch] = {list(sums.shape[:2])}",
            )
        )

    def body(before: State, x: Any) -> tuple[State, Tensor]:
        if mask is None:
            after = step(x, before, None)
            return after, after[0]
        entry, real = x
        after = step(entry, before, real)
        shown = broadcast_to(expand_dims(real, 1), after[0].shape)
        return after, where(shown, after[0], 0.0)

    xs = sums if mask is None else (sums, mask)
    last, outputs = scan(body, state, xs, reverse=reverse)
    return outputs, last
