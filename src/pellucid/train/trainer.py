"""The trainer: a model, a loss and an optimiser, and what can be done with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.engines.choose import engine_named
from pellucid.errors import ArgumentError, did_you_mean, message
from pellucid.nn.module import Module
from pellucid.nn.multitask import UncertaintyWeights
from pellucid.optim.adaptive import Adam
from pellucid.optim.base import Transform
from pellucid.random import key_of
from pellucid.train.answers import Answers
from pellucid.train.checkpoint import Progress
from pellucid.train.columns import Data, rows_of
from pellucid.train.events import Event, JsonLines, Printer, Subscriber
from pellucid.train.history import History
from pellucid.train.input_checks import InputChecks
from pellucid.train.loop import Loop, LostNumberError, Settings
from pellucid.train.metrics import Metric, resolve_metrics
from pellucid.train.objective import Objective, weights_of
from pellucid.train.plan import Plan
from pellucid.train.prepare import hold_out, named_inputs, prepare
from pellucid.train.programs import Programs
from pellucid.train.replay import Journal, Replay, Snapshot, advance, replay_step
from pellucid.train.state import TrainState
from pellucid.train.step import Recipe
from pellucid.train.targets import check_classes, check_names, classes_wanted, known
from pellucid.train.together import check_alike

__all__ = ["Trainer"]


class Trainer:
    """Trains a model, and can replay any step of it.

    Args:
        model: what is trained; its parameters change in place when `fit` ends.
        loss: called as `loss(output, target, weight)`; or a dict of losses by the
            name of the model's output.
        optimizer: a transform of `pellucid.optim`; Adam by default.
        metrics: names such as `accuracy`, or functions by name.
        loss_weights: each named loss's share of the total by its name; or
            `"uncertainty"`, or an `nn.UncertaintyWeights`, which learns them.
        missing: `"mask"` leaves NaN targets, and class numbers below 0, out of the
            loss, of its gradient and of metrics; `"error"` refuses them.
        seed: decides the order of rows, the validation part, and all that layers draw.
        engine: the name of an engine; the configured one by default.
        options: of the engine, by name, such as `device="gpu"` of `xla`; they are
            listed in `docs/xla.md`.

    >>> import numpy as np
    >>> from pellucid import nn, optim
    >>> X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(-1, 1)
    >>> trainer = Trainer(nn.Linear(1, 1), nn.MSELoss(), optim.SGD(lr=0.1))
    >>> history = trainer.fit(X, 3 * X + 1, epochs=50, verbose=0)
    >>> round(float(trainer.model.weight.item()), 2)
    3.0
    """

    def __init__(
        self,
        model: Module,
        loss: Any,
        optimizer: Transform | None = None,
        *,
        metrics: Iterable[str] | Mapping[str, Metric] = (),
        loss_weights: Mapping[str, float] | UncertaintyWeights | str | None = None,
        missing: str = "error",
        seed: int = 0,
        engine: str | None = None,
        **options: Any,
    ) -> None:
        key_of(seed)
        self.model = model
        self._parameters = dict(model.named_parameters())
        if not self._parameters:
            raise ArgumentError(
                message(f"{type(model).__name__} has no parameters to train")
            )
        self._dtype = next(iter(self._parameters.values())).dtype
        weights = weights_of(loss_weights, loss, self._dtype)
        objective = Objective(loss, resolve_metrics(metrics, loss), weights)
        recipe = Recipe(model, objective, optimizer or Adam())
        self._parameters, self._buffers = recipe.parameters(), recipe.buffers()
        self._may_miss = objective.named if _is_masked(missing) else None
        self.seed = seed
        self.programs = Programs(recipe, engine_named(engine, **options))
        self._checks = InputChecks(recipe)
        self.progress: Progress | None = None
        self._journal = Journal()
        self._subscribers: list[Subscriber] = []
        leaves = {**self._parameters, **self._buffers}
        self._answers = Answers(self.programs, leaves)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call a function with every event of training.

        Where several processes train one model, the first one calls it.
        """
        self._subscribers.append(subscriber)

    @property
    def is_first(self) -> bool:
        """Whether this process writes and reports what all of them trained."""
        return self.programs.engine.process == 0

    @property
    def loss_weights(self) -> dict[str, float]:
        """By what each named loss is multiplied now."""
        objective = self.programs.recipe.objective
        if isinstance(objective.weights, UncertaintyWeights):
            return objective.weights.weights()
        named = objective.named
        return {name: objective.weights.get(name, 1.0) for name in named if name}

    @property
    def history(self) -> History:
        """The record of all epochs so far."""
        return History() if self.progress is None else self.progress.history

    # --- training ---

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        epochs: int = 10,
        batch_size: int | None = 32,
        epoch_rows: int | None = None,
        validation: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        shuffle: bool = True,
        patience: int | None = None,
        min_delta: float = 0.0,
        restore_best: bool = True,
        checkpoint: str | Path | None = None,
        resume: bool = False,
        events: str | Path | None = None,
        verbose: int = 1,
    ) -> History:
        """Train for some epochs, or until it gets no better; return the record.

        Args:
            X: rows first; a tuple of arrays for a model of several inputs; or
                `pellucid.data.Windows` of a series, which bring their targets.
            y: targets, a dict of them by output name, or None: X itself.
            epochs: passes over the rows. A further call goes on from the last state.
            batch_size: rows an update: 1 is stochastic descent, None (all) is batch
                descent.
            epoch_rows: so many rows, drawn at random and perhaps twice, are an epoch,
                as suits a long series with a window from every step. None: every row
                once.
            validation: rows held out: a fraction, a count, or `(X, y)`. Of windows
                the last in time are held out.
            sample_weight: a weight a row. `class_weight`: by label, or `balanced`.
            shuffle: draw a new order of rows each epoch. A model that carries a state
                from batch to batch needs False; each epoch it starts anew.
            patience: stop after this many epochs without a better validation loss
                (training loss where nothing is held out).
            restore_best: end with the weights of the best epoch.
            checkpoint: a file that is written after each epoch. `resume` goes on from
                it where it exists, towards `epochs` in all, with the same numbers.
            events: a file that gets each event as a line of JSON.
            verbose: 0 is silent, 1 prints a line an epoch.
        """
        _check(epochs, batch_size, epoch_rows, patience)
        self._check_order(shuffle, validation, epoch_rows)
        data = self._prepared(X, y, sample_weight, class_weight)
        held_by = self.seed, self._dtype, self.programs.engine, self._may_miss
        train, held = hold_out(data, validation, *held_by)
        progress = self._progress(train)
        self._check_data(progress.state, data, held if train is data else None)
        rows = epoch_rows or len(next(iter(train.values())))
        batch = min(batch_size or rows, rows)
        plan = Plan(train, batch, shuffle, self.seed, epoch_rows)
        settings = Settings(
            epochs,
            patience,
            min_delta,
            restore_best,
            Path(checkpoint) if checkpoint else None,
            resume,
        )
        given = self.programs, plan, held, settings, self._journal
        with self._reporting(verbose, events) as emit:
            try:
                self._take(Loop(*given, emit).run(progress), restore_best)
            except LostNumberError as fault:
                self._take(fault.progress, restore_best=False)
                raise
        return self.history

    def _prepared(
        self, X: Any, y: Any, sample_weight: Any, class_weight: Any = None
    ) -> Data:
        """Return rows with targets, checked, under the names that the losses have."""
        given = X, y, self._dtype, sample_weight, class_weight
        data = prepare(*given, engine=self.programs.engine, losses=self._may_miss)
        check_names(data, self.programs.recipe.objective)
        return data

    def _progress(self, train: Data) -> Progress:
        """Return where training stands; at its start the model adapts to the data."""
        if self.progress is not None:
            return self.progress
        recipe = self.programs.recipe
        x = train["x"] if "x" in train else train["x.0"]
        self.model.adapt(rows_of(x), known(train, recipe.objective))
        given = self._parameters, self._buffers
        return Progress(TrainState.first(*given, recipe.optimizer))

    @contextmanager
    def _reporting(
        self, verbose: int, events: str | Path | None
    ) -> Iterator[Subscriber]:
        """Return what tells every event to all who want to hear it, for a block."""
        with ExitStack() as stack:
            listeners = list(self._subscribers)
            if verbose:
                listeners.append(Printer())
            if events is not None and self.is_first:
                listeners.append(stack.enter_context(JsonLines(events)))

            def emit(event: Event) -> None:
                for each in listeners if self.is_first else ():
                    each(event)

            yield emit

    def _take(self, progress: Progress, restore_best: bool) -> None:
        state = progress.best_or_last() if restore_best else progress.state
        leaves = {**self._parameters, **self._buffers}
        self.programs.fetched(state).give(leaves)
        self.progress = progress

    def _check_order(
        self, shuffle: bool, validation: Any, epoch_rows: int | None
    ) -> None:
        """Refuse to mix up rows where a state is carried from batch to batch."""
        if epoch_rows is not None and not shuffle:
            raise ArgumentError(
                message(
                    f"epoch_rows={epoch_rows} and shuffle=False",
                    expected="rows that are drawn come in no order",
                    hint="leave one of them out",
                )
            )
        carried = self.programs.recipe.carried
        by_share = isinstance(validation, int | float)
        if carried and (shuffle or by_share):
            raise ArgumentError(
                message(
                    "the model carries a state from batch to batch, and the rows would "
                    "not come in order",
                    where=carried[0],
                    hint="pass shuffle=False"
                    if shuffle
                    else "hold rows out as validation=(X, y)",
                )
            )

    def _check_data(self, state: TrainState, data: Data, held: Data | None) -> None:
        """Refuse inputs that a layer refuses, and class numbers without an output.

        `held` are rows to validate on which `data` does not have.
        """
        self._checks.run(data)
        if held is not None:
            self._checks.run(held, "validation")
        losses = classes_wanted(data, self.programs.recipe.objective)
        if losses:
            row = {k: v[:1] for k, v in data.items() if k.split(".")[0] == "x"}
            check_classes(data, losses, self.programs.outputs(state, row))
        check_alike(data, state, self.programs.engine)

    # --- after training ---

    def evaluate(
        self, X: Any, y: Any = None, *, sample_weight: Any = None
    ) -> dict[str, float]:
        """Return the loss and the metrics on some rows, in evaluation mode."""
        data = self._prepared(X, y, sample_weight)
        self._checks.run(data)
        return self.programs.evaluate(self._current(), data)

    def predict(self, X: Any) -> Any:
        """Return the model's output for every row, as an array (or a dict of them)."""
        answer = self._answers.to(X, self._dtype)
        if answer is not None:
            return answer
        state, data = self._current(), named_inputs(X, self._dtype)
        self._checks.run(data)
        found = self.programs.predict(state, data)
        self._answers.prepare(X, self._dtype, state, data)
        return found

    def _current(self) -> TrainState:
        """Return the weights that the model has now, without an optimiser's state."""
        params = {name: each.value for name, each in self._parameters.items()}
        buffers = {name: each.value for name, each in self._buffers.items()}
        return TrainState(params, buffers, (), np.array(0, np.int32))

    def replay(self, step: int) -> Replay:
        """Run one step of the training again and return every gate of it.

        `step` counts updates from 0. What comes back equals what training computed.
        """
        snapshot = self._snapshot(step)
        first = snapshot.step
        return replay_step(self.programs, advance(self.programs, snapshot, step), first)

    def _snapshot(self, step: int) -> Snapshot:
        """Return the start of the epoch that a step stands in."""
        last = self.history.iterations
        if not 0 <= step < last:
            raise ArgumentError(
                message(
                    f"no step {step}",
                    expected=f"expected 0 to {last - 1}",
                    hint="" if last else "call fit first",
                )
            )
        snapshot = self._journal.before(step)
        while step >= snapshot.step + snapshot.plan.steps:
            snapshot = self._next_epoch(snapshot)
        return snapshot

    def _next_epoch(self, start: Snapshot) -> Snapshot:
        plan = start.plan
        end = advance(self.programs, start, start.step + plan.steps)
        monitors = {
            row["epoch"]: row.get("validation_loss", row["loss"])
            for row in self.history
        }
        epoch = start.epoch + 1
        state = self.programs.recipe.fresh(end.state)
        return Snapshot(plan, epoch, monitors[epoch], state)


def _check(epochs: Any, batch_size: Any, epoch_rows: Any, patience: Any) -> None:
    for name, value, least in (
        ("epochs", epochs, 0),
        ("batch_size", batch_size, 1),
        ("epoch_rows", epoch_rows, 1),
        ("patience", patience, 1),
    ):
        if value is None and name != "epochs":
            continue
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < least:
            raise ArgumentError(
                message(
                    f"{name}={value!r}",
                    expected=f"expected a whole number of at least {least}",
                )
            )


def _is_masked(missing: str) -> bool:
    if missing not in ("error", "mask"):
        hint = did_you_mean(missing, ["error", "mask"])
        raise ArgumentError(message(f"missing={missing!r}", hint=hint))
    return missing == "mask"
