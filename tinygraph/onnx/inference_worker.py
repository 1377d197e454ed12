"""Has onnx infer the types of a model's values: `python -P inference_worker.py < MODEL > RESULT`.

A program of its own: there are files on which the inference of onnx ends the process that it runs in.
"""

from __future__ import annotations

import sys

import onnx


def main() -> None:
    """Writes the same model with the types that were found, and without weights."""
    model = onnx.ModelProto.FromString(sys.stdin.buffer.read())
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = onnx.GraphProto(value_info=graph.value_info, output=graph.output)
    sys.stdout.buffer.write(found.SerializeToString())


if __name__ == "__main__":
    main()
