#!/bin/sh
# Builds the wheel, installs it into a clean environment in a folder of its own, and uses it
# from there: nothing of the checkout is importable. Usage: smoke.sh PYTHON_WITH_BUILD
set -eu
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
source=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$python" -m build --wheel --outdir "$place/dist" "$source" >"$place/build.log" 2>&1 || { cat "$place/build.log"; exit 1; }
"$python" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$place"/dist/*.whl
cd "$place"
"$place/venv/bin/tinygraph" summary lenet5
"$place/venv/bin/tinygraph" summary resnet50 --format json >resnet50.json
"$place/venv/bin/tinygraph" render lenet5 -o lenet5.svg
"$place/venv/bin/tinygraph" render lenet5 --optimized -o lenet5.png
"$place/venv/bin/python" - <<'EOF'
import importlib.resources
import json

import numpy as np

import tinygraph as tg

totals = json.load(open("resnet50.json"))["totals"]
assert (totals["params"], totals["macs"]) == (25_557_032, 4_089_184_256), totals
net = tg.models.create("lenet5", seed=0)
x = np.linspace(-1, 1, 32 * 32, dtype=np.float32).reshape(1, 1, 32, 32)
assert np.allclose(net(x), tg.compile(net, tg.Spec(x.shape), passes="none")(x), atol=1e-5)
for package in ("tinygraph", "tinygraph.passes", "tinygraph.models", "tinygraph.tools"):
    assert importlib.resources.files(package).joinpath("py.typed").is_file(), package
print("the wheel works")
EOF
