"""Named models of sequences: what they compute, write and learn, and bad input."""

from __future__ import annotations

import copy
import re
import runpy
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recurrent_oracle as oracle

import pellucid as pel
from pellucid import gradcheck, nn, optim
from pellucid.errors import ArgumentError, DataError, ShapeError
from pellucid.functional import additive_attention_weights
from pellucid.tensors import tensor

EXAMPLES = Path(__file__).parents[2] / "examples"
PADDING, START, END = 0, 1, 2
KINDS = {"rnn": "tanh", "lstm": "lstm", "gru": "gru"}
SOURCE = np.array([[3, 4, 5, 6], [6, 5, 0, 0], [4, 0, 0, 0]])
TARGET_IN = np.array([[1, 6, 5], [1, 5, 6], [1, 4, 0]])


def encoder_decoder(**more: Any) -> nn.EncoderDecoder:
    """Return a small model of tokens below 7, whose writing is far from even."""
    given: Any = {"embedding_dim": 3, "cell": "gru", "dtype": "f64"} | more
    return shaken(nn.EncoderDecoder(7, 7, 4, **given))


def shaken(model: Any) -> Any:
    """Make every weight, biases too, some random number."""
    rng = np.random.default_rng(1)
    for each in model.parameters():
        each.value = rng.normal(size=each.shape).astype(each.dtype)
    return model


MODELS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "sequence to sequence": (
        lambda: nn.SequenceToSequence(2, 3, 2, "lstm", 2, bidirectional=True),
        (np.random.default_rng(0).normal(size=(3, 4, 2)), np.array([4, 2, 1])),
    ),
    "tokens to sequence": (
        lambda: nn.SequenceToSequence(7, 3, 2, "rnn", embedding_dim=2, padding_idx=0),
        (SOURCE,),
    ),
    "sequence to vector": (
        lambda: nn.SequenceToVector(2, 3, 2, "gru", bidirectional=True),
        (np.random.default_rng(0).normal(size=(3, 4, 2)), np.array([4, 2, 1])),
    ),
    "vector to sequence": (
        lambda: nn.VectorToSequence(2, 3, 2, 4, "lstm"),
        (np.random.default_rng(0).normal(size=(3, 2)),),
    ),
    "vector to tokens": (
        lambda: nn.VectorToSequence(2, 3, 7, 4, "gru", 2, embedding_dim=2),
        (np.random.default_rng(0).normal(size=(3, 2)), SOURCE),
    ),
    "encoder-decoder": (
        lambda: nn.EncoderDecoder(7, 7, 4, 3, "lstm", 2),
        (SOURCE, TARGET_IN),
    ),
    "encoder-decoder, dot": (
        lambda: nn.EncoderDecoder(7, 7, 4, 3, "gru", attention="dot"),
        (SOURCE, TARGET_IN),
    ),
    "encoder-decoder, additive": (
        lambda: nn.EncoderDecoder(
            7, 7, 4, 3, "gru", attention="additive", bidirectional=True
        ),
        (SOURCE, TARGET_IN),
    ),
}

every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture
def numpy_engine() -> Iterator[None]:
    """Write by the engine that compiles nothing."""
    with pel.config(engine="numpy"):
        yield


# --- what they compute, in NumPy -------------------------------------------------


class Plain:
    """A model's weights, and the few formulas that they stand in."""

    def __init__(self, model: Any, kind: str) -> None:
        self.w = model.state_dict()
        self.kind = KINDS[kind]

    def recurrent(self, name: str, xs: Any, first: Any = None) -> tuple[Any, Any]:
        """Return the outputs `[time, width]` of one sequence, and the last states."""
        own = {
            k.removeprefix(f"{name}."): v
            for k, v in self.w.items()
            if k.startswith(f"{name}.")
        }
        count = sum(k.startswith("weight_hh") for k in own)
        width = own["weight_hh_l0"].shape[1]
        parts = 2 if self.kind == "lstm" else 1
        if first is None:
            first = (np.zeros((count, width)),) * parts
        outputs, ends = oracle.layers(self.kind, own, xs, first)
        return outputs, tuple(np.stack(each) for each in zip(*ends))

    def linear(self, name: str, x: Any) -> Any:
        bias = self.w.get(f"{name}.bias", 0.0)
        return x @ self.w[f"{name}.weight"].T + bias


