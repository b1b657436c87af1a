"""The loop around the epochs: validation, early stopping, checkpoints, interruption.

An epoch is one program; the loop only looks at what comes out of it and decides
whether to go on. It knows no engine by name and draws nothing on a screen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import LostHostError, NonFiniteError, message
from pellucid.ir.graph import Array
from pellucid.train.checkpoint import Progress, load_progress, save_progress
from pellucid.train.columns import Data
from pellucid.train.events import Event
from pellucid.train.feed import Part
from pellucid.train.history import History
from pellucid.train.interrupts import noted_interrupts
from pellucid.train.plan import Plan
from pellucid.train.programs import EpochResult, Programs
from pellucid.train.replay import Journal, Snapshot, first_fault
from pellucid.train.state import TrainState
from pellucid.train.together import read_by_first

__all__ = ["Loop", "LostNumberError", "Settings"]


@dataclass(frozen=True)
class Settings:
    """What `fit` was asked for."""

    epochs: int
    patience: int | None = None
    min_delta: float = 0.0
    restore_best: bool = True
    checkpoint: Path | None = None
    resume: bool = False


@dataclass
class Loop:
    """One `fit`: runs epochs until they are done or something stops them."""

    programs: Programs
    plan: Plan
    validation: Data | None
    settings: Settings
    journal: Journal
    emit: Callable[[Event], None]

    def run(self, progress: Progress) -> Progress:
        """Train from where `progress` stands; return where training ended.

        Raises `NonFiniteError`, whose `progress` is the last good one.
        """
        progress = self._resumed(progress)
        last = self.settings.epochs + (0 if self.settings.resume else progress.epoch)
        stopped = "finished"
        self.emit(
            Event(
                "begin",
                {"epochs": last, "rows": self.plan.rows, "steps": self.plan.steps},
            )
        )
        try:
            with noted_interrupts() as ask:
                while progress.epoch < last:
                    ask()
                    progress = self._epoch(progress, last)
                    if self._is_stale(progress):
                        stopped = "early_stop"
                        break
        except (_Interrupted, KeyboardInterrupt) as interruption:
            if self.programs.engine.processes > 1:
                raise KeyboardInterrupt from None  # the others may stand elsewhere
            # Between two epochs: someone looked at an event, or a file was written.
            progress = getattr(interruption, "progress", progress)
            stopped = "interrupted"
        except LostHostError as error:
            raise self._lost(error, progress) from error
        return self._finished(progress, stopped)

    def _lost(self, error: LostHostError, progress: Progress) -> LostHostError:
        """Word the end of a training that lost a process."""
        path = self.settings.checkpoint
        kept = path is not None and progress.epoch > 0
        return LostHostError(
            message(
                str(error),
                expected=f"{progress.epoch} epochs were done",
                hint=f"go on from {str(path)!r} with resume, on any number of hosts"
                if kept
                else "name a checkpoint, to be able to go on after a loss",
            )
        )

    def _resumed(self, progress: Progress) -> Progress:
        path, engine = self.settings.checkpoint, self.programs.engine
        if path is None or not self.settings.resume:
            return progress
        content = read_by_first(path, engine)
        if content is None:
            return progress
        return load_progress(path, progress.state, self._fingerprint(), content)

    def _fingerprint(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "seed": plan.seed,
            "batch_size": plan.batch,
            "rows": plan.rows,
            "shuffle": plan.shuffle,
            "optimizer": self.programs.recipe.optimizer.spec,
        }

    # --- one epoch ---

    def _epoch(self, before: Progress, last: int) -> Progress:
        start = time.perf_counter()
        before = replace(before, state=self.programs.recipe.fresh(before.state))
        snapshot = Snapshot(self.plan, before.epoch, before.monitor, before.state)
        self.journal.add(snapshot)
        state, results = before.state, []
        try:
            most = self.programs.steps_a_run(state, self.plan)
            feed = self.programs.feed(self.plan)
            for part in feed.parts(before.epoch, most):
                result = self._part(before, state, part)
                state = result.state
                results.append(result)
            measured = self._measured(state, results)
        except KeyboardInterrupt:
            kept = replace(before, state=state)
            raise _Interrupted(kept) from None
        row = {
            "epoch": before.epoch + 1,
            "iterations": int(state.step),
            **measured,
            **self._learning_rate(before.state),
            "seconds": time.perf_counter() - start,
        }
        after = self._judged(before, state, row)
        self.emit(Event("epoch", {"epochs": last, **row}))
        if self.settings.checkpoint is not None:
            self._save(self.settings.checkpoint, after)
        return after

    def _save(self, path: Path, progress: Progress) -> None:
        """Write a checkpoint; all processes fetch what the first one writes."""
        programs, best = self.programs, progress.best
        whole = replace(
            progress,
            state=programs.fetched(progress.state),
            best=None if best is None else programs.fetched(best),
        )
        if programs.engine.process == 0:
            save_progress(path, whole, self._fingerprint())
        self.emit(Event("checkpoint", {"path": str(path)}))

    def _part(self, before: Progress, state: TrainState, part: Part) -> EpochResult:
        run = self.programs.run_of(self.plan, before.epoch, before.monitor, state)
        result = self.programs.steps(state, self.plan, run, part)
        if not self.programs.finite(result):
            self._report_fault(before, state, part.order)
        return result

    def _measured(
        self, state: TrainState, parts: list[EpochResult]
    ) -> dict[str, float]:
        """Return the epoch's means, each step weighted by its rows."""
        sizes = np.full(self.plan.steps, self.plan.batch, float)
        sizes[-1] = self.plan.rows - self.plan.batch * (self.plan.steps - 1)
        record = {
            name: np.concatenate([part.record[name] for part in parts])
            for name in parts[0].record
        }
        found = self.programs.recipe.objective.means(record, sizes)
        if self.validation is not None:
            held = self.programs.evaluate(state, self.validation)
            found |= {f"validation_{name}": value for name, value in held.items()}
        return found

    def _learning_rate(self, state: TrainState) -> dict[str, float]:
        rate = self.programs.learning_rate(int(state.step))
        return {} if rate is None else {"learning_rate": rate}

    # --- what it means ---

    def _judged(
        self, before: Progress, state: TrainState, row: dict[str, Any]
    ) -> Progress:
        """Return the progress after an epoch, its weights kept if they are best."""
        monitor = row.get("validation_loss", row["loss"])
        history = replace(before.history, rows=[*before.history.rows, row])
        after = replace(
            before, state=state, epoch=row["epoch"], monitor=monitor, history=history
        )
        if self.validation is None and self.settings.patience is None:
            return after
        if monitor < before.best_loss - self.settings.min_delta:
            return replace(
                after, best=state, best_loss=monitor, best_epoch=row["epoch"]
            )
        return after

    def _is_stale(self, progress: Progress) -> bool:
        patience = self.settings.patience
        if patience is None or progress.epoch - (progress.best_epoch or 0) < patience:
            return False
        self.emit(
            Event(
                "early_stop", {"patience": patience, "best_epoch": progress.best_epoch}
            )
        )
        return True

    def _finished(self, progress: Progress, stopped: str) -> Progress:
        keep_best = self.settings.restore_best and progress.best is not None
        kept = progress.best_epoch if keep_best else None
        history = History(progress.history.rows, stopped, kept)
        if stopped == "interrupted":
            what = (
                f"the weights of epoch {kept}"
                if kept
                else (f"the weights after {int(progress.state.step)} iterations")
            )
            self.emit(Event("interrupted", {"kept": what}))
        self.emit(
            Event(
                "end",
                {
                    "reason": stopped,
                    "epochs": history.epochs,
                    "iterations": history.iterations,
                },
            )
        )
        return replace(progress, history=history)

    # --- when a number is lost ---

    def _report_fault(self, before: Progress, state: TrainState, order: Array) -> None:
        """Find the first step that lost a number, and the gate; raise."""
        plan = self.plan
        run = self.programs.run_of(plan, before.epoch, before.monitor, state)
        for i in range(0, len(order), plan.batch):
            part = self.programs.feed(plan).part(order[i : i + plan.batch])
            found = self.programs.steps(state, plan, run, part)
            if not self.programs.finite(found):
                break
            state = found.state
        at = Snapshot(plan, before.epoch, before.monitor, state)
        gate = first_fault(self.programs, at, int(before.state.step))
        step = int(state.step)
        self.emit(
            Event("non_finite", {"step": step, "epoch": before.epoch + 1, "gate": gate})
        )
        raise LostNumberError(
            replace(before, state=state),
            message(
                f"training met a number that is not finite in iteration {step + 1}, "
                f"epoch {before.epoch + 1}",
                where=gate,
                expected="the model keeps its state from before that iteration",
                hint="try a smaller learning rate, clip the gradients, or check the "
                "inputs' scale",
            ),
        )


class LostNumberError(NonFiniteError):
    """A number was lost; `progress` is the last good one."""

    def __init__(self, progress: Progress, text: str) -> None:
        super().__init__(text)
        self.progress = progress


class _Interrupted(Exception):  # noqa: N818 - a signal, not an error
    """Ctrl-C in mid-epoch; `progress` is what is left."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress
