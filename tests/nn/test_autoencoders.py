"""Autoencoders: principal components, mending, the evidence lower bound, images."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.stats import norm
from sklearn.decomposition import PCA

import pellucid as pel
from pellucid import nn, optim
from pellucid.errors import ArgumentError, ShapeError
from pellucid.random import key_of, keys_from, next_key, normal
from pellucid.tensors import grad, tensor

Array = np.ndarray[Any, Any]


def rows(count: int = 200, features: int = 6) -> Array:
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(features, features)))
    mix = np.geomspace(3, 0.2, features)[:, None] * turn
    return rng.normal(size=(count, features)) @ mix + rng.normal(size=features)


# --- plain -----------------------------------------------------------------------


def test_a_linear_autoencoder_finds_the_plane_of_the_principal_components() -> None:
    X = rows()
    model = nn.Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6)).to("f64")
    trainer = pel.Trainer(model, nn.MSELoss(), optim.LBFGS())
    history = trainer.fit(X, epochs=120, batch_size=None, verbose=0)
    components = PCA(2).fit(X)
    angles = subspace_angles(model.decoder.weight.value, components.components_.T)
    assert angles.max() < 1e-3
    left = components.inverse_transform(components.transform(X))
    assert history["loss"][-1] == pytest.approx(np.mean((X - left) ** 2), rel=1e-6)
    np.testing.assert_allclose(model.reconstruct(X).value, left, atol=1e-2)


@pytest.mark.slow
def test_it_keeps_scales_inside_and_compares_in_standard_units() -> None:
    X = rows() * [1, 10, 100, 1e3, 1e4, 1e5]
    model = nn.Autoencoder(
        nn.Sequential(nn.Standardize(6), nn.Linear(6, 5)),
        nn.Sequential(nn.Linear(5, 6), nn.Unstandardize(6)),
    )
    trainer = pel.Trainer(model, nn.MSELoss(), optim.Adam(lr=0.02), metrics=["mse"])
    history = trainer.fit(X, epochs=60, verbose=0)
    assert history["loss"][0] < 5
    error = np.abs(trainer.predict(X) - X).mean(0) / X.std(0)
    assert error.max() < 0.3


def test_the_steps_of_the_way_are_the_whole_way() -> None:
    model = nn.Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6))
    x = rows(5).astype(np.float32)
    np.testing.assert_array_equal(
        model.decode(model.encode(x).value).value, model(x).value
    )
    noisy = nn.Autoencoder(
        nn.Sequential(nn.Linear(6, 2), nn.Dropout(0.5)), model.decoder
    )
    first = noisy.reconstruct(x).value
    np.testing.assert_array_equal(first, noisy.reconstruct(x).value)
    assert noisy.training
    assert noisy.encoder[1].training


# --- denoising -------------------------------------------------------------------


def test_only_training_spoils_the_input() -> None:
    model = nn.DenoisingAutoencoder(nn.Linear(6, 2), nn.Linear(2, 6), 0.5, mask=0.3)
    x = np.ones((4000, 6), np.float32)
    with keys_from(key_of(1)):
        spoiled = model.spoil(x).value
    zero = spoiled == 0
    assert zero.mean() == pytest.approx(0.3, abs=0.01)
    assert spoiled[~zero].mean() == pytest.approx(1, abs=0.02)
    assert spoiled[~zero].std() == pytest.approx(0.5, abs=0.02)
    plain = nn.Autoencoder(model.encoder, model.decoder)(x).value
    np.testing.assert_array_equal(model.eval()(x).value, plain)
    with keys_from(key_of(1)):
        expected = nn.Autoencoder(model.encoder, model.decoder)(spoiled)
    with keys_from(key_of(1)):
        np.testing.assert_array_equal(model.train()(x).value, expected.value)


@pytest.mark.slow
def test_it_learns_to_mend_what_a_plain_one_cannot() -> None:
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(400, 2)), 4, axis=1)
    holes = np.where(rng.random(X.shape) < 0.25, 0, X)
    errors = []
    for mask in (0.0, 0.25):
        with keys_from(key_of(0)):
            model = nn.DenoisingAutoencoder(
                nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8)),
                nn.Linear(8, 8),
                noise=0.0,
                mask=mask,
            )
        pel.Trainer(model, nn.MSELoss(), optim.Adam(lr=5e-3)).fit(
            X, epochs=60, verbose=0
        )
        errors.append(np.mean((model.reconstruct(holes).value - X) ** 2))
    assert errors[1] < 0.4 * errors[0]


# --- variational -----------------------------------------------------------------


def variational(likelihood: str = "gaussian") -> nn.VariationalAutoencoder:
    with keys_from(key_of(2)):
        encoder = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
        model = nn.VariationalAutoencoder(encoder, nn.Linear(2, 6), 2, likelihood)
    return model.to("f64")


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("likelihood", "weighted"), [("gaussian", True), ("bernoulli", False)]
)
def test_the_bound_and_its_gradients_agree_with_jax(
    likelihood: str, weighted: bool
) -> None:
    model, beta = variational(likelihood), 0.7
    x = 1 / (1 + np.exp(-rows(5)))
    weight = np.arange(1.0, 6.0) if weighted else None
    with keys_from(key_of(3)):
        drawn = normal(next_key(), (5, 2), "f64").value

    def theirs(state: dict[str, Any]) -> Any:
        h = jnp.tanh(x @ state["encoder.0.weight"].T + state["encoder.0.bias"])
        code = h @ state["encoder.2.weight"].T + state["encoder.2.bias"]
        mean, log_var = code[:, :2], code[:, 2:]
        z = mean + jnp.exp(log_var / 2) * drawn
        y = z @ state["decoder.weight"].T + state["decoder.bias"]
        if likelihood == "gaussian":
            missed = ((x - y) ** 2).sum(1) / 2
        else:
            log_p = jax.nn.log_sigmoid
            missed = -(x * log_p(y) + (1 - x) * log_p(-y)).sum(1)
        away = (mean**2 + jnp.exp(log_var) - 1 - log_var).sum(1) / 2
        return jnp.average(missed + beta * away, weights=weight)

    with keys_from(key_of(3)):
        loss = nn.ELBOLoss(beta)(model(x), tensor(x), weight)
    expected, slopes = jax.jit(jax.value_and_grad(theirs))(model.state_dict())
    assert loss.item() == pytest.approx(float(expected), rel=1e-10)
    named = dict(model.named_parameters())
    for name, slope in zip(named, grad(loss, list(named.values()))):
        np.testing.assert_allclose(slope.value, slopes[name], rtol=1e-9, atol=1e-12)


def test_the_divergence_is_that_of_scipys_normal_distributions() -> None:
    mean, log_var = np.array([[0.3, -1.0]]), np.array([[0.5, -0.7]])
    outputs = {
        "reconstruction": tensor(np.zeros((1, 3))),
        "mean": tensor(mean),
        "log_variance": tensor(log_var),
    }
    found = nn.ELBOLoss()(outputs, tensor(np.zeros((1, 3)))).item()
    expected = 0.0
    for m, s in zip(mean[0], np.exp(log_var[0] / 2)):
        code = norm(m, s)
        expected += code.expect(lambda z, code=code: code.logpdf(z) - norm.logpdf(z))
    assert found == pytest.approx(expected, rel=1e-7)


def test_it_passes_the_gradient_checker() -> None:
    x = rows(3)
    assert pel.gradcheck(variational(), x, x, loss=nn.ELBOLoss(0.5)).ok
    kept = nn.DenoisingAutoencoder(nn.Linear(6, 2), nn.Linear(2, 6), mask=0.3)
    assert pel.gradcheck(kept, x, x, loss=nn.MSELoss()).ok


@pytest.mark.slow
def test_a_linear_one_finds_probabilistic_principal_components() -> None:
    # Their likelihood, of noise 1, is its best bound. Source: Lucas et al. (2019).
    rng = np.random.default_rng(0)
    mix = np.array([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0], [-2.0, 1.0]])
    X = rng.normal(size=(2000, 2)) @ mix.T + rng.normal(size=(2000, 4)) + 1.0
    with keys_from(key_of(0)):
        model = nn.VariationalAutoencoder(nn.Linear(4, 4), nn.Linear(2, 4), 2)
    optimizer = optim.Adam(lr=optim.Cosine(0.05, 5000))
    trainer = pel.Trainer(model, nn.ELBOLoss(), optimizer)
    history = trainer.fit(X, epochs=250, batch_size=100, verbose=0)
    covariance = np.cov(X.T, ddof=0)
    values, vectors = np.linalg.eigh(covariance)
    large = vectors[:, -2:] * np.sqrt(values[-2:] - 1)
    model_covariance = large @ large.T + np.eye(4)
    best = np.linalg.slogdet(model_covariance)[1] / 2
    best += np.trace(np.linalg.solve(model_covariance, covariance)) / 2
    assert np.mean(history["loss"][-20:]) == pytest.approx(best, rel=0.01)
    weight = model.decoder.weight.value
    np.testing.assert_allclose(weight @ weight.T, large @ large.T, atol=0.15)
    # New rows come from the same distribution, but for the noise.
    with keys_from(key_of(9)):
        made = model.sample(4000).value
    np.testing.assert_allclose(made.mean(0), X.mean(0), atol=0.2)
    np.testing.assert_allclose(np.cov(made.T), large @ large.T, atol=0.5)


def test_evaluation_decodes_the_mean() -> None:
    model, x = variational("bernoulli"), rows(5)
    outputs = model.eval()(x)
    np.testing.assert_array_equal(outputs["mean"].value, model.encode(x).value)
    np.testing.assert_array_equal(
        outputs["reconstruction"].value, model.decode(outputs["mean"]).value
    )
    np.testing.assert_array_equal(
        model.train().reconstruct(x).value, outputs["reconstruction"].value
    )
    assert (outputs["reconstruction"].value > 0).all()
    assert model.training
    trainer = pel.Trainer(model, nn.ELBOLoss())
    found = trainer.predict(x.astype(np.float64))
    np.testing.assert_allclose(found["mean"], outputs["mean"].value, rtol=1e-9)


# --- images ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (5, 1)])
def test_images_of_every_size_come_back_in_theirs(size: tuple[int, int]) -> None:
    model = nn.ConvAutoencoder((2, *size), (3, 4), 5)
    x = np.random.default_rng(0).normal(size=(3, 2, *size)).astype(np.float32)
    assert model(x).shape == x.shape
    assert model.encode(x).shape == (3, 5)


@pytest.mark.slow
def test_images_are_learned() -> None:
    rng = np.random.default_rng(0)
    place = rng.integers(0, 6, (128, 2))
    X = np.zeros((128, 1, 8, 8), np.float32)
    for image, (i, j) in zip(X, place):
        image[0, i : i + 3, j : j + 3] = 1
    with keys_from(key_of(0)):
        model = nn.ConvAutoencoder((1, 8, 8), (8, 8), 8)
    trainer = pel.Trainer(model, nn.MSELoss(), optim.Adam(lr=5e-3))
    history = trainer.fit(X, epochs=40, verbose=0)
    assert history["loss"][-1] < 0.25 * X.var()


# --- files and refusals ----------------------------------------------------------


def test_each_is_saved_and_loaded(tmp_path: Any) -> None:
    x = rows(3).astype(np.float32)
    parts = nn.Linear(6, 4), nn.Linear(2, 6)
    for model, given in (
        (nn.Autoencoder(nn.Linear(6, 2), parts[1]), x),
        (nn.DenoisingAutoencoder(nn.Linear(6, 2), parts[1], 0.2, 0.1), x),
        (nn.VariationalAutoencoder(*parts, 2, likelihood="bernoulli"), x),
        (nn.ConvAutoencoder((1, 2, 3), [4], 5, "tanh"), x.reshape(3, 1, 2, 3)),
    ):
        path = tmp_path / f"{type(model).__name__}.safetensors"
        model.save(path)
        again = nn.load(path)
        assert repr(again) == repr(model)
        np.testing.assert_array_equal(
            again.reconstruct(given).value, model.reconstruct(given).value
        )


def test_a_decoder_of_another_shape_is_refused() -> None:
    model = nn.Autoencoder(nn.Linear(6, 2), nn.Linear(2, 5))
    with pytest.raises(
        ShapeError, match=r"f64\[3,6\] comes back as f64\[3,5\] · expect"
    ):
        model.to("f64")(rows(3))


def test_an_encoder_of_another_width_is_refused() -> None:
    model = nn.VariationalAutoencoder(nn.Linear(6, 3), nn.Linear(2, 6), 2)
    with pytest.raises(
        ShapeError, match=r"expected \[batch, 4\]: the means of 2 latent"
    ):
        model(rows(3))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda a, b: nn.DenoisingAutoencoder(a, b, -0.1), "noise is a standard devi"),
        (lambda a, b: nn.DenoisingAutoencoder(a, b, mask=1.0), "mask is a share from"),
        (lambda a, b: nn.VariationalAutoencoder(a, b, 0), "latent_features must be"),
        (
            lambda a, b: nn.VariationalAutoencoder(a, b, 2, "normal"),
            "no likelihood 'normal' · known: 'gaussian', 'bernoulli'",
        ),
        (lambda a, b: nn.ELBOLoss(-1.0), "beta must be at least 0"),
        (lambda a, b: nn.ELBOLoss(reduction="man"), "did you mean 'mean'"),
        (lambda a, b: nn.ELBOLoss()(tensor([1.0]), tensor([1.0])), "takes the outputs"),
        (lambda a, b: nn.ConvAutoencoder((28, 28)), "expected channels, height and w"),
        (
            lambda a, b: nn.Autoencoder(variational(), b)(rows(3)),
            "must return one tens",
        ),
    ],
)
def test_arguments_are_checked(make: Any, match: str) -> None:
    with pytest.raises(ArgumentError, match=match):
        make(nn.Linear(6, 4), nn.Linear(2, 6))
