"""How a training ends: done, stopped early, interrupted, or with a lost number."""

import json
import signal
import threading

import numpy as np
import pytest

from pellucid import functional as F
from pellucid import nn, optim
from pellucid.errors import NonFiniteError
from pellucid.train.events import Printer
from pellucid.train.trainer import Trainer


def test_early_stopping_restores_the_best_weights(xor, make_trainer):
    X, y = xor
    trainer = make_trainer(lr=0.1)
    held = X[:60], y[:60]
    history = trainer.fit(X, y, epochs=200, validation=held, patience=4, verbose=0)
    losses = history["validation_loss"]
    assert history.stopped == "early_stop"
    assert history.epochs == history.best_epoch + 4
    assert min(losses) == losses[history.best_epoch - 1]
    assert trainer.evaluate(*held)["loss"] == pytest.approx(min(losses), rel=1e-6)


@pytest.mark.slow
def test_the_last_weights_stay_where_that_is_wanted(xor, make_trainer):
    trainer = make_trainer(lr=0.1)
    history = trainer.fit(
        *xor, epochs=30, validation=0.3, restore_best=False, verbose=0
    )
    assert history.best_epoch is None
    assert history.stopped == "finished"


@pytest.mark.slow
def test_min_delta_is_the_least_that_counts_as_better(xor, make_trainer):
    history = make_trainer().fit(
        *xor, epochs=50, validation=0.3, patience=2, min_delta=10.0, verbose=0
    )
    assert history.epochs == 3


def _huge_steps(make_loss):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    return Trainer(model, make_loss, optim.SGD(lr=0.01))


def test_a_lost_number_stops_training_and_names_the_gate(xor, make_trainer):
    trainer = _huge_steps(lambda out, y, weight=None: F.log(out).mean())
    before = [p.value.copy() for p in trainer.model.parameters()]
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(*xor, epochs=5, verbose=0)
    text = str(caught.value)
    assert "iteration 1, epoch 1" in text
    assert "the gate log made" in text
    assert "test_endings.py" in text
    assert all((p.value == q).all() for p, q in zip(trainer.model.parameters(), before))


def test_a_lost_number_in_the_backward_pass_is_named_so(xor):
    def loss(output, y, weight=None):
        return F.sqrt(output * 0.0).sum() + output.sum()

    with pytest.raises(NonFiniteError, match=r"\(backward\) made"):
        _huge_steps(loss).fit(*xor, epochs=1, verbose=0)


def test_the_state_before_the_lost_number_is_kept(xor):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    trainer = Trainer(model, nn.MSELoss(), optim.SGD(lr=1e6))
    X, y = xor
    with pytest.raises(NonFiniteError):
        trainer.fit(X, np.stack([y, y], 1).astype("f4"), epochs=50, verbose=0)
    assert all(np.isfinite(p.value).all() for p in model.parameters())


@pytest.mark.usefixtures("heeding_ctrl_c")
def test_ctrl_c_keeps_the_best_weights_and_says_so(xor, make_trainer, capsys):
    trainer = make_trainer()
    facts = []
    trainer.subscribe(facts.append)

    def interrupt(event):
        if event.kind == "epoch" and event.data["epoch"] == 3:
            timer = threading.Timer(0.01, lambda: signal.raise_signal(signal.SIGINT))
            timer.start()

    trainer.subscribe(interrupt)
    X, y = (np.concatenate([each] * 100) for each in xor)
    history = trainer.fit(X, y, epochs=10_000, batch_size=4, validation=0.2, verbose=1)
    assert history.stopped == "interrupted"
    assert 3 <= history.epochs < 10_000
    assert facts[-2].kind == "interrupted"
    assert facts[-2].data["kept"] == f"the weights of epoch {history.best_epoch}"
    assert "interrupted: kept the weights of epoch" in capsys.readouterr().err
    assert trainer.evaluate(X, y)["loss"] < 1


def test_events_are_lines_of_json(xor, make_trainer, tmp_path):
    path = tmp_path / "events.jsonl"
    make_trainer().fit(*xor, epochs=2, validation=0.2, events=path, verbose=0)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begin", "epoch", "epoch", "end"]
    assert lines[0]["rows"] == 162
    assert lines[2]["iterations"] == 12
    assert lines[3]["reason"] == "finished"


def test_a_line_is_printed_for_each_epoch(xor, make_trainer, capsys):
    make_trainer(metrics=["accuracy"]).fit(*xor, epochs=2, validation=0.2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  iterations 12  loss ")
    assert "validation_accuracy" in lines[1]
    make_trainer().fit(*xor, epochs=1, verbose=0)
    assert capsys.readouterr().err == ""


def test_the_printer_passes_over_what_it_does_not_know(capsys):
    from pellucid.train.events import Event

    Printer()(Event("something_else", {}))
    assert capsys.readouterr().err == ""


class Deaf:
    """Is cleared away while a signal comes: Python forgets what is raised there."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("heeding_ctrl_c")
def test_ctrl_c_is_heard_while_an_object_is_cleared_away(xor, make_trainer):
    trainer = make_trainer()
    trainer.subscribe(lambda event: Deaf() if event.kind == "epoch" else None)
    history = trainer.fit(*xor, epochs=50, verbose=0)
    assert (history.stopped, history.epochs) == ("interrupted", 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
