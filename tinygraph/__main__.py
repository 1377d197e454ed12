"""`python -m tinygraph` is the command `tinygraph`."""

import importlib

importlib.import_module("tinygraph.tools.cli").main(prog_name="tinygraph")
