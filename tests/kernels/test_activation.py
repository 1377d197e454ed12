"""Activations in several passes: arrays of many tiles, threads, results in the place of x."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from tests.ops.checks import close
from tinygraph import ops
from tinygraph.kernels import activation, erf
from tinygraph.kernels.elementwise import Passes
from tinygraph.kernels.scratch import allocate

FUNCTIONS = {
    "sigmoid": (activation.sigmoid, 0, ops.sigmoid),
    "leaky_relu": (partial(activation.leaky_relu, slope=0.2), 1, lambda x: ops.leaky_relu(x, 0.2)),
    "elu": (partial(activation.elu, alpha=0.5), 1, lambda x: ops.elu(x, 0.5)),
    "hard_sigmoid": (
        partial(activation.hard_sigmoid, alpha=0.3, beta=0.4),
        0,
        lambda x: ops.hard_sigmoid(x, 0.3, 0.4),
    ),
    "hard_swish": (activation.hard_swish, 1, ops.hard_swish),
    "swish": (partial(activation.swish, alpha=1.5), 1, lambda x: ops.swish(x, 1.5)),
    "mish": (activation.mish, 2, ops.mish),
    "erf": (erf.erf_into, erf.SCRATCH, ops.erf),
    "gelu": (activation.gelu, 1 + erf.SCRATCH, ops.gelu),
    "gelu by tanh": (activation.gelu_by_tanh, 1, lambda x: ops.gelu(x, "tanh")),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_parts_make_the_whole(name: str, workers: int, dtype: Any) -> None:
    passes, scratch, plain = FUNCTIONS[name]
    shape = (5, 3, 101, 120)
    wide = np.random.default_rng(0).standard_normal((*shape[:-1], 240)).astype(dtype) * 6
    x = wide[..., ::2]
    wanted = plain(x.astype(np.float64))
    run = prepared(passes, scratch, x, workers)
    y = np.full(shape, np.nan, dtype)
    run(x, y)
    close([y], [wanted], 1e-6, name)
    packed = x.copy()
    run(packed, packed)
    np.testing.assert_array_equal(packed, y)


def prepared(passes: Callable[..., None], scratch: int, x: Any, workers: int) -> Callable[[Any, Any], None]:
    routine = Passes(passes, x.shape, x.dtype, scratch, workers)
    workspace = allocate(routine.workspace)

    def run(x: Any, y: Any) -> None:
        workspace.fill(0xFF)
        with np.errstate(all="ignore"):
            routine.run(x, y, workspace)

    return run


@pytest.mark.parametrize("name", FUNCTIONS)
def test_corners(name: str) -> None:
    passes, scratch, plain = FUNCTIONS[name]
    x = np.array([0.0, -0.0, np.inf, np.nan, 700.0, -700.0, 90.0, -90.0, 1e-300, 1e300])
    y = np.empty_like(x)
    prepared(passes, scratch, x, 1)(x, y)
    with np.errstate(all="ignore"):
        wanted = plain(x)
    np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-30)
    np.testing.assert_array_equal(np.signbit(y[:2]), np.signbit(wanted[:2]))
