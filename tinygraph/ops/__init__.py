"""Every op, one room each (see base.py for the contract), and its public functions."""

from tinygraph.ops.elementwise import *
