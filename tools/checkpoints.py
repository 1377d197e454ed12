"""The folder of a training run: weights, the log, and all that it takes to go on.

    best.safetensors         the weights that did best on held-out images
    last.safetensors         the newest weights
    last.state.safetensors   newest weights, what the optimizer keeps, settings, position, log
    log.jsonl                a line an epoch
    curves.png               the log as a picture

Every file is replaced as a whole. The state is written last and is all that a resumed run
reads: whatever is newer than it, because the machine stopped between two files, is made again
by the same batches, number for number.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tinygraph.errors import ModelFormatError, UsageError
from tinygraph.files import replacing
from tinygraph.ir import Array
from tinygraph.weights import safetensors

SCHEMA = 1
_KEY = "tinygraph"  # of the metadata


@dataclass(frozen=True)
class Record:
    """One epoch of the log.

    Attributes:
        epoch: from 1.
        loss, accuracy: means over the training images, each as it was seen.
        val_loss, val_accuracy: the same of the held-out images, at the end of the epoch; None if
            there are none.
        lr: learning rate of the last update.
        seconds: that it took.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    lr: float
    seconds: float


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        epoch: that runs now, from 1.
        batches, images: of this epoch that are done.
        loss: the sum over these images.
        right: how many of them were classified rightly.
        seconds: spent on this epoch.
        log: the epochs that are done.
    """

    epoch: int = 1
    batches: int = 0
    images: int = 0
    loss: float = 0.0
    right: int = 0
    seconds: float = 0.0
    log: list[Record] = field(default_factory=list)

    @property
    def best(self) -> Record | None:
        """The epoch of the highest held-out accuracy; among equals that of the lowest loss, then the first."""
        scored = [(-r.val_accuracy, r.val_loss, r.epoch) for r in self.log if r.val_accuracy is not None]
        return self.log[min(scored)[2] - 1] if scored else None

    def close(self, val_loss: float | None, val_accuracy: float | None, lr: float) -> Record:
        """Ends the epoch: its record is in the log, the next one begins."""
        loss, accuracy = self.loss / self.images, self.right / self.images
        record = Record(self.epoch, loss, accuracy, val_loss, val_accuracy, lr, self.seconds)
        self.log.append(record)
        self.epoch += 1
        self.batches = self.images = self.right = 0
        self.loss = self.seconds = 0.0
        return record


@dataclass(frozen=True)
class Checkpoint:
    """All that it takes to go on with a training.

    Attributes:
        settings: what was asked for, and fingerprints of network and data.
        progress: how far it is.
        arrays: of the training step.
    """

    settings: dict[str, Any]
    progress: Progress
    arrays: Mapping[str, Array]


class RunFolder:
    """The files of one training run.

    Attributes:
        path: the folder.
        best, last, state, log, curves: paths of the files.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.best = self.path / "best.safetensors"
        self.last = self.path / "last.safetensors"
        self.state = self.path / "last.state.safetensors"
        self.log = self.path / "log.jsonl"
        self.curves = self.path / "curves.png"

    @property
    def holds_run(self) -> bool:
        """Whether there is something in it that a new run would replace."""
        return any(os.path.lexists(path) for path in (self.best, self.last, self.state))

    def begin(self) -> None:
        """Makes the folder, removes the files of an older run, and tries whether it can be written.

        Raises:
            UsageError: it cannot.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for path in (self.state, self.last, self.best, self.curves):
                path.unlink(missing_ok=True)
        except FileExistsError:
            raise UsageError(f"-o {self.path} is a file: name a folder") from None
        except OSError as error:
            raise UsageError(f"cannot write into {self.path}: {error.strerror}") from None
        self._write_log([])

    def save_best(self, record: Record, settings: Mapping[str, Any], state: Mapping[str, Array]) -> None:
        """Writes the best weights so far; to be called before the checkpoint that tells of them is saved.

        Args:
            record: of their epoch.
            settings: as of a checkpoint.
            state: the network's state_dict.

        Raises:
            UsageError: the file cannot be written; an old one is whole.
        """
        safetensors.save(state, self.best, _metadata(settings=settings, record=asdict(record)))

    def save(self, checkpoint: Checkpoint, state: Mapping[str, Array]) -> None:
        """Writes the newest weights, the log and the state.

        Args:
            checkpoint: the position.
            state: the network's state_dict.

        Raises:
            UsageError: a file cannot be written; the old ones are whole.
        """
        settings, progress = checkpoint.settings, asdict(checkpoint.progress)
        safetensors.save(state, self.last, _metadata(settings=settings))
        self._write_log(checkpoint.progress.log)
        safetensors.save(checkpoint.arrays, self.state, _metadata(settings=settings, progress=progress))

    def load(self) -> Checkpoint:
        """The checkpoint in the folder.

        Raises:
            UsageError: there is none.
            ModelFormatError: it is damaged.
        """
        if not self.state.is_file():
            raise UsageError(f"there is nothing to resume in {self.path}: {self.state.name} is missing")
        told = safetensors.metadata(self.state).get(_KEY)
        try:
            found = json.loads(told or "")
            if found["schema"] != SCHEMA:
                raise ModelFormatError(f"{self.state} is of schema {found['schema']}, this version reads {SCHEMA}")
            progress = Progress(**found["progress"])
            progress.log = [Record(**record) for record in found["progress"]["log"]]
            settings = dict(found["settings"])
            if progress.epoch != len(progress.log) + 1 or not progress.images >= progress.batches >= 0:
                raise ValueError("a position that no run can have")
        except (TypeError, ValueError, KeyError) as error:
            if isinstance(error, ModelFormatError):
                raise
            raise ModelFormatError(f"{self.state} is no checkpoint of tinygraph train, or is damaged") from error
        return Checkpoint(settings, progress, safetensors.load(self.state))

    def _write_log(self, log: list[Record]) -> None:
        text = "".join(json.dumps(asdict(record), allow_nan=False) + "\n" for record in log)
        with replacing(self.log) as part:
            part.write_text(text, encoding="utf-8", newline="\n")


def _metadata(**told: Any) -> dict[str, str]:
    return {_KEY: json.dumps({"schema": SCHEMA} | told, allow_nan=False)}
