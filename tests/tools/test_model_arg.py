"""MODEL, --input-size and --batch-size."""

from __future__ import annotations

import json
import os
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


@pytest.mark.parametrize("text", ["1,3,64,32", "1x3x64x32", "1X3X64X32", "1, 3, 64, 32", "x:1,3,64,32", "x:1x3x64x32"])
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
    both = ["f32[1,3,8,8]", "f32[1,1,8,8]"]
    for sizes in (
        ["1,3,8,8", "1,1,8,8"],
        ["mask:1,1,8,8", "image:1,3,8,8"],
        ["image:1,3,8,8", "1,1,8,8"],
        ["mask:1,1,8,8", "1,3,8,8"],
    ):
        assert shapes(NETS + "Masked", *sizes) == both
    assert shapes(NETS + "Masked", "1,3,8,8", "1,1,8,8", "1") == [*both, "f32[1]"]
    assert shapes(NETS + "Stacked", "1,3,8,8", "b:1,1,8,8") == both
    for given, said in (
        ([], "of the input image, mask: give --input-size, such as image:1,3,224,224"),
        (["1,3,8,8"], "of the input mask"),
        (["image:1,3,8,8", "scale:1"], "of the input mask"),
        (["1,3,8,8", "msk:1,1,8,8"], "no input 'msk'; the inputs are image, mask, scale"),
        (["1", "1", "1", "1"], "given 4 times, the model has 3"),
    ):
        with pytest.raises(UsageError, match=said):
            shapes(NETS + "Masked", *given)
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


@pytest.mark.parametrize("name", ["tiny", "Tiny", "TINY"])
def test_a_function_a_class_and_a_network_are_models(name: str) -> None:
    assert shapes(NETS + name, "1,3,8,8") == ["f32[1,3,8,8]"]


def test_what_a_network_prints_is_no_data() -> None:
    result = invoke("summary", NETS + "Loud", "--input-size", "1,3,8,8", "--format", "json")
    assert json.loads(result.stdout)["schema"] == 1
    assert result.stderr.splitlines() == ["made", "called"]


def test_a_network_that_fails_is_no_bug_of_tinygraph() -> None:
    said = complaint("summary", NETS + "Broken", "--input-size", "1,3,8,8")
    assert "tests.tools.nets:Broken failed: AttributeError: Broken has no attribute 'fc' (tools/nets.py:" in said
    assert "failed: RecursionError" in complaint("summary", NETS + "Endless", "--input-size", "1,3,8,8")


def test_a_module_that_lacks_another_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more").mkdir()
    (tmp_path / "needs_more" / "__init__.py").write_text("import no_such_thing\n")
    monkeypatch.chdir(tmp_path)
    for module in ("needs_more", "needs_more.net"):
        assert "failed: ModuleNotFoundError: No module named 'no_such_thing'" in complaint("summary", f"{module}:make")
    (tmp_path / "typo.py").write_text("def f(:\n")
    assert complaint("summary", "typo:f").endswith("SyntaxError: invalid syntax (typo.py, line 1)\n")


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a folder in use stays")
def test_a_folder_that_is_gone_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "no Python module" in complaint("summary", "no_such_net:make")


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
        ("lenet5:num_classes=many", "num_classes is 'many'"),
        ("lenet5:num_classes=3,num_classes=4", "cannot read the arguments"),
        ("lenet5:num_classes=3)#", "cannot read the arguments"),
        ("lenet5:num_classes=3) + f(", "cannot read the arguments"),
        ("lenet5:name=vgg16", "got multiple values"),
        ("VGG16", "close are vgg16"),
        ("tests/tools/nets:tiny", "what nets.py makes is written nets:function, in its folder"),
        ("tests/tools/nets.py", "what nets.py makes is written nets:function"),
        ("q" * 300, "`tinygraph models` lists them"),
        (NETS + "number.real", "there is no model"),
        (NETS + "HOSTILE", "'tuple' object is not callable"),
        (NETS + "leaves", "failed: SystemExit: 0 (tools/nets.py:"),
        (NETS + "talks", "failed: RuntimeError: one two xxx"),
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
        (("--input-size", "0,3,224,224"), "is not a size"),
        (("--input-size", "x:1,3,8,8", "--input-size", "x:1,3,9,9"), "is given 2 times for the input x"),
        (("--input-size", "x:1,3,8,8", "--input-size", "1,3,9,9"), "is given 2 times, the model has 1 input"),
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
