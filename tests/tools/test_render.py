"""Pictures: DOT, and what Graphviz makes of it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import PIL.Image
import pytest

import tinygraph
from tests.tools import nets
from tests.tools.command import NETS, complaint, invoke
from tinygraph.build import Builder
from tinygraph.errors import UsageError
from tinygraph.ir import Graph, TensorType, Where
from tinygraph.ops.elementwise import Relu
from tinygraph.ops.index import Concat
from tinygraph.tools import layout
from tinygraph.tools.boxes import boxes
from tinygraph.tools.caption import caption
from tinygraph.tools.dot import dot
from tinygraph.tools.output import printable

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: bytes) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def built_in(name: str) -> Graph:
    return tinygraph.trace(tinygraph.models.create(name), *tinygraph.models.inputs(name))


@pytest.fixture
def without_dot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without Graphviz and without fonts."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FONTCONFIG_FILE", "/dev/null")


@pytest.fixture(scope="module")
def lenet() -> Graph:
    return built_in("lenet5")


def test_a_box_tells_op_attributes_and_shape(lenet: Graph) -> None:
    found, arrows = boxes(lenet, None)
    told = [(box.title, box.detail) for box in found]
    assert told[0] == ("x", "float32 1x1x32x32")
    assert ("conv 5x5", "1x6x28x28") in told
    assert ("avg_pool 2x2 s2", "1x6x14x14") in told
    assert told[-1] == ("output", "float32 1x10")
    assert len(arrows) == len(found) - 1  # a chain; no weights


@pytest.mark.parametrize(
    ("model", "captions"),
    [
        ("resnet50", {"conv 7x7 s2 p3", "max_pool 3x3 s2 p1", "batch_norm", "add", "conv 1x1 s2"}),
        ("alexnet_2012", {"conv 5x5 p2 g2", "lrn size=5 alpha=0.0005 k=2.0"}),
    ],
)
def test_captions(model: str, captions: set[str]) -> None:
    graph = built_in(model)
    found = {caption(node, graph) for node in graph.nodes}
    assert captions <= found


def test_a_scalar_constant_is_told() -> None:
    graph = nets.double()
    assert [caption(node, graph) for node in graph.nodes] == ["mul 2"]


def test_depth_joins_the_ops_of_a_module() -> None:
    graph = built_in("resnet18")
    found, arrows = boxes(graph, 1)
    modules = {box.title: box.detail for box in found if box.kind == "module"}
    assert list(modules) == ["layer1", "layer2", "layer3", "layer4"]
    assert modules["layer4"].endswith(" ops, 1x512x7x7")
    assert len(arrows) == len(found) - 1
    blocks, _ = boxes(graph, 2)
    assert [box.title for box in blocks if box.kind == "module"][:2] == ["layer1.0", "layer1.1"]
    assert len(boxes(graph, 9)[0]) == len(boxes(graph, None)[0])


def test_a_module_called_twice_is_two_boxes() -> None:
    build = Builder()
    x = build.input("x", TensorType((1, 3)))
    for path in ("m.a", "m.b", "", "m.a", "m.b"):
        (x,) = build.emit(Relu(), [x], where=Where(path))
    found, arrows = boxes(build.finish([("y", x)]), 1)
    assert [(box.kind, box.title) for box in found[1:-1]] == [("module", "m"), ("op", "relu"), ("module", "m")]
    assert [(found.index(a), found.index(b)) for a, b in arrows] == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_inputs_that_are_outputs_and_weights_that_are_outputs_are_drawn() -> None:
    build = Builder()
    x = build.input("x", TensorType((1, 3)))
    graph = build.finish([("same", x), ("weight", build.const([1.0, 2.0], "w"))])
    found, arrows = boxes(graph, None)
    assert [box.title for box in found] == ["x", "same", "w", "weight"]
    assert len(arrows) == 2


def test_dot_depends_on_the_graph_alone() -> None:
    assert dot(built_in("resnet18")) == dot(built_in("resnet18"))
    assert dot(tinygraph.parse(str(nets.two_inputs()))) == dot(nets.two_inputs())


def test_dot_is_well_formed_and_nested() -> None:
    graph = built_in("resnet18")
    read = layout.lay_out(dot(graph))
    found, arrows = boxes(graph, None)
    objects = read["objects"]
    assert {o["name"] for o in objects if "nodes" not in o} == {f"n{i}" for i in range(len(found))}
    assert len(read["edges"]) == len(arrows)
    layer = next(o for o in objects if o["label"] == "layer2")
    assert "layer2.0" in [objects[i]["label"] for i in layer["subgraphs"]]


def test_svg_shows_every_name_exactly(without_dot: None) -> None:
    svg = layout.draw(dot(nets.hostile()), "svg")
    shown = set(texts(svg))
    for name in nets.HOSTILE:
        text = printable(name)
        assert (text if len(text) <= 60 else text[:58] + "..") in shown
    root = ET.fromstring(svg)
    titles = {element.text for element in root.iter(f"{SVG}title")}
    assert all((title or "").startswith(("n", "cluster", "G")) for title in titles)
    assert not list(root.iter(f"{SVG}script"))
    assert b"javascript" not in svg


def test_png_shows_the_names_that_svg_shows() -> None:
    source = dot(nets.hostile())
    objects = layout.lay_out(source)["objects"]
    shown = [operation["text"] for o in objects for operation in o["_ldraw_"] if operation["op"] == "T"]
    assert sorted(shown) == sorted(texts(layout.draw(source, "svg")))


def test_every_format_without_graphviz_or_fonts(without_dot: None, lenet: Graph, tmp_path: Path) -> None:
    for suffix, start in (
        (".svg", b"<?xml"),
        (".png", b"\x89PNG"),
        (".pdf", b"%PDF"),
        (".html", b"<!DOCTYPE html>"),
        (".dot", b"digraph"),
    ):
        path = tmp_path / f"net{suffix}"
        tinygraph.render(lenet, path)
        assert path.read_bytes().startswith(start)
    with PIL.Image.open(tmp_path / "net.png") as image:
        assert image.height > image.width > 100
    with PIL.Image.open(tmp_path / "net.png") as image:
        dark = sum(image.convert("L").histogram()[:64])
    assert dark > 1000  # letters are the only thing drawn in black


def test_a_page_holds_the_same_picture(lenet: Graph) -> None:
    page, svg = layout.draw(dot(lenet), "html"), layout.draw(dot(lenet), "svg")
    assert svg[svg.index(b"<svg") :].strip() in page
    assert b"http" not in page.replace(b"http://www.w3.org/", b"")  # it loads nothing


def test_letters_have_their_shapes_without_fonts(without_dot: None) -> None:
    def ink(letter: str) -> int:
        png = layout.draw(f'digraph {{ a [shape=plain fontname="Arial" label="{letter * 40}"] }}', "png")
        with PIL.Image.open(io.BytesIO(png)) as image:
            return sum(image.convert("L").histogram()[:128])

    assert 0 < ink("i") * 2 < ink("M")  # a box in the place of a missing letter takes as much as any other


def test_the_machines_fonts_do_not_matter(lenet: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    here = layout.draw(dot(lenet), "png")
    monkeypatch.setenv("FONTCONFIG_FILE", "/dev/null")
    assert layout.draw(dot(lenet), "png") == here


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the libraries have other names")
def test_layout_needs_none_of_the_libraries_that_a_bare_machine_lacks(lenet: Graph) -> None:
    code = f"""if True:
        import importlib.util, sys
        from pathlib import Path
        from tinygraph.tools.graphviz_worker import draw_with_libraries
        folder = Path(importlib.util.find_spec("pygraphviz").origin).parents[1] / "pygraphviz.libs"
        assert draw_with_libraries({dot(lenet)!r}.encode(), "svg", folder).startswith(b"<?xml")
        print(*{{line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}})
    """
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "libgvc" in loaded
    assert not [name for name in ("glib", "gobject", "X11", "pango", "cairo") if name in loaded]


def fake_dot(folder: Path, script: str) -> None:
    program = folder / "dot"
    program.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    program.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="writes a script")
def test_dot_on_the_path_comes_first(lenet: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_dot(tmp_path, "sys.stdin.read(); print('drawn by', *sys.argv[1:])")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert layout.draw(dot(lenet), "svg") == b"drawn by -Tsvg\n"


@pytest.mark.skipif(os.name != "posix", reason="writes a script")
def test_a_broken_dot_on_the_path_does_no_harm(lenet: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_dot(tmp_path, "sys.exit(1)")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert texts(layout.draw(dot(lenet), "svg"))[0]


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(UsageError, match="Graphviz could not draw this"):
        layout.draw("digraph {", "svg")


def test_a_large_png_is_drawn_more_coarsely(monkeypatch: pytest.MonkeyPatch, lenet: Graph, tmp_path: Path) -> None:
    monkeypatch.setattr("tinygraph.tools.paint._MAX_SIDE", 500)
    with pytest.warns(UserWarning, match="dots an inch"):
        tinygraph.render(lenet, tmp_path / "net.png")
    with PIL.Image.open(tmp_path / "net.png") as image:
        assert 400 < image.height <= 520


def test_a_large_network_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "net.svg"
    tinygraph.render(built_in("resnet152"), path)
    assert texts(path.read_bytes()).count("conv 3x3 p1") == 47


def dense(layers: int) -> Graph:
    """Layers in frames of their own, each of which reads all before it."""
    build = Builder()
    made = [build.input("x", TensorType((1, 3)))]
    for i in range(layers):
        (y,) = build.emit(Concat(1), made, where=Where(f"block.layer{i}.concat"))
        for part in "abcd":
            (y,) = build.emit(Relu(), [y], where=Where(f"block.layer{i}.{part}"))
        made.append(y)
    return build.finish([("y", made[-1])])


def test_no_box_stands_above_what_it_reads() -> None:
    read = layout.lay_out(dot(dense(24)))
    height = {o["_gvid"]: float(o["pos"].partition(",")[2]) for o in read["objects"] if "pos" in o}
    assert all(height[arrow["tail"]] > height[arrow["head"]] for arrow in read["edges"])


def test_what_is_too_dense_for_a_good_layout_is_told() -> None:
    with pytest.warns(UserWarning, match="laid out roughly; a depth gives a clearer picture"):
        dot(dense(60))


def test_a_picture_of_too_much_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tinygraph.tools.render._MOST_BOXES", 10)
    with pytest.raises(UsageError, match="too many to lay out"):
        tinygraph.render(built_in("resnet18"), tmp_path / "net.svg")
    tinygraph.render(built_in("resnet18"), tmp_path / "net.dot")


def test_the_command_draws(tmp_path: Path) -> None:
    plain, optimized = tmp_path / "plain.svg", tmp_path / "optimized.svg"
    assert invoke("render", "resnet18", "-o", str(plain)).stdout == ""
    assert invoke("render", "resnet18", "--optimized", "-o", str(optimized), "--quiet").stderr == ""
    assert "batch_norm" in texts(plain.read_bytes())
    assert "batch_norm" not in texts(optimized.read_bytes())
    invoke("render", NETS + "open_sizes", "--depth", "1", "-o", str(tmp_path / "open.dot"))
    assert "Nx3xHxW" in (tmp_path / "open.dot").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lenet5", "-o", "net.bmp"), "no picture has the suffix '.bmp'; use .dot, .svg, .png, .pdf, .html"),
        (("lenet5", "-o", "net"), "no picture has the suffix"),
        (("lenet5", "-o", "no/such/folder/net.svg"), "No such file or directory"),
        (("lenet5",), "Missing option '-o'"),
        (("lenet5", "-o", "net.svg", "--depth", "0"), "--depth"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    assert said in complaint("render", *arguments)


def test_drawing_imports_no_layout_library() -> None:
    code = "import sys, tinygraph; tinygraph.render; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pygraphviz", "PIL", "onnx", "networkx"} & set(loaded)
