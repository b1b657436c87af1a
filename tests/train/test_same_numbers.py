"""Same seed, same bits; resumed, same bits; replayed, same bits."""

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ArgumentError, ModelFileError
from pellucid.train.replay import Journal
from pellucid.train.trainer import Trainer

EXACT = {"numpy": 0.0, "llvm": 2e-5}
"""How far a replayed number may lie from the trained one, by the engine."""

FIT = {"validation": 0.2, "verbose": 0}


@pytest.mark.parametrize("engine", EXACT)
def test_the_same_seed_gives_the_same_bits(xor, make_trainer, same_weights, engine):
    options = {"dropout": 0.3, "engine": engine}
    one, other = make_trainer(**options), make_trainer(**options)
    for trainer in (one, other):
        trainer.fit(*xor, epochs=3, **FIT)
    assert same_weights(one, other)
    third = make_trainer(**options, seed=1)
    third.fit(*xor, epochs=3, **FIT)
    assert not same_weights(one, third)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_resumed_at_an_epoch_gives_the_bits_of_an_unbroken_run(
    xor, make_trainer, same_weights, tmp_path, k, engine
):
    path = tmp_path / "run.safetensors"
    options = {"dropout": 0.3, "engine": engine}
    whole, first, second = (make_trainer(**options) for _ in range(3))
    record = whole.fit(*xor, epochs=4, **FIT)
    first.fit(*xor, epochs=k, checkpoint=path, **FIT)
    resumed = second.fit(*xor, epochs=4, checkpoint=path, resume=True, **FIT)
    assert same_weights(whole, second)
    assert resumed["validation_loss"] == record["validation_loss"]
    assert resumed["iterations"] == record["iterations"]


@pytest.mark.slow
def test_resuming_keeps_the_best_weights_and_the_patience(
    xor, make_trainer, same_weights, tmp_path
):
    path = tmp_path / "run.safetensors"
    options = {"patience": 3, "validation": 0.3, "verbose": 0}
    whole, first, second = (make_trainer(lr=0.1) for _ in range(3))
    record = whole.fit(*xor, epochs=60, **options)
    assert record.stopped == "early_stop"
    half = max(1, record.epochs - 2)
    first.fit(*xor, epochs=half, checkpoint=path, **options)
    again = second.fit(*xor, epochs=60, checkpoint=path, resume=True, **options)
    assert again.stopped == "early_stop"
    assert again.best_epoch == record.best_epoch
    assert same_weights(whole, second)


def test_a_second_fit_goes_on(xor, make_trainer, same_weights):
    whole, parts = make_trainer(), make_trainer()
    whole.fit(*xor, epochs=4, verbose=0)
    parts.fit(*xor, epochs=1, verbose=0)
    history = parts.fit(*xor, epochs=3, verbose=0)
    assert same_weights(whole, parts)
    assert history.epochs == 4


def test_a_checkpoint_of_another_training_is_refused(xor, make_trainer, tmp_path):
    path = tmp_path / "run.safetensors"
    make_trainer().fit(*xor, epochs=1, checkpoint=path, **FIT)
    with pytest.raises(ModelFileError, match="seed=0"):
        make_trainer(seed=3).fit(*xor, epochs=2, checkpoint=path, resume=True, **FIT)
    other = Trainer(nn.MLP(6, (4,), 2), nn.CrossEntropyLoss(), optim.Adam(lr=3e-3))
    with pytest.raises(ModelFileError, match="does not fit this model"):
        other.fit(*xor, epochs=2, checkpoint=path, resume=True, **FIT)


# --- replay ----------------------------------------------------------------------


@pytest.mark.sampled(5)
@pytest.mark.parametrize("engine", EXACT)
@pytest.mark.parametrize("step", [0, 5, 6, 7, 20])
def test_a_replayed_step_is_what_training_computed(xor, make_trainer, step, engine):
    trainer = make_trainer(dropout=0.4, engine=engine)
    trainer.fit(*xor, epochs=3, verbose=0)
    replay, after = trainer.replay(step), None
    assert replay.step == step
    assert len(replay.rows) == (32 if (step + 1) % 7 else 203 % 32)
    if step < 20:
        after = trainer.replay(step + 1).before.params
    else:
        after = dict(trainer.model.named_parameters())
        after = {name: each.value for name, each in after.items()}
    for name, value in replay.after.params.items():
        np.testing.assert_allclose(value, after[name], rtol=0, atol=EXACT[engine])


@pytest.mark.parametrize("engine", EXACT)
def test_the_losses_of_replayed_steps_are_the_epoch_s_loss(xor, make_trainer, engine):
    trainer = make_trainer(dropout=0.4, engine=engine)
    history = trainer.fit(*xor, epochs=2, verbose=0)
    steps = [trainer.replay(step) for step in range(7, 14)]
    sizes = [len(each.rows) for each in steps]
    mean = np.average([each.loss for each in steps], weights=sizes)
    assert mean == pytest.approx(history["loss"][1], rel=EXACT[engine] or 1e-12)


def test_a_replay_shows_values_and_gradients_on_every_wire(xor, make_trainer):
    trainer = make_trainer(dtype="f64")
    trainer.fit(*xor, epochs=1, verbose=0)
    replay = trainer.replay(3)
    for gate in replay:
        operands = [replay.gates[i].output for i in gate.inputs]
        if gate.op == "maximum":
            assert (gate.output == np.maximum(*operands)).all()
    hidden = next(g for g in replay.layer("1") if g.op == "dot")
    inputs = replay.gates[hidden.inputs[0]].output
    np.testing.assert_allclose(
        replay.gradient("1.weight"), hidden.gradient.T @ inputs, rtol=1e-12
    )
    assert replay.gates[-1].gradient == 1
    step = replay.update("1.weight")
    assert (np.sign(step) == -np.sign(replay.gradient("1.weight"))).mean() > 0.5


def test_a_replay_prints_layer_by_layer(xor, make_trainer):
    trainer = make_trainer()
    trainer.fit(*xor, epochs=1, verbose=0)
    text = str(trainer.replay(2))
    assert text.startswith("step 2 · epoch 1 · 32 rows · loss ")
    assert text.index("\n1\n") < text.index("\n2\n") < text.index("\n4\n")
    assert "1.weight [16×6]" in text


@pytest.mark.slow
def test_replay_works_when_snapshots_were_thinned(xor, make_trainer, monkeypatch):
    kept = make_trainer()
    kept.fit(*xor, epochs=9, verbose=0)
    thin = make_trainer()
    thin._journal = Journal(limit=5000)
    thin.fit(*xor, epochs=9, verbose=0)
    assert len(thin._journal.snapshots) < 9
    for step in (0, 8, 30, 62):
        assert kept.replay(step).loss == thin.replay(step).loss


def test_a_step_that_never_was_cannot_be_replayed(xor, make_trainer):
    trainer = make_trainer()
    with pytest.raises(ArgumentError, match="call fit first"):
        trainer.replay(0)
    trainer.fit(*xor, epochs=1, verbose=0)
    with pytest.raises(ArgumentError, match="no step 7 · expected 0 to 6"):
        trainer.replay(7)
    with pytest.raises(ArgumentError, match="did you mean"):
        trainer.replay(0).gradient("1.wieght")
    with pytest.raises(ArgumentError, match="no layer 'encoder'"):
        trainer.replay(0).layer("encoder")
