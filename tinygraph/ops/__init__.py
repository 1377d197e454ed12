"""Every op, one room each (see base.py for the contract), and its public functions."""

# ruff: noqa: F403  # the __all__ of each room says what is public

from tinygraph.ops.argmax import *
from tinygraph.ops.arithmetic import *
from tinygraph.ops.barrier import *
from tinygraph.ops.conv import *
from tinygraph.ops.conv_transpose import *
from tinygraph.ops.count import *
from tinygraph.ops.cumulative import *
from tinygraph.ops.dropout import *
from tinygraph.ops.einsum import *
from tinygraph.ops.elementwise import *
from tinygraph.ops.eye import *
from tinygraph.ops.gather import *
from tinygraph.ops.index import *
from tinygraph.ops.log_sum_exp import *
from tinygraph.ops.lrn import *
from tinygraph.ops.matmul import *
from tinygraph.ops.nonzero import *
from tinygraph.ops.norm import *
from tinygraph.ops.norm_layer import *
from tinygraph.ops.one_hot import *
from tinygraph.ops.pad import *
from tinygraph.ops.pool import *
from tinygraph.ops.pool_adaptive import *
from tinygraph.ops.pool_average import *
from tinygraph.ops.pool_grad import *
from tinygraph.ops.prelu import *
from tinygraph.ops.quantize import *
from tinygraph.ops.quantized_conv import *
from tinygraph.ops.quantized_matmul import *
from tinygraph.ops.reduce import *
from tinygraph.ops.reduce_norm import *
from tinygraph.ops.reduce_prod import *
from tinygraph.ops.reverse import *
from tinygraph.ops.rms_norm import *
from tinygraph.ops.scatter import *
from tinygraph.ops.shape import *
from tinygraph.ops.sign import *
from tinygraph.ops.softmax import *
from tinygraph.ops.space import *
from tinygraph.ops.squared_norm import *
from tinygraph.ops.tile import *
from tinygraph.ops.top_k import *
from tinygraph.ops.triangle import *
from tinygraph.ops.unique import *
