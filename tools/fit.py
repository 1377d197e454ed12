"""The epochs of a training: batches, what they add up to, the held-out images, the files."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import tinygraph
from tinygraph.data import Dataset, Loader
from tinygraph.errors import DivergenceError
from tinygraph.nn import functional as F
from tinygraph.nn.module import Module
from tinygraph.ops.base import Tensor
from tinygraph.optim import Optimizer
from tinygraph.tools import curves
from tinygraph.tools.checkpoints import Checkpoint, Progress, Record, RunFolder
from tinygraph.tools.interrupts import Interrupts
from tinygraph.tools.progress import Silent, display
from tinygraph.trace import Spec

if TYPE_CHECKING:
    from tinygraph.training import TrainStep

_PICTURE_EVERY = 30.0  # seconds


@dataclass
class Training:
    """A training that runs, or is to go on.

    Attributes:
        net: the network.
        step: what trains it.
        optimizer: of the step.
        loader: batches of the images to learn from.
        held_out: images to judge by, or None.
        smoothing: of the labels.
        epochs: how many there are to be.
        folder: where the files go.
        settings: what a checkpoint tells of the run.
        progress: how far it is.
        title: of the picture.
        threads: that it may use; None for all cores.
    """

    net: Module
    step: TrainStep
    optimizer: Optimizer
    loader: Loader
    held_out: Dataset | None
    smoothing: float
    epochs: int
    folder: RunFolder
    settings: dict[str, Any]
    progress: Progress
    title: str
    threads: int | None = None

    def run(self) -> int:
        """Trains to the last epoch, or until a signal comes; the number of that, or 0.

        What was learnt is saved after each epoch and however the training ends.

        Raises:
            DivergenceError: a loss or gradient is infinite or NaN.
            UsageError: an image cannot be read, or a file not be written.
        """
        self._pictured = time.monotonic()
        progress = self.progress
        with Interrupts() as interrupts, display(self.epochs, len(self.loader)) as shown:
            while progress.epoch <= self.epochs and not interrupts.heard:
                record = self._kept(interrupts, shown)
                if record is not None and record is progress.best:
                    self.folder.save_best(record, self.settings, self.net.state_dict())
                self._save()
                if record is not None:
                    shown.epoch(record)
        self._picture()
        return interrupts.heard if progress.epoch <= self.epochs else 0

    def _kept(self, interrupts: Interrupts, shown: Silent) -> Record | None:
        """As _epoch; if it fails, what was learnt until then is saved."""
        try:
            return self._epoch(interrupts, shown)
        except DivergenceError as error:
            self._save()
            hint = f"{self.folder.last} has the weights of before; try a smaller --lr, or --clip-norm"
            raise DivergenceError(f"{error}; {hint}") from error
        except Exception:
            self._save()
            raise

    def _epoch(self, interrupts: Interrupts, shown: Silent) -> Record | None:
        """The rest of an epoch; None if a signal came."""
        progress = self.progress
        started = time.monotonic() - progress.seconds
        with closing(self.loader.epoch(progress.epoch, skip=progress.batches)) as batches:
            for images, labels in batches:
                loss, metrics = self.step(images, labels)
                progress.batches += 1
                progress.images += len(images)
                progress.loss += loss * len(images)
                progress.right += round(metrics["accuracy"] * len(images))
                progress.seconds = time.monotonic() - started
                shown.batch(progress)
                if interrupts.heard:
                    return None
        val_loss, val_accuracy = self._judge()
        progress.seconds = time.monotonic() - started
        return progress.close(val_loss, val_accuracy, self.optimizer.rate(self.step.steps - 1))

    def _judge(self) -> tuple[float, float] | tuple[None, None]:
        """Loss and accuracy on held-out images, if there are any, by the network as it will be used."""
        held_out = self.held_out
        if held_out is None:
            return None, None
        shape = ("N", *held_out.images.shape[1:])
        session = tinygraph.compile(self.net, Spec(shape), threads=self.threads)
        with closing(Loader(held_out, self.loader.batch_size, shuffle=False).epoch(0)) as batches:
            scores = np.concatenate([session(images) for images, _ in batches])
        loss, metrics = loss_and_accuracy(scores, held_out.labels, self.smoothing)
        return float(loss), float(metrics["accuracy"])

    def _save(self) -> None:
        checkpoint = Checkpoint(self.settings, self.progress, self.step.state_dict())
        self.folder.save(checkpoint, self.net.state_dict())
        if time.monotonic() - self._pictured > _PICTURE_EVERY:
            self._picture()
            self._pictured = time.monotonic()

    def _picture(self) -> None:
        if self.progress.log:
            curves.draw(self.folder.curves, self.title, self.progress.log, self.progress.best)


def loss_and_accuracy(scores: Tensor, labels: Tensor, smoothing: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean cross-entropy of a batch, and the share of images whose highest score is that of their label."""
    loss = F.cross_entropy(scores, labels, label_smoothing=smoothing)
    return loss, {"accuracy": F.accuracy(scores, labels)}
