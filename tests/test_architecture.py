"""The house keeps its shape: who may import whom, what `import tinygraph` loads, what is documented."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tinygraph
from tinygraph.ops.base import OPS

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("tinygraph", "passes", "models", "tools")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

# What each package of tinygraph may import of the others.
ALLOWED = {
    "tinygraph": (),
    "passes": ("tinygraph",),
    "models": ("tinygraph",),
    "tools": ("tinygraph", "passes", "models"),
}


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which layer is meant"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def package(module: str) -> str | None:
    """The folder that a module of ours lives in; None for other people's."""
    parts = module.split(".")
    if parts[0] != "tinygraph":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else "tinygraph"


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_imports_go_one_way(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    layers = {package(module) for module in imports(path)} - {None, own}
    assert layers <= set(ALLOWED[own])


def test_only_config_reads_the_environment() -> None:
    readers = {relative(p) for p in SOURCES if re.search(r"os\.environ|getenv", p.read_text())}
    assert readers <= {"tinygraph/config.py"}


def test_kernels_know_no_ir() -> None:
    for path in (ROOT / "tinygraph/kernels").rglob("*.py"):
        others = {m for m in imports(path) if m.startswith("tinygraph.") and not m.startswith("tinygraph.kernels")}
        assert others <= {"tinygraph.config", "tinygraph.errors", "tinygraph.errors.ShapeError"}, path


def test_autodiff_knows_no_op_by_name() -> None:
    text = (ROOT / "tinygraph/autodiff.py").read_text()
    strings = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    assert not strings & set(OPS)


def test_no_room_is_a_lumber_room() -> None:
    vague = {"util", "utils", "helper", "helpers", "common", "misc", "core"}
    assert not [relative(p) for p in SOURCES if vague & set(p.relative_to(ROOT).with_suffix("").parts)]


def test_importing_tinygraph_loads_numpy_and_nothing_heavy() -> None:
    code = "import sys, tinygraph; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(found.stdout.split())
    heavy = {"onnx", "rich", "click", "PIL", "networkx", "graphviz", "pygraphviz", "safetensors", "threadpoolctl"}
    assert "numpy" in loaded
    assert not loaded & heavy


def modules() -> list[str]:
    names = ["tinygraph"]
    for name in ("tinygraph", "tinygraph.passes", "tinygraph.models", "tinygraph.tools"):
        found = importlib.import_module(name)
        names += [m.name for m in pkgutil.walk_packages(found.__path__, name + ".")]
    with_torch = {
        f"tinygraph.tools.{name}" for name in ("goldens", "goldens_exports", "torch_exports", "torch_networks")
    }
    return sorted(set(names) - with_torch - {"tinygraph.__main__"})


@pytest.mark.parametrize("name", modules())
def test_public_names_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    undocumented = [] if module.__doc__ else [name]
    for label, thing in vars(module).items():
        if label.startswith("_") or getattr(thing, "__module__", None) != name:
            continue
        if (inspect.isfunction(thing) or inspect.isclass(thing)) and not inspect.getdoc(thing):
            undocumented.append(label)
    assert not undocumented


def test_every_lazy_name_resolves() -> None:
    for name in tinygraph.__all__:
        assert getattr(tinygraph, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = tinygraph.nonsense


def test_the_project_speaks_of_itself_alone() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.split():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".csv", ".sh"} and path != Path(__file__).resolve():
            assert not re.search(r"\.\./shared|/work/|/root/|\bshared/", path.read_text()), name
