"""`tinygraph train`: it learns, saves, goes on where it stopped, and refuses what does not fit."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import tinygraph
from tests.tools.command import NETS, ROOT, complaint, invoke
from tests.tools.test_cli import posix, terminal
from tinygraph.tools import checkpoints, progress
from tinygraph.tools.checkpoints import Progress, Record, RunFolder
from tinygraph.tools.recipe import Recipe
from tinygraph.weights import safetensors

LEARNER = NETS + "learner"
SIZE = ("--input-size", "1,3,8,8")
COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with ten images of each of three colours, under noise."""
    root = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for i in range(10):
            pixels = np.clip(np.array(colour) + rng.normal(0, 60, (8, 8, 3)), 0, 255).astype(np.uint8)
            PIL.Image.fromarray(pixels).save(root / name / f"{i}.png")
    return str(root)


def arguments(data: str, folder: Path, *more: str, model: str = LEARNER) -> list[str]:
    """A short training: 24 images in batches of 5, 3 epochs."""
    few = [
        "--epochs",
        "3",
        "-b",
        "5",
        "--lr",
        "0.01",
        "--augment",
        "flip,shift=1",
        "--label-smoothing",
        "0",
        "-o",
        str(folder),
    ]
    return ["train", model, "--data", data, *SIZE, *few, *more]


def resume(folder: Path, *more: str) -> list[str]:
    return ["train", LEARNER, "--resume", "-o", str(folder), *more]


def log(folder: Path) -> list[dict[str, Any]]:
    """The log, without what depends on the clock."""
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def same(a: Path, b: Path) -> None:
    """Two runs have the same weights, number for number, and the same log."""
    for name in ("best.safetensors", "last.safetensors", "last.state.safetensors"):
        one, other = safetensors.load(a / name), safetensors.load(b / name)
        assert list(one) == list(other)
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=f"{name}: {key}")
    assert log(a) == log(b)


