"""Embedding: values, gradients beside JAX's, padding, and tokens that do not exist."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pellucid as pel
from pellucid import nn, optim
from pellucid.errors import ArgumentError, DataError, DTypeError, EngineError
from pellucid.random import key_of, keys_from
from pellucid.tensors import Tensor

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4), (0, 3)])
@pytest.mark.parametrize("padding", [None, 2])
def test_values_and_gradients_agree_with_jax(shape: Any, padding: int | None) -> None:
    layer = nn.Embedding(6, 4, padding, dtype="f64")
    layer.weight.value = RNG.normal(size=(6, 4))
    tokens, g = RNG.integers(0, 6, shape), RNG.normal(size=(*shape, 4))

    def theirs(w: Any) -> Any:
        return jnp.sum(w[tokens] * g)

    y = layer(tokens)
    np.testing.assert_array_equal(y.value, layer.weight.value[tokens])
    (y * g).sum().backward()
    expected = np.array(jax.jit(jax.grad(theirs))(layer.weight.value))
    if padding is not None:
        expected[padding] = 0
    np.testing.assert_allclose(layer.weight.grad, expected, rtol=1e-12)


def test_it_passes_the_gradient_checker() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), nn.Tanh())
    assert pel.gradcheck(model, RNG.integers(0, 4, (4, 6))).ok


def test_the_vector_of_padding_starts_at_zero_and_stays() -> None:
    X = np.array([[0, 1, 2], [0, 0, 3], [4, 0, 0], [0, 0, 0]])
    for engine in ("numpy", "llvm"):
        layer = nn.Embedding(5, 2, padding_idx=-5)
        assert layer.weight.value[0].tolist() == [0, 0]
        model = nn.Sequential(layer, nn.Flatten(), nn.Linear(6, 1))
        before = layer.weight.value.copy()
        trainer = pel.Trainer(model, nn.MSELoss(), optim.AdamW(lr=0.1), engine=engine)
        trainer.fit(X, X.sum(1) + 1.0, epochs=3, verbose=0)
        assert (layer.weight.value[0] == 0).all()
        assert (layer.weight.value[1:] != before[1:]).all()


def test_the_engines_agree_on_training() -> None:
    X, y = RNG.integers(0, 50, (40, 4)), RNG.integers(0, 3, 40)
    weights = []
    for engine in ("numpy", "llvm"):
        with keys_from(key_of(3)):
            model = nn.Sequential(
                nn.Embedding(50, 5, padding_idx=0), nn.Flatten(), nn.Linear(20, 3)
            ).to("f64")
        trainer = pel.Trainer(
            model, nn.CrossEntropyLoss(), optim.Adam(lr=0.1), engine=engine
        )
        trainer.fit(X, y, epochs=3, batch_size=16, verbose=0)
        weights.append(model[0].weight.value)
    np.testing.assert_allclose(*weights, rtol=1e-9)


def test_the_start_is_normal_and_the_same_for_the_same_seed() -> None:
    with keys_from(key_of(1)):
        one = nn.Embedding(200, 100, std=0.5)
    with keys_from(key_of(1)):
        other = nn.Embedding(200, 100, std=0.5)
    np.testing.assert_array_equal(one.weight.value, other.weight.value)
    assert one.weight.value.std() == pytest.approx(0.5, rel=0.02)
    assert one.weight.value.mean() == pytest.approx(0, abs=0.02)
    assert "normal, standard deviation 0.5" in one.summary((2, 3), dtype="i64")


def test_it_is_saved_and_loaded(tmp_path: Any) -> None:
    layer = nn.Embedding(4, 3, padding_idx=-1)
    layer.save(tmp_path / "a.safetensors")
    again = nn.load(tmp_path / "a.safetensors")
    assert repr(again) == repr(layer)
    assert again.padding_idx == 3
    np.testing.assert_array_equal(again.weight.value, layer.weight.value)


# --- vectors that are not longer than some length --------------------------------


def shortened(weight: Any, tokens: Any, max_norm: float, p: float) -> Any:
    """Return a weight whose rows that are looked up are no longer than `max_norm`."""
    weight = weight.copy()
    for token in np.unique(tokens):
        norm = np.linalg.norm(weight[token], p)
        if norm > max_norm:
            weight[token] *= max_norm / (norm + 1e-7)
    return weight


def drawn(max_norm: float = 1.0, norm_type: float = 2.0, **more: Any) -> nn.Embedding:
    layer = nn.Embedding(
        9, 3, dtype="f64", max_norm=max_norm, norm_type=norm_type, **more
    )
    layer.weight.value = np.random.default_rng(5).normal(size=(9, 3))
    layer.weight.value[0] = 0.0
    return layer


@pytest.mark.parametrize("p", [2, 1.0, 3.0, 0.5, np.inf])
def test_vectors_that_are_looked_up_are_shortened(p: float) -> None:
    layer, tokens = drawn(1.2, p), np.array([[3, 0, 3], [1, 7, 0]])
    before = layer.weight.value
    expected = shortened(before, tokens, 1.2, p)
    assert 0 < (expected != before).any(1).sum() < len(expected)
    layer.eval()
    np.testing.assert_allclose(layer(tokens).value, expected[tokens], rtol=1e-12)
    assert layer.weight.value is before
    layer.train()
    y = layer(tokens)
    np.testing.assert_allclose(layer.weight.value, expected, rtol=1e-12)
    np.testing.assert_allclose(y.value, expected[tokens], rtol=1e-12)
    g = RNG.normal(size=y.shape)
    (y * g).sum().backward()
    wanted = np.zeros((9, 3))
    np.add.at(wanted, tokens, g)
    np.testing.assert_allclose(layer.weight.grad, wanted, rtol=1e-12)


@pytest.mark.parametrize("engine", ["numpy", "llvm"])
def test_training_starts_each_update_from_the_shortened_weight(engine: str) -> None:
    """Beside the same training written by hand, with decay of the whole weight."""
    rate, decay = 0.3, 0.1
    X, y = RNG.integers(1, 9, (10, 2)), RNG.normal(size=(10, 1)) * 4
    X[:, 1] = 0
    model = nn.Sequential(drawn(padding_idx=0), nn.Flatten(), nn.Linear(6, 1).to("f64"))
    w, a, b = (each.value.copy() for each in model.parameters())
    trainer = pel.Trainer(
        model,
        nn.MSELoss(),
        optim.SGD(lr=rate, weight_decay=decay),
        engine=engine,
    )
    trainer.fit(X, y, epochs=3, batch_size=4, shuffle=False, verbose=0)
    for _ in range(3):
        for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
            tokens, target = X[rows], y[rows]
            w = shortened(w, tokens, 1.0, 2)
            h = w[tokens].reshape(-1, 6)
            up = 2 * (h @ a.T + b - target) / len(target)
            dh, dw = (up @ a).reshape(-1, 2, 3), np.zeros_like(w)
            np.add.at(dw, tokens, dh)
            dw[0] = 0
            w = w - rate * (dw + decay * w)
            a, b = a - rate * (up.T @ h + decay * a), b - rate * (up.sum(0) + decay * b)
    for found, expected in zip(model.parameters(), (w, a, b)):
        np.testing.assert_allclose(found.value, expected, rtol=1e-9, atol=1e-12)
    # What was not looked up since the last update may be longer: predictions are not.
    h = shortened(w, X, 1.0, 2)[X].reshape(-1, 6)
    np.testing.assert_allclose(trainer.predict(X), h @ a.T + b, rtol=1e-9)
    np.testing.assert_allclose(model[0].weight.value, w, rtol=1e-9, atol=1e-12)


def test_two_looks_in_one_step_shorten_what_both_read() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            self.vectors = drawn(0.5)

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return self.vectors(one) + self.vectors(other)

    X = np.array([1, 1, 2]), np.array([2, 3, 4])
    model = Both()
    expected = shortened(model.vectors.weight.value, np.array(X), 0.5, 2)
    trainer = pel.Trainer(model, nn.MSELoss(), optim.SGD(lr=1e-12))
    trainer.fit(X, np.zeros((3, 3)), epochs=1, verbose=0)
    np.testing.assert_allclose(model.vectors.weight.value, expected, rtol=1e-9)


def test_a_large_batch_in_slices_and_a_replay_of_it_shorten_the_same_rows() -> None:
    X, y = RNG.integers(0, 40, (512, 3)), RNG.normal(size=(512, 1))
    weights = []
    for engine in ("numpy", "llvm"):
        with keys_from(key_of(1)):
            layers = nn.Embedding(50, 16, max_norm=2.0), nn.Flatten(), nn.Linear(48, 1)
        model = nn.Sequential(*layers)
        trainer = pel.Trainer(model, nn.MSELoss(), optim.Adam(lr=0.1), engine=engine)
        trainer.fit(X, y, epochs=2, batch_size=256, verbose=0)
        weights.append(model[0].weight.value)
        replay = trainer.replay(3)
        assert replay.loss == pytest.approx(trainer.history["loss"][1], rel=0.5)
    np.testing.assert_allclose(*weights, rtol=1e-3, atol=1e-5)
    assert np.linalg.norm(weights[0], axis=1)[40:].max() > 3.0


def test_the_gradient_checker_agrees_where_no_vector_is_too_long() -> None:
    X = RNG.integers(0, 4, (4, 6))
    assert pel.gradcheck(
        nn.Sequential(nn.Embedding(5, 3, max_norm=9.0), nn.Tanh()), X
    ).ok
    layer = nn.Embedding(5, 3, max_norm=0.1)
    before = layer.weight.value
    assert not pel.gradcheck(nn.Sequential(layer, nn.Tanh()), X).ok
    assert layer.weight.value is before


# --- what is refused -------------------------------------------------------------


def test_a_token_outside_the_vocabulary_is_named() -> None:
    layer = nn.Embedding(5, 2)
    with pytest.raises(DataError) as caught:
        layer(np.array([[1, 7]]))
    assert str(caught.value).startswith(
        "Embedding(num_embeddings=5, embedding_dim=2): token 7 is not in the vocabulary"
        " · row 0, position 1, counted from 0 · expected 0 to 4 · try num_embeddings=8,"
        " or map unknown tokens to one of"
    )
    with pytest.raises(DataError, match=r"token -1 .* number the tokens from 0"):
        layer(np.array([-1, 2]))


class Shifted(nn.Module):
    """Numbers that become tokens on their way."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], 2) + 1


