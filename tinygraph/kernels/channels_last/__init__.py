"""Kernels for maps whose channels come last, [N, *spatial, C].

There a block of positions is one piece of memory, as input and as result: it is read, computed and finished while it
is in the cache, and threads share the positions. The weight is brought into its best form beforehand.
"""

from __future__ import annotations

from tinygraph.kernels.channels_last import depthwise
from tinygraph.kernels.channels_last.depthwise import Depthwise
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.channels_last.im2col import Im2col
from tinygraph.kernels.channels_last.winograd import Winograd, pays
from tinygraph.kernels.geometry import Geometry
from tinygraph.kernels.scratch import Array

Routine = Depthwise | Im2col | Winograd


def convolution(g: Geometry, workers: int, weight: Array, epilogue: Epilogue, fast: bool) -> Routine:
    """The routine with which a convolution is done fastest.

    Args:
        g: of float32 or float64.
        workers: threads that it may use.
        weight: [filters, channels / groups, *kernel], which never changes.
        epilogue: what is done to the results.
        fast: also with routines that round more.
    """
    if depthwise.pays(g):
        return Depthwise(g, workers, weight, epilogue)
    tile = pays(g, workers) if fast else 0
    return Winograd(g, workers, weight, tile, epilogue) if tile else Im2col(g, workers, weight, epilogue)