@pytest.fixture(scope="session")
def whole(colours: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    invoke(*arguments(colours, folder))
    return folder


# ---- what it makes ---------------------------------------------------------------------------


def test_it_learns_and_what_it_learnt_can_be_used(colours: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = invoke(*arguments(colours, folder, "--epochs", "20", "--lr", "0.03"))
    assert result.stdout.startswith(f"{LEARNER} is right on 100.00 % of 6 held-out images (epoch ")
    assert result.stdout.count("\n") == 1
    lines = result.stderr.splitlines()
    assert lines[0].split() == ["epoch", "loss", "accuracy", "held", "out", "accuracy", "rate", "time"]
    assert [line.split()[0] for line in lines[1:21]] == [f"{i}/20" for i in range(1, 21)]
    assert f"--weights {folder}/best.safetensors" in lines[21]
    for name, place in (("blue", 0), ("green", 1), ("red", 2)):
        run = ["run", LEARNER, *SIZE, "--weights", str(folder / "best.safetensors"), "--top", "1"]
        answer = invoke(*run, "--input", f"{colours}/{name}/0.png", "--format", "json").stdout
        assert json.loads(answer)["outputs"]["output"]["top"][0][0]["class"] == place


def test_what_was_learnt_goes_into_an_onnx_file(colours: str, whole: Path, tmp_path: Path) -> None:
    learnt = ["--weights", str(whole / "last.safetensors")]
    file = str(tmp_path / "learner.onnx")
    text = invoke("optimize", LEARNER, *SIZE, *learnt, "-o", file, "--explain").stdout
    assert any(line.startswith("fold_batch_norm") for line in text.splitlines())
    image = ["--input", f"{colours}/red/0.png", "--format", "json"]
    folded, plain = (
        json.loads(invoke("run", *arguments, *image).stdout)["outputs"]["output"]["values"]
        for arguments in ((file,), (LEARNER, *SIZE, *learnt))
    )
    np.testing.assert_allclose(folded, plain, rtol=1e-4, atol=1e-6)
    invoke("run", LEARNER, *SIZE, *learnt, *image)
    assert "has its own weights" in complaint("optimize", file, *learnt)


def test_the_log_tells_each_epoch(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert list(lines[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    assert all(0 <= line[key] <= 1 for line in lines for key in ("accuracy", "val_accuracy"))
    assert all(line["loss"] > 0 and line["val_loss"] > 0 and line["seconds"] > 0 for line in lines)
    assert lines[0]["lr"] > lines[1]["lr"] > lines[2]["lr"]


def test_held_out_numbers_are_those_of_the_saved_weights(colours: str, whole: Path) -> None:
    data = tinygraph.data.image_folder(colours, (8, 8), 3)
    _, held_out = tinygraph.data.split(data, 0.2, seed=0)
    x, y = held_out.batch(np.arange(len(held_out)))
    net = tinygraph.tools.model_arg.find(LEARNER).module
    assert net is not None
    net.load(whole / "last.safetensors")
    scores = np.asarray(net(x), np.float64)
    shifted = scores - scores.max(1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(y)), y]
    last = log(whole)[-1]
    assert last["val_loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert last["val_accuracy"] == pytest.approx((scores.argmax(1) == y).mean())


def test_the_result_as_json(colours: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    told = json.loads(invoke(*arguments(colours, folder, "--format", "json", "--quiet")).stdout)
    assert list(told) == ["schema", "model", "classes", "images", "epochs", "best", "last", "seconds", "files"]
    assert told["classes"] == ["blue", "green", "red"]
    assert told["images"] == {"training": 24, "held_out": 6}
    assert told["last"]["epoch"] == told["epochs"] == 3
    assert told["best"]["val_accuracy"] == max(record["val_accuracy"] for record in log(folder))
    assert all(Path(path).is_file() for path in told["files"].values())


def test_the_same_seed_gives_the_same_run(colours: str, whole: Path, tmp_path: Path) -> None:
    invoke(*arguments(colours, tmp_path / "again"))
    same(whole, tmp_path / "again")
    invoke(*arguments(colours, tmp_path / "other", "--seed", "1"))
    assert log(tmp_path / "other") != log(whole)


def test_quiet_is_quiet(colours: str, tmp_path: Path) -> None:
    result = invoke(*arguments(colours, tmp_path / "run", "--quiet"))
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1


def test_a_network_may_write_and_fail(colours: str, tmp_path: Path) -> None:
    result = invoke(*arguments(colours, tmp_path / "run", "--format", "json", model=NETS + "Chatty"))
    assert json.loads(result.stdout)["epochs"] == 3
    assert result.stderr.count("called\n") >= 3
    said = complaint(*arguments(colours, tmp_path / "other", model=NETS + "Sulky"))
    assert "Sulky failed: AttributeError: Sulky has no attribute 'head' (" in said
    assert not (tmp_path / "other").exists()


def test_a_built_in_network_gets_the_classes_there_are(colours: str, tmp_path: Path) -> None:
    few = ["--epochs", "1", "-o", str(tmp_path / "run")]
    result = invoke("train", "linear_classifier", "--data", colours, *few)
    assert result.stdout.startswith("linear_classifier:num_classes=3 is right on")
    assert "run linear_classifier:num_classes=3 --weights" in result.stderr
    assert safetensors.load(tmp_path / "run" / "last.safetensors")["1.weight"].shape == (3, 3072)
    said = complaint("train", "linear_classifier:num_classes=4", "--data", colours, "-o", str(tmp_path / "other"))
    assert "linear_classifier:num_classes=4 gives 4 scores" in said


def test_nothing_held_out(colours: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = invoke(*arguments(colours, folder, "--held-out", "0"))
    assert "of 30 training images (epoch 3 of 3)" in result.stdout
    assert not (folder / "best.safetensors").exists()
    assert f"--weights {folder}/last.safetensors" in result.stderr
    assert [record["val_loss"] for record in log(folder)] == [None] * 3


@pytest.mark.parametrize(("batch", "updates"), [("1", 24), ("23", 1), ("22", 2), ("1000", 1)])
def test_batches_of_any_size(colours: str, tmp_path: Path, batch: str, updates: int) -> None:
    invoke(*arguments(colours, tmp_path / "run", "-b", batch, "--epochs", "2"))
    assert len(log(tmp_path / "run")) == 2
    assert RunFolder(tmp_path / "run").load().arrays["optimizer.steps"] == 2 * updates


def test_weights_to_start_from(colours: str, whole: Path, tmp_path: Path) -> None:
    still = ["--freeze", "*", "--epochs", "1"]
    assert "nothing to train" in complaint(*arguments(colours, tmp_path / "a", *still))
    given = ["--weights", str(whole / "last.safetensors"), "--freeze", "conv.*", "--freeze", "fc.*", "--epochs", "1"]
    invoke(*arguments(colours, tmp_path / "b", *given))
    before, after = (safetensors.load(folder / "last.safetensors") for folder in (whole, tmp_path / "b"))
    same_names = {name for name in before if np.array_equal(before[name], after[name])}
    assert {"conv.weight", "fc.weight", "fc.bias"} <= same_names
    assert "bn.weight" not in same_names


def test_no_decay_spares_parameters(colours: str, tmp_path: Path) -> None:
    heavy = ["--lr", "0.1", "--weight-decay", "9", "--optimizer", "adamw", "--epochs", "2", "--schedule", "constant"]
    invoke(*arguments(colours, tmp_path / "a", *heavy))
    invoke(*arguments(colours, tmp_path / "b", *heavy, "--no-decay", "conv.*"))
    sizes = [np.abs(safetensors.load(tmp_path / x / "last.safetensors")["conv.weight"]).sum() for x in "ab"]
    assert sizes[0] < sizes[1] / 2


def test_curves_are_drawn(whole: Path) -> None:
    with PIL.Image.open(whole / "curves.png") as picture:
        assert picture.size == (1200, 500)
        assert len(picture.getcolors(1 << 20) or []) > 50


def test_a_terminal_gets_a_bar(colours: str, tmp_path: Path) -> None:
    pytest.importorskip("pty")
    text = terminal(100, *arguments(colours, tmp_path / "run"), errors=True, LC_ALL="C.UTF-8")
    assert "images/s" in text
    assert "1/3" in text
    assert text.splitlines()[-1].endswith("--input FILE") or "is right on" in text


# ---- stopping and going on -------------------------------------------------------------------


def stop_after(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int) -> None:
    """Presses Ctrl-C after that batch."""

    def pressed(self: object, position: Progress) -> None:
        if (position.epoch, position.batches) == (epoch, batch):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(progress.Lines, "batch", pressed)


@posix
@pytest.mark.parametrize(("epoch", "batch"), [(1, 1), (2, 3), (2, 5), (3, 4)])
def test_a_run_that_was_interrupted_goes_on_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch, colours: str, whole: Path, tmp_path: Path, epoch: int, batch: int
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, epoch, batch)
        result = invoke(*arguments(colours, folder), code=130)
    assert result.stdout == ""
    assert f"(epoch {epoch} of 3, {batch} of 5 batches done)" in result.stderr
    assert f"to go on: tinygraph train {LEARNER} --resume -o {folder}" in result.stderr
    assert len(log(folder)) == epoch - 1
    assert RunFolder(folder).load().progress.batches == batch
    invoke(*resume(folder))
    same(whole, folder)


class Crash(BaseException):
    """The machine stops."""


@pytest.mark.parametrize("write", range(1, 9))
def test_a_crash_between_two_files_loses_nothing_that_was_saved(
    monkeypatch: pytest.MonkeyPatch, colours: str, whole: Path, tmp_path: Path, write: int
) -> None:
    folder, writes = tmp_path / "run", []
    save = safetensors.save

    def crashing(*given: Any) -> None:
        writes.append(given)
        if len(writes) == write:
            raise Crash
        save(*given)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.safetensors, "save", crashing)
        with pytest.raises(Crash):
            invoke(*arguments(colours, folder))
    if (folder / "last.state.safetensors").exists():
        invoke(*resume(folder))
    else:
        assert "there is nothing to resume" in complaint(*resume(folder))
        invoke(*arguments(colours, folder, "--overwrite"))
    same(whole, folder)


@posix
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves(colours: str, tmp_path: Path, number: signal.Signals, status: int) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("the tests run in the background of a script, where a process that they start ignores it too")
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "tinygraph", *arguments(colours, folder, "--epochs", "100000")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        while b"1/100000" not in running.stderr.readline():
            assert running.poll() is None
        running.send_signal(number)
        out, err = running.communicate()
    assert (running.returncode, out) == (status, b"")
    assert b"stopped and saved" in err
    position = RunFolder(folder).load().progress
    assert len(position.log) == position.epoch - 1 >= 1
    assert len(log(folder)) == len(position.log)


def test_a_finished_run_stays_finished(whole: Path) -> None:
    before = (whole / "last.state.safetensors").read_bytes()
    result = invoke(*resume(whole))
    assert "is right on" in result.stdout
    assert (whole / "last.state.safetensors").read_bytes() == before


def test_a_constant_rate_can_go_on_for_longer(colours: str, tmp_path: Path) -> None:
    constant = ["--schedule", "constant", "--warmup", "1"]
    invoke(*arguments(colours, tmp_path / "long", *constant, "--epochs", "4"))
    invoke(*arguments(colours, tmp_path / "short", *constant, "--epochs", "3"))
    assert "another --epochs:" in complaint(*resume(tmp_path / "short", "--epochs", "2"))
    invoke(*resume(tmp_path / "short", "--epochs", "4"))
    same(tmp_path / "long", tmp_path / "short")


def test_a_run_goes_on_as_it_was_begun(colours: str, whole: Path, tmp_path: Path) -> None:
    said = complaint(*resume(whole, "--lr", "0.5", "--optimizer", "sgd", "--epochs", "9", "--seed", "0"))
    assert "begun with another --epochs, --optimizer, --lr: leave" in said
    assert f"begun with another MODEL ({LEARNER}):" in complaint("train", NETS + "tiny", "--resume", "-o", str(whole))
    assert "--weights" in complaint(*resume(whole, "--weights", "x.safetensors"))
    assert "--input-size" in complaint(*resume(whole, "--input-size", "1,3,9,9"))
    invoke(*arguments(colours, whole, "--resume"))  # all of it said again


def test_other_images_are_noticed(colours: str, tmp_path: Path) -> None:
    invoke(*arguments(colours, tmp_path / "run", "--epochs", "1"))
    other = tmp_path / "images"
    for name in COLOURS:
        (other / name).mkdir(parents=True)
        for file in Path(colours, name).iterdir():
            (other / name / file.name).write_bytes(file.read_bytes())
    invoke(*resume(tmp_path / "run", "--data", str(other)))  # the same, in another place
    (other / "red" / "9.png").unlink()
    assert "has changed since" in complaint(*resume(tmp_path / "run", "--data", str(other)))


def test_other_classes_are_told_of_as_other_images(colours: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    invoke("train", "linear_classifier", "--data", colours, "--epochs", "1", "-o", folder)
    for name in ("blue", "green"):
        (tmp_path / "two").mkdir(exist_ok=True)
        (tmp_path / "two" / name).symlink_to(Path(colours, name))
    said = complaint("train", "linear_classifier", "--resume", "--data", f"{tmp_path}/two", "-o", folder)
    assert f"--data {tmp_path}/two is not what the run" in said


def test_another_network_of_the_same_name_is_noticed(
    monkeypatch: pytest.MonkeyPatch, colours: str, tmp_path: Path
) -> None:
    (tmp_path / "my_net.py").write_text("from tests.tools.nets import Learner\n\nNet = Learner\n")
    monkeypatch.syspath_prepend(tmp_path)
    invoke(*arguments(colours, tmp_path / "run", "--epochs", "1", model="my_net:Net"))
    forward = tinygraph.nn.functional.tanh
    monkeypatch.setattr("tests.tools.nets.F.relu", forward)
    assert "my_net:Net is not what" in complaint("train", "my_net:Net", "--resume", "-o", str(tmp_path / "run"))


def test_an_old_run_is_not_replaced_unasked(colours: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    invoke(*arguments(colours, folder, "--epochs", "1"))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert "--resume goes on with it, --overwrite begins anew" in complaint(*arguments(colours, folder))
    complaint(*arguments(colours, folder, "--overwrite", "--augment", "melt"))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    invoke(*arguments(colours, folder, "--overwrite"))
    assert len(log(folder)) == 3


@pytest.mark.parametrize("damage", ["cut", "other", "texts", "position"])
def test_a_damaged_state_is_refused(whole: Path, tmp_path: Path, damage: str) -> None:
    state = tmp_path / "last.state.safetensors"
    if damage == "cut":
        state.write_bytes((whole / state.name).read_bytes()[:-9])
    else:
        position = {"texts": {"epoch": "x", "log": []}, "position": {"epoch": 7, "log": []}}
        told = json.dumps({"schema": 1, "settings": {}, "progress": position.get(damage)})
        safetensors.save({"x": np.zeros(3)}, state, None if damage == "other" else {"tinygraph": told})
    assert "damaged" in complaint(*resume(tmp_path))


# ---- what goes wrong -------------------------------------------------------------------------


def test_divergence_stops_it_and_keeps_what_was_sound(colours: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    wild = ["--lr", "1e30", "--optimizer", "sgd", "--schedule", "constant"]
    result = invoke(*arguments(colours, folder, *wild), code=1)
    assert result.stderr.splitlines()[-1].startswith("tinygraph: error: ")
    assert "try a smaller --lr, or --clip-norm" in result.stderr
    assert all(np.isfinite(array).all() for array in safetensors.load(folder / "last.safetensors").values())


@posix
def test_a_full_disk_keeps_the_last_checkpoint(colours: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    limited = (
        "import resource, sys; from tinygraph.tools import checkpoints, cli\n"
        "save = checkpoints.safetensors.save; n = []\n"
        "def limited(*given):\n"
        "    n.append(1)\n"
        "    if len(n) == 5: resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
        "    save(*given)\n"
        "checkpoints.safetensors.save = limited\n"
        "cli.main()"
    )
    command = [sys.executable, "-c", limited, *arguments(colours, folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "safetensors: cannot be written" in done.stderr or "cannot write" in done.stderr
    assert not list(folder.glob(".*"))
    assert len(RunFolder(folder).load().progress.log) == 1
    assert {"best.safetensors", "last.safetensors", "log.jsonl"} <= {path.name for path in folder.iterdir()}


def test_an_image_that_cannot_be_read_is_named(colours: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for file in Path(colours, "red").iterdir():
            (tmp_path / "images" / name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "images" / "a" / "3.png").write_text("no image")
    few = ["--epochs", "1", "-o", str(tmp_path / "run")]
    result = invoke("train", "linear_classifier", "--data", str(tmp_path / "images"), *few, code=2)
    assert "a/3.png is no image" in result.stderr
    assert (tmp_path / "run" / "last.safetensors").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--optimizer", "lbfgs"], "'lbfgs' is not one of"),
        (["--schedule", "random"], "'random' is not one of"),
        (["--augment", "flip,melt"], "--augment 'melt': write flip, shift=2 or crop=4"),
        (["--augment", "flip=2"], "--augment 'flip=2'"),
        (["--augment", "shift=-1"], "--augment 'shift=-1'"),
        (["--augment", ""], "--augment ''"),
        (["--augment", "crop=2, shift=8"], "--augment shift=8: give less than the 8 pixels of the images"),
        (["--data", ""], "--data: the name of the folder is empty"),
        (["-o", ""], "-o: the name of the folder is empty"),
        (["--momentum", "0.9"], "--momentum: adamw has none"),
        (["--warmup", "3"], "--warmup 3 leaves nothing of 3 epochs"),
        (["--held-out", "1"], "--held-out"),
        (["--lr", "-1"], "--lr"),
        (["--lr", "nan"], "lr is nan"),
        (["--clip-norm", "0"], "--clip-norm"),
        (["--freeze", "features.*"], "features.*"),
        (["--no-decay", "features.*"], "features.*"),
        (["--weights", "none.safetensors"], "none.safetensors: no such file"),
        (["--input-size", "1,1,8,8"], "--input-size is given 2 times"),
        (["-o", __file__], "is a file: name a folder"),
        (["-o", __file__ + "/run"], "cannot write into"),
        (["--resume", "--overwrite"], "give one of them"),
        (["--resume", "-o", "nowhere"], "there is nothing to resume in nowhere"),
    ],
)
def test_wrong_options_are_refused(colours: str, tmp_path: Path, more: list[str], said: str) -> None:
    assert said in complaint(*arguments(colours, tmp_path / "run", *more))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("mlp2", "is no image"),
        (NETS + "double", "is a finished graph"),
        (NETS + "tiny", "gives 5 scores, --data"),
        ("digits_cnn:num_classes=2", "digits_cnn:num_classes=2 gives 2 scores"),
        (NETS + "two_inputs", "is a finished graph"),
        ("net.onnx", "net.onnx is a finished graph"),
        ("resnet", "there is no model 'resnet'"),
    ],
)
def test_networks_that_do_not_fit_are_refused(colours: str, tmp_path: Path, model: str, said: str) -> None:
    sizes = SIZE if model == NETS + "tiny" else ()
    assert said in complaint("train", model, "--data", colours, *sizes, "-o", str(tmp_path / "run"))


def test_images_that_do_not_do_are_refused(colours: str, tmp_path: Path) -> None:
    assert "say what to learn from" in complaint("train", LEARNER, *SIZE, "-o", str(tmp_path / "run"))
    assert "digitz is no folder" in complaint(*arguments("digitz", tmp_path / "run"))
    assert "no sub-folders" in complaint(*arguments(f"{colours}/red", tmp_path / "run"))
    (tmp_path / "one" / "red").mkdir(parents=True)
    for name in ("0.png", "1.png"):
        (tmp_path / "one" / "red" / name).write_bytes(Path(colours, "red", name).read_bytes())
    assert "has 1 class(es)" in complaint(*arguments(str(tmp_path / "one"), tmp_path / "run"))
    (tmp_path / "one" / "blue").mkdir()
    Path(tmp_path / "one" / "red" / "1.png").rename(tmp_path / "one" / "blue" / "1.png")
    assert "nothing to hold out" in complaint(
        *arguments(str(tmp_path / "one"), tmp_path / "run", model="linear_classifier")[:4], "-o", str(tmp_path / "run")
    )


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", {0: 0.1 / 11, 9: 1 / 11, 10: 0.1, 99: 0.1}),
        ("cosine", {0: 0.1 / 11, 9: 1 / 11, 10: 0.1, 55: 0.05, 100: 0}),
        ("step", {0: 0.1 / 11, 10: 0.1, 54: 0.1, 55: 0.01, 76: 0.01, 77: 0.001, 99: 0.001}),
    ],
)
def test_how_the_rate_goes(schedule: str, rates: dict[int, float]) -> None:
    given = {"epochs": 10, "lr": 0.1, "warmup": 1, "schedule": schedule, "optimizer": "sgd"}
    unset = dict.fromkeys(
        ("momentum", "weight_decay", "clip_norm", "held_out", "seed", "batch_size", "label_smoothing")
    )
    recipe = Recipe(**(unset | given), augment="none", freeze=(), no_decay=())
    optimizer = recipe.make_optimizer(updates=10)
    for updates, rate in rates.items():
        assert optimizer.rate(updates) == pytest.approx(rate)


def test_the_best_epoch() -> None:
    def record(epoch: int, loss: float, accuracy: float) -> Record:
        return Record(epoch, 1.0, 1.0, loss, accuracy, 0.1, 1.0)

    position = Progress(log=[record(1, 0.5, 0.8), record(2, 0.4, 0.9), record(3, 0.3, 0.9), record(4, 0.3, 0.9)])
    assert position.best is position.log[2]
    assert Progress(log=[Record(1, 1.0, 1.0, None, None, 0.1, 1.0)]).best is None


# ---- the digits ------------------------------------------------------------------------------

digits = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="wants scikit-learn's digits")


@digits
def test_networks_of_other_sizes_do_not_get_the_digits(tmp_path: Path) -> None:
    said = complaint("train", "lenet5", "--data", "digits", "-o", str(tmp_path / "run"))
    assert "lenet5 takes images of 1x32x32, the digits are of 1x8x8" in said


@digits
@pytest.mark.slow
def test_the_digits_are_learnt(tmp_path: Path) -> None:
    few = ["--epochs", "30", "--seed", "0", "--threads", "1", "-o", str(tmp_path / "run"), "--format", "json"]
    told = json.loads(invoke("train", "digits_cnn", "--data", "digits", *few).stdout)
    assert told["images"] == {"training": 1438, "held_out": 359}
    assert told["best"]["val_accuracy"] >= 0.985
    assert told["last"]["val_accuracy"] >= 0.98