@pytest.mark.parametrize("engine", ["numpy", "llvm"])
@pytest.mark.parametrize("in_front", [(), (nn.Flatten(),), (Shifted(),)])
def test_a_token_outside_the_vocabulary_is_named_by_its_row(
    engine: str, in_front: Any
) -> None:
    layers = [*in_front, nn.Embedding(9, 2), nn.Flatten(), nn.Linear(4, 1)]
    trainer = pel.Trainer(nn.Sequential(*layers), nn.MSELoss(), engine=engine)
    X, y = np.ones((3000, 2), np.int64), np.zeros((3000, 1))
    trainer.fit(X, y, epochs=1, verbose=0)
    X[2345, 1] = 99
    token = 99 + sum(isinstance(each, Shifted) for each in in_front)
    words = (
        rf"token {token} is not in the vocabulary · row 2345, position 1, counted from "
        rf"0 · expected 0 to 8 · try num_embeddings={token + 1}"
    )
    for call in (
        lambda: trainer.predict(X),
        lambda: trainer.evaluate(X, y),
        lambda: trainer.fit(X, y, verbose=0),
    ):
        with pytest.raises(DataError, match=words):
            call()


def test_a_token_that_a_trained_layer_makes_stops_a_program() -> None:
    class Chosen(nn.Module):
        def __init__(self) -> None:
            self.scores, self.vectors = nn.Linear(2, 9), nn.Embedding(5, 2)
            self.scores.bias.value = np.arange(9) * 10.0

        def forward(self, x: Tensor) -> Tensor:
            return self.vectors(pel.functional.argmax(self.scores(x), -1))

    trainer = pel.Trainer(Chosen(), nn.MSELoss())
    with pytest.raises(EngineError, match=r"index 8 is outside · .*test_embedding"):
        trainer.predict(np.zeros((3, 2)))


