"""Random numbers: a pure function of the key, and of the right distribution."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pellucid import random
from pellucid.configuration import config
from pellucid.engines.numpy_ import NumpyEngine
from pellucid.engines.philox import random_words
from pellucid.errors import ArgumentError
from pellucid.ir.types import TensorType
from pellucid.tensors import Tensor, tensor
from pellucid.tracing import trace

MANY = 100_000
KEY = TensorType((2,), "u32")


def drawn(key: Tensor, dtype: str = "f32") -> Any:
    return random.uniform(key, (MANY,), dtype).value


# --- keys ----------------------------------------------------------------------------


def test_a_key_is_the_words_of_its_seed() -> None:
    assert random.key_of(2**40 + 3).value.tolist() == [3, 2**8]
    assert random.key_of(np.int64(5)).value.tolist() == [5, 0]
    assert random.key_of(2**64 - 1).value.tolist() == [2**32 - 1] * 2


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "a", True, None])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(
        ArgumentError, match=r"a seed is an integer from 0 to 2\*\*64 - 1"
    ):
        random.key_of(seed)


def test_a_few_words_are_the_first_of_many() -> None:
    key, counter = np.array([7, 2**31], np.uint32), np.array([2**32 - 1, 3], np.uint32)
    many = random_words(key, counter, 103)
    for count in range(9):
        assert random_words(key, counter, count).tolist() == many[:count].tolist()


def test_a_permutation_is_the_order_of_its_words() -> None:
    key = random.key_of(5)
    words = random_words(key.value, np.array([0, random._DRAW], np.uint32), 200_000)
    assert len(set(words.tolist())) < len(words)  # equal words stay in their order
    wanted = np.argsort(words, kind="stable")
    assert (random.permutation(key, len(words)) == wanted).all()


def test_folding_makes_other_keys_and_always_the_same() -> None:
    key = random.key_of(0)
    made = [random.fold_in(key, i) for i in range(1000)]
    words = {tuple(each.value.tolist()) for each in made}
    assert len(words) == 1000
    assert tuple(key.value.tolist()) not in words
    again = random.fold_in(random.key_of(0), 7)
    assert again.value.tolist() == made[7].value.tolist()


def test_folding_in_a_tensor_is_folding_in_its_number() -> None:
    key = random.key_of(3)
    for number in (0, 5, 2**32 - 1):
        by_tensor = random.fold_in(key, tensor(number))
        assert by_tensor.value.tolist() == random.fold_in(key, number).value.tolist()


@pytest.mark.parametrize("number", [-1, 2**32])
def test_only_a_number_of_32_bits_can_be_folded_in(number: int) -> None:
    with pytest.raises(ArgumentError, match=r"a number from 0 to 2\*\*32 - 1, not"):
        random.fold_in(random.key_of(0), number)


def test_a_key_made_by_folding_is_no_draw_of_its_parent() -> None:
    key = random.key_of(1)
    first = random.fold_in(key, 0)
    bits = set(random._bits(key, (8,)).value.tolist())
    assert bits.isdisjoint(first.value.tolist())


# --- draws ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_uniform_numbers_are_uniform(dtype: str) -> None:
    x = drawn(random.key_of(11), dtype)
    assert x.dtype == TensorType((), dtype).dtype
    assert x.min() >= 0
    assert x.max() < 1
    assert abs(x.mean() - 0.5) < 4 / np.sqrt(12 * MANY)
    assert abs(x.var() - 1 / 12) < 0.002
    assert stats.chisquare(np.histogram(x, 100, (0, 1))[0]).pvalue > 0.001
    assert stats.kstest(x[:5000], "uniform").pvalue > 0.001


@pytest.mark.parametrize(("dtype", "bits"), [("f32", 24), ("f64", 53)])
def test_uniform_numbers_are_multiples_of_the_last_bit(dtype: str, bits: int) -> None:
    scaled = drawn(random.key_of(2), dtype).astype(np.float64) * 2.0**bits
    assert np.array_equal(scaled, np.floor(scaled))
    assert (scaled % 2 == 1).mean() == pytest.approx(0.5, abs=0.01)


def test_neighbouring_draws_and_keys_do_not_depend_on_each_other() -> None:
    x, y = drawn(random.key_of(0)), drawn(random.key_of(1))
    for a, b in ((x[:-1], x[1:]), (x[:-4], x[4:]), (x, y)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(MANY)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_normal_numbers_are_normal(dtype: str) -> None:
    x = random.normal(random.key_of(5), (MANY,), dtype).value
    assert x.dtype == TensorType((), dtype).dtype
    assert np.isfinite(x).all()
    assert abs(x.mean()) < 4 / np.sqrt(MANY)
    assert abs(x.var() - 1) < 0.02
    assert stats.kstest(x[:5000].astype(float), "norm").pvalue > 0.001
    assert np.abs(x).max() > 3.5


def test_truth_values_hold_as_often_as_asked() -> None:
    key = random.key_of(9)
    for p in (0.0, 0.1, 0.5, 1.0):
        x = random.bernoulli(key, p, (MANY,)).value
        assert x.dtype == np.bool_
        assert abs(x.mean() - p) <= 4 * np.sqrt(p * (1 - p) / MANY)
    by_tensor = random.bernoulli(key, tensor(0.1), (MANY,)).value
    assert np.array_equal(by_tensor, random.bernoulli(key, 0.1, (MANY,)).value)


def test_draws_take_the_configured_dtype_and_any_shape() -> None:
    key = random.key_of(0)
    for shape in ((), (0,), (1,), (2, 3), (2, 0, 3), (5,)):
        assert random.uniform(key, shape).shape == shape
        assert random.normal(key, shape, "f64").shape == shape
    with config(dtype="f64"):
        assert random.uniform(key, (2,)).dtype == np.float64


def test_a_draw_is_a_pure_function_of_its_key() -> None:
    key = random.key_of(123)
    first = random.normal(key, (50,)).value
    random.uniform(key, (7,))
    assert random.normal(key, (50,)).value.tobytes() == first.tobytes()
    assert random.normal(random.key_of(124), (50,)).value.tobytes() != first.tobytes()


def test_the_bits_of_a_seed_never_change() -> None:
    """A saved run must draw the same numbers in every later version."""
    key = random.fold_in(random.key_of(7), 3)
    assert key.value.tolist() == [4082318929, 2017873040]
    assert random.uniform(key, (3,), "f32").value.tolist() == [
        *(0.7506295442581177, 0.6400076746940613, 0.3426715135574341)
    ]
    assert random.permutation(key, 8).tolist() == [2, 0, 4, 1, 5, 7, 3, 6]


@pytest.mark.parametrize(
    "draw",
    [
        lambda key: random.uniform(key, (33,)),
        lambda key: random.uniform(key, (33,), "f64"),
        lambda key: random.normal(key, (33,)),
        lambda key: random.bernoulli(key, 0.3, (33,)),
        lambda key: random.uniform(random.fold_in(key, 5), (4, 2)),
        lambda key: random.uniform(random.fold_in(key, key[0] & 7), (4, 2)),
    ],
)
def test_a_traced_draw_equals_the_eager_one(draw: Any) -> None:
    program = NumpyEngine().compile(trace(draw, KEY))
    for seed in (0, 1, 2**33):
        key = random.key_of(seed)
        assert program(key.value)[0].tobytes() == draw(key).value.tobytes()


# --- permutations --------------------------------------------------------------------


def test_rows_of_equal_words_keep_their_order() -> None:
    key, n = random.key_of(6), 300_000
    words = random_words(key.value, np.zeros(2, np.uint32), n)
    assert len(np.unique(words)) < n
    wanted = np.argsort(words, kind="stable")
    assert np.array_equal(random.permutation(key, n), wanted)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_a_permutation_holds_every_number_once(n: int) -> None:
    order = random.permutation(random.key_of(4), n)
    assert order.dtype == np.int32
    assert sorted(order.tolist()) == list(range(n))


def test_every_order_is_as_likely_as_every_other() -> None:
    root = random.key_of(0)
    counts: dict[tuple[int, ...], int] = {}
    for i in range(6000):
        order = tuple(random.permutation(random.fold_in(root, i), 3).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


def test_other_keys_give_other_orders() -> None:
    orders = [random.permutation(random.key_of(i), 50).tolist() for i in range(20)]
    assert len({tuple(each) for each in orders}) == 20


# --- keys for layers -----------------------------------------------------------------


def test_next_key_never_repeats_and_a_seed_starts_over() -> None:
    random.seed(42)
    first = [tuple(random.next_key().value.tolist()) for _ in range(5)]
    random.seed(42)
    assert [tuple(random.next_key().value.tolist()) for _ in range(5)] == first
    assert len({*first}) == 5
    random.seed(0)


def test_a_block_draws_from_its_own_key_and_leaves_the_seed_alone() -> None:
    random.seed(1)
    wanted = random.next_key().value.tolist()
    random.seed(1)
    with random.keys_from(random.key_of(9)):
        inside = [random.next_key().value.tolist() for _ in range(2)]
        with random.keys_from(random.key_of(9)):
            assert random.next_key().value.tolist() == inside[0]
    assert inside == [
        random.fold_in(random.key_of(9), i).value.tolist() for i in (0, 1)
    ]
    assert random.next_key().value.tolist() == wanted
    random.seed(0)


def test_a_block_holds_in_its_own_thread_only() -> None:
    found = []
    with random.keys_from(random.key_of(9)):
        inside = random.fold_in(random.key_of(9), 0).value.tolist()
        work = threading.Thread(
            target=lambda: found.append(random.next_key().value.tolist())
        )
        work.start()
        work.join()
        assert random.next_key().value.tolist() == inside
    assert found[0] != inside
    random.seed(0)


def test_a_traced_block_draws_from_a_symbol() -> None:
    def function(key: Tensor) -> Tensor:
        with random.keys_from(key):
            return random.uniform(random.next_key(), (2,)) + random.uniform(
                random.next_key(), (2,)
            )

    program = NumpyEngine().compile(trace(function, KEY))
    key = random.key_of(6)
    assert program(key.value)[0].tobytes() == function(key).value.tobytes()