def check(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cell", KINDS)
def test_a_sequence_to_sequence_is_its_layers_and_a_product(cell: str) -> None:
    options: Any = {"num_layers": 2, "bidirectional": True, "dtype": "f64"}
    model = shaken(nn.SequenceToSequence(2, 3, 4, cell, **options))
    plain, x = Plain(model, cell), np.random.default_rng(0).normal(size=(2, 5, 2))
    for found, sequence in zip(model(x).value, x):
        check(found, plain.linear("head", plain.recurrent("recurrent", sequence)[0]))


@pytest.mark.parametrize("cell", KINDS)
def test_a_sequence_to_vector_is_a_product_of_the_last_states(cell: str) -> None:
    options: Any = {"bidirectional": True, "embedding_dim": 2, "dtype": "f64"}
    model = shaken(nn.SequenceToVector(7, 3, 4, cell, **options))
    plain = Plain(model, cell)
    for found, tokens in zip(model(SOURCE).value, SOURCE):
        _, (hidden, *_) = plain.recurrent(
            "recurrent", plain.w["embedding.weight"][tokens]
        )
        check(found, plain.linear("head", hidden.reshape(-1)))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_vector_to_sequence_starts_a_state_and_reads_what_it_writes(
    cell: str,
) -> None:
    model = shaken(nn.VectorToSequence(2, 3, 2, 4, cell, 2, dtype="f64"))
    plain, vectors = Plain(model, cell), np.random.default_rng(0).normal(size=(3, 2))
    forced = np.random.default_rng(2).normal(size=(3, 5, 2))
    for alone, led, vector, previous in zip(
        model(vectors).value, model(vectors, forced).value, vectors, forced
    ):
        first = tuple(np.tanh(plain.linear("start", vector)).reshape(-1, 2, 3))
        check(
            led, plain.linear("head", plain.recurrent("recurrent", previous, first)[0])
        )
        y, state = np.zeros(2), first
        for expected in alone:
            outputs, state = plain.recurrent("recurrent", y[None], state)
            y = plain.linear("head", outputs[0])
            check(expected, y)


@pytest.mark.parametrize("attention", [None, "dot", "additive"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_an_encoder_decoder_is_its_formulas(attention: Any, cell: str) -> None:
    both = attention == "dot"
    model = encoder_decoder(cell=cell, attention=attention, bidirectional=both)
    plain = Plain(model, cell)
    for found, source, target in zip(
        model(SOURCE, TARGET_IN).value, SOURCE, TARGET_IN, strict=True
    ):
        vectors = plain.w["source_embedding.weight"][source[source != PADDING]]
        memory, state = plain.recurrent("encoder", vectors)
        state = tuple(each.reshape(1, -1) for each in state)
        vectors = plain.w["target_embedding.weight"][target]
        outputs, _ = plain.recurrent("decoder", vectors, state)
        if attention:
            outputs = looked_up(plain, attention, outputs, memory)
        check(found, plain.linear("head", outputs))


def test_no_sources_at_all_are_decoded_to_no_targets() -> None:
    none = np.zeros((0, 4), int)
    for model in (encoder_decoder(), encoder_decoder(attention="dot")):
        assert model.decode(none, max_length=3, beam=2).shape == (0, 3)
        assert model(none, none).shape == (0, 4, 7)


def log_softmax(scores: Any) -> Any:
    return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def looked_up(plain: Plain, attention: str, outputs: Any, memory: Any) -> Any:
    keys = plain.linear("attention.key", memory)
    scores = outputs @ keys.T / 2.0  # the root of the width
    if attention == "additive":
        queries = plain.linear("attention.query", outputs)
        sums = np.tanh(queries[:, None] + keys[None])
        scores = (sums * plain.w["attention.weight.weight"][0]).sum(-1)
    context = np.exp(log_softmax(scores)) @ memory
    both = np.concatenate([context, outputs], -1)
    return np.tanh(plain.linear("attention.join", both))


@pytest.mark.sampled(4)
@every_model
def test_the_gradient_checker_passes_them(name: str) -> None:
    make, inputs = MODELS[name]
    assert gradcheck(make(), *inputs, directions=2).ok


@pytest.mark.sampled(4)
@every_model
def test_a_file_rebuilds_them(name: str, tmp_path: Any) -> None:
    make, inputs = MODELS[name]
    model = make()
    model.save(tmp_path / "a.safetensors")
    same = nn.load(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(same(*inputs).value, model(*inputs).value)


# --- padding ---------------------------------------------------------------------


@pytest.mark.parametrize("model_of", [nn.SequenceToSequence, nn.SequenceToVector])
def test_padding_changes_no_number(model_of: Any) -> None:
    options: Any = {"embedding_dim": 3, "padding_idx": 0, "dtype": "f64"}
    model = shaken(model_of(7, 3, 2, "gru", 2, bidirectional=True, **options))
    together = model(SOURCE).value
    ways = {"lengths": [4, 2, 1]}, {"mask": SOURCE != PADDING}
    for way in ways:
        np.testing.assert_array_equal(model(SOURCE, **way).value, together)
    for found, tokens in zip(together, SOURCE):
        alone = model(tokens[None, tokens != PADDING]).value[0]
        check(found[: len(alone)], alone)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("attention", [None, "dot", "additive"])
def test_padding_of_a_source_changes_nothing_that_is_written(
    attention: Any, numpy_engine: None
) -> None:
    model = encoder_decoder(attention=attention, bidirectional=True)
    scores = model(SOURCE, TARGET_IN).value
    found = model.search(SOURCE, beam=3, max_length=6)
    for i, tokens in enumerate(SOURCE):
        source = tokens[None, tokens != PADDING]
        check(scores[i], model(source, TARGET_IN[i : i + 1]).value[0])
        alone = model.search(source, beam=3, max_length=6)
        np.testing.assert_array_equal(found.tokens[i], alone.tokens[0])
        check(found.scores[i], alone.scores[0])


# --- writing ---------------------------------------------------------------------


@pytest.mark.parametrize("model_of", [nn.SequenceToSequence, nn.SequenceToVector])
def test_what_is_written_is_what_reading_it_again_gives(
    model_of: Any, numpy_engine: None
) -> None:
    model = shaken(model_of(2, 3, 2, "lstm", dtype="f64"))
    x = np.random.default_rng(0).normal(size=(2, 3, 2))
    found = model.generate(x, 4)
    for step in range(4):
        y = model(np.concatenate([x, found[:, :step]], 1)).value
        check(found[:, step], y[:, -1] if y.ndim == 3 else y)


def test_tokens_are_written_behind_sequences_of_unlike_lengths(
    numpy_engine: None,
) -> None:
    options: Any = {"embedding_dim": 3, "padding_idx": 0, "dtype": "f64"}
    model = shaken(nn.SequenceToSequence(7, 3, 7, "gru", **options))
    found = model.generate(SOURCE, 3)
    for written, tokens in zip(found, SOURCE):
        text = [*tokens[tokens != PADDING]]
        for token in written:
            # The padding is not left out where it is written.
            again = model(np.array([text]), lengths=[len(text)]).value[0, -1]
            assert token == again.argmax()
            text.append(token)
            if token == PADDING:
                break


def test_tokens_from_a_vector_are_the_likeliest_behind_the_start(
    numpy_engine: None,
) -> None:
    options: Any = {"embedding_dim": 3, "start_token": 5, "dtype": "f64"}
    model = shaken(nn.VectorToSequence(2, 3, 7, 4, "gru", **options))
    vector = np.random.default_rng(0).normal(size=(2, 2))
    found = model.generate(vector, 6)
    assert found.shape == (2, 6)
    led = model(vector, nn.shift_right(found, 5)).value
    np.testing.assert_array_equal(led.argmax(-1), found)
    np.testing.assert_array_equal(model.generate(vector), found[:, :4])


@pytest.mark.slow
def test_a_beam_of_one_takes_the_likeliest_token_each_time(
    numpy_engine: None,
) -> None:
    model = encoder_decoder(attention="dot")
    found = model.decode(SOURCE, max_length=19)  # more than one block of steps
    for source, written in zip(SOURCE, found):
        text = [START]
        while len(text) < 20 and text[-1] != END:
            scores = model(source[None], np.array([text])).value[0, -1]
            scores[[PADDING, START]] = -np.inf
            text.append(int(scores.argmax()))
        expected = [*text[1:], *[PADDING] * (20 - len(text))]
        np.testing.assert_array_equal(written, expected)


def writers() -> list[tuple[Any, Any, Any]]:
    """Return models of tokens: how each writes 2 of them, and scores those so far."""
    options: Any = {"embedding_dim": 3, "dtype": "f64"}
    reader = shaken(nn.SequenceToSequence(5, 4, 5, "gru", **options))
    maker = shaken(nn.VectorToSequence(2, 4, 5, 2, "gru", **options))
    coder = shaken(nn.EncoderDecoder(5, 5, 4, 3, "gru", dtype="f64"))
    text, vector = np.array([[3, 1, 2]]), np.array([[0.3, -1.0]])

    def coded(tokens: list[int]) -> Any:
        scores = coder(text, np.array([[1, *tokens]])).value[0, -1]
        scores[:2] = -np.inf  # neither padding nor the start is written
        return scores

    return [
        (
            lambda rows, **more: reader.generate(text.repeat(rows, 0), 2, **more),
            lambda tokens: reader(np.array([[*text[0], *tokens]])).value[0, -1],
            reader,
        ),
        (
            lambda rows, **more: maker.generate(vector.repeat(rows, 0), **more),
            lambda tokens: maker(vector, np.array([[0, *tokens]])).value[0, -1],
            maker,
        ),
        (
            lambda rows, **more: coder.decode(
                text.repeat(rows, 0), max_length=2, **more
            ),
            coded,
            coder,
        ),
    ]


@pytest.mark.parametrize("which", range(3))
def test_tokens_are_drawn_as_often_as_their_scores_say(which: int) -> None:
    write, scores, _ = writers()[which]
    temperature, rows = 1.7, 4000
    found = write(rows, temperature=temperature, seed=3)
    first = np.exp(log_softmax(scores([]) / temperature))
    counts = np.bincount(found[:, 0], minlength=5)
    assert abs(counts / rows - first).max() < 4 * 0.5 / rows**0.5
    likely = int(first.argmax() if which < 2 else 3)
    behind = found[found[:, 0] == likely, 1]
    second = np.exp(log_softmax(scores([likely]) / temperature))
    shares = np.bincount(behind, minlength=5) / len(behind)
    assert abs(shares - second).max() < 4 * 0.5 / len(behind) ** 0.5
    assert (second > 0.05).sum() > 1  # or nothing would be shown


@pytest.mark.parametrize("which", range(3))
def test_a_seed_draws_the_same_again_and_limits_hold(which: int) -> None:
    write, _, model = writers()[which]
    found = write(200, temperature=1.0, seed=1)
    np.testing.assert_array_equal(write(200, temperature=1.0, seed=1), found)
    assert (write(200, temperature=1.0, seed=2) != found).any()
    with pel.config(engine="numpy"):
        same = write(200, temperature=1.0, seed=1)
    np.testing.assert_array_equal(same, found)
    likeliest = write(200)
    np.testing.assert_array_equal(write(200, temperature=1.0, top_k=1), likeliest)
    np.testing.assert_array_equal(write(200, temperature=1.0, top_p=1e-9), likeliest)
    np.testing.assert_array_equal(write(200, temperature=0, top_k=3), likeliest)
    assert model.training


def test_nothing_is_drawn_behind_the_end(numpy_engine: None) -> None:
    found = encoder_decoder().decode(
        SOURCE.repeat(40, 0), max_length=9, temperature=2.0, top_p=0.95
    )
    ended = (found == END).cumsum(1) - (found == END)
    assert ended.any()
    assert (found[ended > 0] == PADDING).all()
    assert (found[ended == 0] > START).all()


def log_p(model: Any, source: Any, target: tuple[int, ...]) -> float:
    scores = model(source[None], np.array([[START, *target[:-1]]])).value[0]
    return sum(row[token] for row, token in zip(log_softmax(scores), target))


def all_targets(longest: int) -> Iterator[tuple[int, ...]]:
    """Yield every target: ended, or as long as it may be."""
    letters = [3, 4]
    for length in range(1, longest + 1):
        for body in product(letters, repeat=length - 1):
            yield (*body, END)
    yield from product(letters, repeat=longest)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_that_is_wide_enough_finds_what_a_search_of_all_finds(
    penalty: float, numpy_engine: None
) -> None:
    model = shaken(nn.EncoderDecoder(7, 5, 4, 3, "gru", attention="dot", dtype="f64"))
    targets = [*all_targets(3)]
    found = model.search(
        SOURCE[:2], beam=len(targets) + 2, max_length=3, length_penalty=penalty
    )
    for row in range(2):
        scores = {
            each: log_p(model, SOURCE[row], each) / len(each) ** penalty
            for each in targets
        }
        order = sorted(targets, key=lambda each: -scores[each])
        for each, tokens, score in zip(order, found.tokens[row], found.scores[row]):
            assert (*tokens[: len(each)],) == each
            assert (tokens[len(each) :] == PADDING).all()
            assert score == pytest.approx(scores[each], rel=1e-9)
        assert (found.scores[row, len(targets) :] == -np.inf).all()


@pytest.mark.slow
def test_a_wider_beam_finds_what_a_narrow_one_goes_past(numpy_engine: None) -> None:
    found = [
        encoder_decoder(attention="dot", cell=cell).search(SOURCE, beam=b, max_length=8)
        for cell, b in product(["rnn", "lstm", "gru"], [1, 16])
    ]
    narrow, wide = (
        np.concatenate([x.scores[:, 0] for x in found[i::2]]) for i in (0, 1)
    )
    assert (wide > narrow + 0.01).any()


@pytest.mark.slow
def test_engines_write_the_same() -> None:
    model = encoder_decoder(attention="dot", bidirectional=True)
    numbers = shaken(nn.VectorToSequence(2, 3, 2, 4, "gru", dtype="f64"))
    found = []
    for engine in ("numpy", "llvm"):
        with pel.config(engine=engine):
            best = model.search(SOURCE, beam=2, max_length=20)
            found.append((*best, numbers.generate(np.ones((2, 2)))))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    check(found[0][1], found[1][1])
    check(found[0][2], found[1][2])


def test_what_is_written_follows_the_weights_and_is_out_of_training(
    numpy_engine: None,
) -> None:
    model = shaken(nn.VectorToSequence(2, 3, 2, 4, "gru", dropout=0.5))
    vector = np.ones((1, 2))
    before = model.generate(vector)
    np.testing.assert_array_equal(model.generate(vector), before)
    assert model.training
    twin = copy.deepcopy(model)
    model.head.bias.value = model.head.bias.value + 1.0
    assert not np.allclose(model.generate(vector), before)
    np.testing.assert_array_equal(twin.generate(vector), before)


def test_the_map_of_attention_looks_at_no_padding() -> None:
    model = encoder_decoder(attention="dot")
    found = model.attention_map(SOURCE, TARGET_IN)
    assert found.shape == (3, 3, 4)
    check(found.sum(-1), 1.0)
    hidden = np.broadcast_to((SOURCE == PADDING)[:, None], found.shape)
    assert (found[hidden] == 0.0).all()
    assert (found[~hidden] > 0.0).all()


def test_targets_one_place_later_begin_with_the_start() -> None:
    found = nn.shift_right(np.array([[[1.0], [2.0]]]), 0.5)
    assert found.tolist() == [[[0.5], [1.0]]]
    with pytest.raises(ShapeError, match=r"got shape \[3\] · expected \[batch, time"):
        nn.shift_right([1, 2, 3])


# --- training --------------------------------------------------------------------


def fitted(model: Any, X: Any, y: Any, loss: Any, epochs: int, lr: float) -> Any:
    trainer = pel.Trainer(
        model, loss, optim.Adam(lr=lr), metrics=["accuracy"], missing="mask"
    )
    return trainer.fit(X, y, epochs=epochs, batch_size=32, verbose=0)


def test_a_sequence_to_vector_learns_the_first_token_of_sequences() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(1, 4, (128, 5))
    x[np.arange(5) >= rng.integers(1, 6, 128)[:, None]] = 0
    model = nn.SequenceToVector(4, 12, 3, embedding_dim=4, padding_idx=0)
    rows = fitted(model, x, x[:, 0] - 1, nn.CrossEntropyLoss(), 20, 0.02).rows
    assert rows[-1]["accuracy"] > 0.98


@pytest.mark.slow
def test_a_vector_to_sequence_learns_to_draw_lines_by_itself() -> None:
    slope = np.random.default_rng(0).uniform(-1, 1, (128, 1))
    lines = (slope * np.linspace(0, 1, 6))[:, :, None]
    model = nn.VectorToSequence(1, 12, 1, 6, "gru")
    trainer = pel.Trainer(model, nn.MSELoss(), optim.Adam(lr=0.02))
    trainer.fit(slope, lines, epochs=25, verbose=0)
    written = model.generate([[0.5]])[0, :, 0]
    np.testing.assert_allclose(written, np.linspace(0, 0.5, 6), atol=0.06)


@pytest.mark.slow
def test_the_example_writes_strings_backwards_that_it_never_saw() -> None:
    example = runpy.run_path(str(EXAMPLES / "reverse_strings.py"))
    trainer = example["train"](longest=5, epochs=12, rows=3000, lr=0.01, verbose=0)
    source, target = example["strings"](1000, 5, seed=0)
    # With the same strings in each epoch it is 94 %.
    assert example["exact"](trainer.model, source, target) > 0.98
    assert example["exact"](trainer.model, source, target, beam=2) > 0.98


def test_the_targets_of_the_example_are_its_strings_backwards() -> None:
    example = runpy.run_path(str(EXAMPLES / "reverse_strings.py"))
    for row, target in zip(*example["strings"](50, 8, seed=1)):
        letters = row[row != PADDING]
        assert [*letters[::-1], END] == [*target[target != PADDING]]


@pytest.mark.slow
def test_the_page_of_the_documentation_runs(capsys: Any) -> None:
    page = Path(__file__).parents[2] / "docs" / "sequences.md"
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        exec(code, names)
    assert "[[5 4 3 2]\n [3 6 2 0]\n [5 2 0 0]]" in capsys.readouterr().out
    assert names["parity_history"]["accuracy"][-1] > 0.99
    assert names["found"].tokens.shape == (3, 3, 4)
    written = names["found"].tokens[:, 0]
    np.testing.assert_array_equal(written, names["target"])


# --- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.SequenceToVector(2, 3, 1, "lstn"), "did you mean 'lstm'"),
        (lambda: nn.SequenceToVector(2, 0, 1), "hidden_size must be a whole"),
        (
            lambda: nn.SequenceToSequence(2, 3, 1, padding_idx=0),
            r"padding_idx=0 of a model of numbers .* an embedding_dim",
        ),
        (lambda: nn.VectorToSequence(2, 3, 1, 0), "length must be a whole"),
        (lambda: nn.EncoderDecoder(5, 5, 3, bidirectional=True), "3 has no half for"),
        (
            lambda: nn.EncoderDecoder(5, 5, 4, attention="adaptive"),
            "no attention 'adaptive' · expected None, or one of dot, additive",
        ),
        (
            lambda: nn.EncoderDecoder(5, 5, 4, end_token=5),
            "end_token=5 · expected a token below 5",
        ),
        (
            lambda: nn.EncoderDecoder(5, 5, 4, end_token=1),
            "start_token=1, end_token=1, padding_idx=0 · expected three unlike",
        ),
        (
            lambda: nn.SequenceToSequence(2, 3, 1).generate(np.ones((1, 2, 2)), 3),
            "outputs cannot be read as inputs · input_size is 2, output_size 1",
        ),
        (
            lambda: nn.SequenceToVector(2, 3, 2, bidirectional=True).generate([], 3),
            "also reads from the end cannot go on from it",
        ),
        (
            lambda: encoder_decoder().decode(SOURCE, beam=2, temperature=0.5),
            "temperature=0.5 and beam=2 · .* · leave one of them out",
        ),
        (
            lambda: encoder_decoder().decode(SOURCE, temperature=-0.5),
            "temperature=-0.5 · expected a number from 0",
        ),
        (
            lambda: nn.SequenceToVector(1, 3, 1).generate(
                np.ones((1, 2, 1)), 3, temperature=0.5
            ),
            "temperature=0.5 of a model of numbers · .* · leave it out, or",
        ),
        (
            lambda: nn.VectorToSequence(1, 3, 1, 4).generate([[1.0]], temperature=0.5),
            "temperature=0.5 of a model of numbers",
        ),
        (
            lambda: encoder_decoder().decode(SOURCE, beam=0),
            "beam must be a whole number",
        ),
        (
            lambda: encoder_decoder().search(SOURCE, length_penalty=-1.0),
            "length_penalty=-1.0 · expected a finite number from 0",
        ),
        (
            lambda: encoder_decoder().attention_map(SOURCE, TARGET_IN),
            "the model has no attention",
        ),
        (
            lambda: encoder_decoder()(SOURCE * 0, TARGET_IN),
            "a sequence is padding alone, token 0 · row 0, .* leave out empty",
        ),
        (
            lambda: encoder_decoder().decode(SOURCE, mask=SOURCE > 4),
            "the mask hides every step of a sequence · row 2, counted from 0",
        ),
    ],
)
def test_arguments_that_cannot_be_meant_are_named(make: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: nn.SequenceToSequence(2, 3, 1)(np.ones((4, 2))),
            r"expected \[batch, time, 2\] .* made with an embedding_dim",
        ),
        (
            lambda: nn.SequenceToVector(5, 3, 1, embedding_dim=2)(np.ones((1, 4, 5))),
            r"expected \[batch, time\] of tokens .* made without embedding_dim",
        ),
        (
            lambda: nn.SequenceToSequence(2, 3, 1)(np.ones((1, 0, 2))),
            "a sequence of length zero",
        ),
        (
            lambda: encoder_decoder()(SOURCE[:, :0], TARGET_IN),
            "a sequence of length zero",
        ),
        (lambda: encoder_decoder().decode(SOURCE[0]), r"one sequence is .* x\[None\]"),
        (
            lambda: encoder_decoder()(SOURCE, TARGET_IN[:2]),
            "expected as many rows of each",
        ),
        (
            lambda: nn.VectorToSequence(2, 3, 1, 4)(np.ones(2)),
            r"expected \[batch, 2\] .* one vector is a batch of one",
        ),
        (
            lambda: nn.VectorToSequence(2, 3, 1, 4)(
                np.ones((3, 2)), np.ones((4, 2, 1))
            ),
            r"vector f64\[3,2\] and previous f64\[4,2,1\] · expected as many rows",
        ),
        (
            lambda: nn.VectorToSequence(2, 3, 1, 4).generate(np.ones(2)),
            r"expected \[batch, 2\]",
        ),
        (
            lambda: additive_attention_weights([[0.0]], [[1.0]], [1.0, 2.0]),
            r"an attention weight f32\[2\] does not fit .* expected shape \[1\]",
        ),
    ],
)
def test_input_of_another_shape_is_named(call: Any, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: encoder_decoder()(SOURCE + 1, TARGET_IN),
        lambda: encoder_decoder().decode(SOURCE + 1),
        lambda: nn.VectorToSequence(2, 3, 7, 4, embedding_dim=2, start_token=7),
        lambda: nn.SequenceToSequence(7, 3, 7, embedding_dim=2).generate([[7]], 2),
        lambda: encoder_decoder()(tensor(SOURCE), tensor(TARGET_IN + 1)),
    ],
)
def test_a_token_outside_of_the_vocabulary_is_named(call: Any) -> None:
    with pytest.raises(DataError, match="token 7 is not in the vocabulary"):
        call()


@pytest.mark.parametrize(
    ("make", "X", "words"),
    [
        (lambda: nn.SequenceToSequence(5, 3, 5, embedding_dim=2), SOURCE, "input"),
        (lambda: nn.SequenceToVector(5, 3, 5, embedding_dim=2), SOURCE, "input"),
        (lambda: nn.EncoderDecoder(5, 9, 4), (SOURCE, TARGET_IN), "source"),
        (lambda: nn.EncoderDecoder(9, 5, 4), (TARGET_IN, SOURCE), "target"),
    ],
)
def test_a_token_outside_the_vocabulary_is_named_before_training(
    make: Any, X: Any, words: str
) -> None:
    trainer = pel.Trainer(make(), nn.CrossEntropyLoss(axis=-1))
    said = rf"token 6 is .* · row 0, position 3, .* to 4 · try {words}_size=7"
    with pytest.raises(DataError, match=said):
        trainer.fit(X, SOURCE)