def test_a_token_outside_the_vocabulary_is_named_before_training() -> None:
    model = nn.Sequential(nn.Embedding(5, 2), nn.Flatten(), nn.Linear(4, 1))
    words = "token 5 is .* · row 1, position 1, .* · expected 0 to 4 · try num_embeddi"
    with pytest.raises(DataError, match=words):
        pel.Trainer(model, nn.MSELoss()).fit([[1, 2], [3, 5]], np.zeros((2, 1)))


def test_floats_are_no_tokens() -> None:
    with pytest.raises(
        DTypeError, match=r"tokens must be integers, not f32\[2\] · pass"
    ):
        nn.Embedding(5, 2)(np.array([1.0, 2.0], np.float32))


@pytest.mark.parametrize("padding", [5, -6, 1.0, True])
def test_padding_is_a_token(padding: Any) -> None:
    with pytest.raises(ArgumentError, match="expected a token from 0 to 4, or None"):
        nn.Embedding(5, 2, padding_idx=padding)


def test_sizes_and_dtypes_are_checked() -> None:
    for options in ({"max_norm": 0}, {"norm_type": -1.0}, {"max_norm": "1"}):
        with pytest.raises(ArgumentError, match="must be a number above 0, not"):
            nn.Embedding(3, 2, **options)
    with pytest.raises(ArgumentError, match="num_embeddings must be a whole number"):
        nn.Embedding(0, 2)
    with pytest.raises(ArgumentError, match="weights are f32 or f64, not int32"):
        nn.Embedding(3, 2, dtype="i32")
