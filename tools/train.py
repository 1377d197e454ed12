"""`tinygraph train`: a network learns from labelled images."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from tinygraph.data import Loader, split
from tinygraph.errors import UsageError
from tinygraph.tools import task as tasks
from tinygraph.tools.checkpoints import Checkpoint, Progress, Record, RunFolder
from tinygraph.tools.fit import Training, loss_and_accuracy
from tinygraph.tools.options import report_options, weights_option
from tinygraph.tools.output import Output, note
from tinygraph.tools.own_code import contained
from tinygraph.tools.recipe import Recipe, recipe_options
from tinygraph.tools.task import DIGITS, Task
from tinygraph.trace import Spec
from tinygraph.training import train_step

SCHEMA = 1
_STOPPED = 128  # plus the number of the signal: the exit status, as shells have it


@click.command("train")
@click.argument("model")
@click.option("--data", metavar="digits|DIR", help="Bundled digits, or a folder with a folder for each class.")
@recipe_options
@click.option("--input-size", "input_sizes", multiple=True, metavar="SIZE", help="Size of the images, as for summary.")
@weights_option("to start from.")
@click.option("--threads", type=click.IntRange(min=1), help="To compute with [all cores].")
@click.option("--resume", is_flag=True, help="Go on where the run in the folder stopped.")
@click.option("--overwrite", is_flag=True, help="Begin anew in a folder that holds a run.")
@click.option("-o", "--output", default="run", show_default=True, metavar="DIR", help="Folder of the run.")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", help="Of the result.")
@report_options
def command(
    model: str,
    data: str | None,
    input_sizes: tuple[str, ...],
    weights: str | None,
    threads: int | None,
    resume: bool,
    overwrite: bool,
    output: str,
    style: str,
    **options: Any,
) -> int:
    """Train MODEL to classify images.

    A built-in network gets as many classes as there are. After each epoch the folder of the run
    has the newest weights and, as best.safetensors, those that did best on the held-out images;
    `tinygraph run MODEL --weights` takes both. log.jsonl and curves.png tell how it went.

    Ctrl-C saves and stops. With --resume the run goes on as if it had never stopped, number for
    number; options that are left out are those of the run. A run with --schedule constant may be
    resumed with more --epochs; other schedules are made for the epochs that they began with.
    """
    if resume and overwrite:
        raise UsageError("--resume keeps the run in the folder, --overwrite replaces it: give one of them")
    for option, name in (("-o", output), ("--data", data)):
        if name == "":
            raise UsageError(f"{option}: the name of the folder is empty")
    folder = RunFolder(output)
    old = folder.load() if resume else None
    if old is not None:
        settings = _resumed(old.settings, model, data, input_sizes, weights, options)
    else:
        if data is None:
            raise UsageError("say what to learn from: --data digits, or --data DIR")
        if folder.holds_run and not overwrite:
            raise UsageError(f"{folder.path} holds a run already: --resume goes on with it, --overwrite begins anew")
        recipe = _asked(data, options)
        settings = {"model": model, "data": data, "input_sizes": list(input_sizes), "recipe": asdict(recipe)}
    with redirect_stdout(sys.stderr):  # somebody's network may print
        training, task = _prepared(settings, old, folder, weights, threads)
        if old is None:
            folder.begin()
        signal = training.run()
    if signal:
        _tell_stop(training, model)
        return _STOPPED + signal
    Output().write(_json(task, training) if style == "json" else _text(task, training))
    _tell_use(task, training)
    return 0


# ---- what was asked for ----------------------------------------------------------------------


def _asked(data: str, options: Mapping[str, Any]) -> Recipe:
    """The recipe of a new run, with the defaults that depend on something else."""
    defaults = {"warmup": int(options["epochs"] > 1), "augment": "crop=1" if data == DIGITS else "none"}
    given: dict[str, Any] = {k: defaults.get(k) if v is None else v for k, v in options.items()}
    return Recipe(**given)


def _recipe(settings: Mapping[str, Any]) -> Recipe:
    told: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings["recipe"].items()}
    return Recipe(**told)


def _resumed(
    old: dict[str, Any],
    model: str,
    data: str | None,
    input_sizes: Sequence[str],
    weights: str | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The settings of a run, with what may change; UsageError if anything else is asked for."""
    begun = _recipe(old)
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    given = {k: v for k, v in options.items() if context.get_parameter_source(k) is not default}
    wanted = replace(begun, **given)
    changes = begun.changes(wanted)
    if wanted.schedule == "constant" and wanted.epochs > begun.epochs:
        changes.remove("--epochs")
    if model != old["model"]:
        changes.insert(0, f"MODEL ({old['model']})")
    if input_sizes and list(input_sizes) != old["input_sizes"]:
        changes.append("--input-size")
    if weights is not None:
        changes.append("--weights")
    if changes:
        raise UsageError(
            f"the run was begun with another {', '.join(changes)}: leave that out to resume it, "
            "or begin a new run that starts from its --weights"
        )
    return old | {"recipe": asdict(wanted), "data": data or old["data"]}


