"""Every op, one room each (see base.py for the contract), and its public functions."""

from tinygraph.ops.elementwise import *
from tinygraph.ops.conv import *
from tinygraph.ops.conv_transpose import *
from tinygraph.ops.matmul import *
