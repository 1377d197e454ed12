"""MODEL, --input-size and --batch-size."""

from __future__ import annotations

from pathlib import Path

import pytest

import tinygraph
from tests.tools import nets
from tests.tools.command import NETS, complaint, invoke
from tinygraph.errors import ModelFormatError, UsageError
from tinygraph.tools.model_arg import find


def shapes(model: str, *sizes: str, batch: int | None = None) -> list[str]:
    return [str(v.type) for v in find(model).trace(sizes, batch).inputs]


def test_a_built_in_network_takes_arguments() -> None:
    graph = find("lenet5:num_classes=7,seed=3").trace()
    assert graph.outputs[0][1].type.shape == (1, 7)
    assert str(graph) != str(find("lenet5:num_classes=7,seed=4").trace())


@pytest.mark.parametrize("text", ["1,3,64,32", "1x3x64x32", "x:1,3,64,32", "x:1x3x64x32"])
def test_sizes_are_written_in_two_ways(text: str) -> None:
    assert shapes("resnet18", text) == ["f32[1,3,64,32]"]


def test_the_batch_replaces_the_first_dimension() -> None:
    assert shapes("resnet18", batch=5) == ["f32[5,3,224,224]"]
    assert shapes("resnet18", "2,3,64,64", batch=5) == ["f32[5,3,64,64]"]
    assert shapes(NETS + "open_sizes", "2,3,64,64", batch=5) == ["f32[5,3,64,64]"]


def test_open_dimensions_take_numbers_and_fixed_ones_do_not() -> None:
    assert shapes(NETS + "open_batch") == ["f32[N,3,8,8]"]
    assert shapes(NETS + "open_batch", batch=4) == ["f32[4,3,8,8]"]
    assert shapes(NETS + "open_batch", "4,3,8,8") == ["f32[4,3,8,8]"]
    with pytest.raises(UsageError, match="is Nx3x8x8 in the file, 9 in the place of 8"):
        shapes(NETS + "open_batch", "4,3,8,9")


def test_sizes_go_to_inputs_by_name_and_in_order() -> None:
    made = find(NETS + "tiny").trace(["1,3,8,8"])
    assert [v.name for v in made.inputs] == ["x"]
    assert shapes(NETS + "two_inputs", "b:2,3", "2x3") == ["f32[2,3]", "f32[2,3]"]
    with pytest.raises(UsageError, match=r"given 3 times, the model has 2 input"):
        shapes(NETS + "two_inputs", "2,3", "2,3", "2,3")
    with pytest.raises(UsageError, match=r"no input 'c'; the inputs are a, b"):
        shapes(NETS + "two_inputs", "c:2,3")


def test_an_onnx_file_is_a_model(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    tinygraph.save(nets.open_batch(), path)
    assert shapes(str(path), batch=2) == ["f32[2,3,8,8]"]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ModelFormatError, match=r"tiny\.onnx"):
        find(str(path))


def test_a_module_in_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_net_of_today.py").write_text("from tests.tools.nets import tiny as make\n")
    monkeypatch.chdir(tmp_path)
    assert find("my_net_of_today:make").module is not None


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("resnet5O", "close are resnet50"),
        ("qqqq", "`tinygraph models` lists them"),
        ("resnet50.pt", "there is no model 'resnet50.pt'; close are resnet50"),
        ("README.md", "a file must end in .onnx"),
        ("", "there is no model ''"),
        ("nothing/at/all.onnx", "No such file"),
        ("resnet5O:make", "no model and no Python module 'resnet5O'; close are"),
        ("tests.tools.nope:make", "no model and no Python module"),
        ("tests.nope.nets:make", "no model and no Python module"),
        (NETS + "nothing", "has no attribute 'nothing'"),
        (NETS + "fails", "failed: KeyError: 'weights'"),
        (NETS + "number", "returned a int; it must return"),
        ("lenet5:num_classes", "cannot read the arguments 'num_classes'"),
        ("lenet5:3", "cannot read the arguments"),
        ("lenet5:num_classes=__import__('os')", "cannot read the arguments"),
        ("lenet5:size=3", "takes no size; it takes num_classes"),
        ("lenet5:num_classes=many", "lenet5:num_classes=many"),
    ],
)
def test_an_unknown_model_is_one_line(model: str, said: str) -> None:
    assert said in complaint("summary", model)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--input-size", "1,3,x"), "is not a size"),
        (("--input-size", "1,3,-5,2"), "is not a size"),
        (("--input-size", "٣,3,224,224"), "is not a size"),
        (("--input-size", ""), "is not a size"),
        (("--input-size", "1,3,224"), "1x3x224 does not fit the input x, which is 1x3x224x224"),
        (("--input-size", "y:1,3,224,224"), "there is no input 'y'; the inputs are x"),
        (("--input-size", "1,4,224,224"), "conv at conv1"),
        (("-b", "0"), "--batch-size"),
    ],
)
def test_a_wrong_size_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    assert said in complaint("summary", "resnet18", *arguments)


def test_a_network_of_ones_own_needs_sizes() -> None:
    assert "give --input-size, such as 1,3,224,224" in complaint("summary", NETS + "tiny")
    assert "give --input-size" in complaint("summary", NETS + "open_sizes")
    invoke("summary", NETS + "tiny", "--input-size", "1,3,8,8")