def _prepared(
    settings: dict[str, Any], old: Checkpoint | None, folder: RunFolder, weights: str | None, threads: int | None
) -> tuple[Training, Task]:
    """Everything that training needs; nothing is written yet."""
    recipe = _recipe(settings)
    task = tasks.make(settings["model"], settings["data"], settings["input_sizes"], recipe.seed)
    recipe.refuse_far_moves(task.data.images.shape[2:])
    images, held_out = split(task.data, recipe.held_out, recipe.seed) if recipe.held_out else (task.data, None)
    if old is not None:
        _refuse_changed(task, settings, old.settings, folder)
    if weights is not None:
        task.net.load(weights)
    # BatchNorm has no variance of a single image, which may be left for the last batch.
    lonely = len(images) > recipe.batch_size > 1 and len(images) % recipe.batch_size == 1
    loader = Loader(images, recipe.batch_size, seed=recipe.seed, augment=recipe.augmentation(), drop_last=lonely)
    optimizer = recipe.make_optimizer(len(loader))
    with contained(task.model) if task.own else nullcontext():
        step = train_step(
            task.net,
            optimizer,
            lambda net, x, y: loss_and_accuracy(net(x), y, recipe.label_smoothing),
            inputs=[Spec(("N", *images.images.shape[1:]), name="x"), Spec(("N",), "int64", name="y")],
            clip_norm=recipe.clip_norm,
            frozen=recipe.freeze,
            no_decay=(*recipe.no_decay, *recipe.spared(task.graph)),
            seed=recipe.seed,
            threads=threads,
        )
    if old is not None:
        step.load_state_dict(dict(old.arrays))
    return Training(
        net=task.net,
        step=step,
        optimizer=optimizer,
        loader=loader,
        held_out=held_out,
        smoothing=recipe.label_smoothing,
        epochs=recipe.epochs,
        folder=folder,
        settings=settings | {"network": task.network, "images": task.images, "classes": task.data.classes},
        progress=old.progress if old is not None else Progress(),
        title=f"{settings['model']} on {Path(settings['data']).name}",
        threads=threads,
    ), task


def _refuse_changed(task: Task, new: Mapping[str, Any], old: Mapping[str, Any], folder: RunFolder) -> None:
    """UsageError if network or images are not those of the run."""
    labels = {"network": new["model"], "images": f"--data {new['data']}"}
    if new["data"] != old["data"]:  # other classes make another network: the images are to be told of
        labels = dict(reversed(labels.items()))
    for name, label in labels.items():
        if getattr(task, name) != old[name]:
            raise UsageError(
                f"{label} is not what the run in {folder.path} was begun with, or has changed since: "
                "begin a new run, which may start from its --weights"
            )


# ---- what came of it -------------------------------------------------------------------------


def _text(task: Task, training: Training) -> str:
    best, last = training.progress.best, training.progress.log[-1]
    if best is None or best.val_accuracy is None:
        share, images, epoch = last.accuracy, f"{len(training.loader.dataset):,} training images", last.epoch
    else:
        assert training.held_out is not None
        share, images, epoch = best.val_accuracy, f"{len(training.held_out):,} held-out images", best.epoch
    return f"{task.model} is right on {100 * share:.2f} % of {images} (epoch {epoch} of {training.epochs})\n"


def _json(task: Task, training: Training) -> str:
    folder, log = training.folder, training.progress.log
    best = training.progress.best
    held_out = 0 if training.held_out is None else len(training.held_out)
    told = {
        "schema": SCHEMA,
        "model": task.model,
        "classes": task.data.classes,
        "images": {"training": len(training.loader.dataset), "held_out": held_out},
        "epochs": training.epochs,
        "best": _record(best),
        "last": _record(log[-1]),
        "seconds": sum(record.seconds for record in log),
        "files": {
            "best": str(folder.best) if best else None,
            "last": str(folder.last),
            "log": str(folder.log),
            "curves": str(folder.curves),
        },
    }
    return json.dumps(told, allow_nan=False) + "\n"


def _record(record: Record | None) -> dict[str, Any] | None:
    return asdict(record) if record else None


def _tell_use(task: Task, training: Training) -> None:
    folder = training.folder
    weights = folder.best if training.held_out is not None else folder.last
    sizes = [f"--input-size {size}" for size in training.settings["input_sizes"]]
    words = ["tinygraph run", shlex.quote(task.model), *sizes, "--weights", shlex.quote(str(weights)), "--input FILE"]
    note(f"the curves are in {folder.curves}, the weights in {weights}; to use them: {' '.join(words)}")


def _tell_stop(training: Training, model: str) -> None:
    progress = training.progress
    place = f"epoch {progress.epoch} of {training.epochs}, {progress.batches} of {len(training.loader)} batches done"
    words = shlex.join(["tinygraph", "train", model, "--resume", "-o", str(training.folder.path)])
    note(f"stopped and saved ({place}); to go on: {words}")
