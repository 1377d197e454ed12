"""The prepared kernel of concat: threads share what stands before the axis."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.test_convolution import LAYOUTS, numbers
from tinygraph.ir import TensorType
from tinygraph.ops import index
from tinygraph.ops.index import Concat


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data(), st.integers(1, 3), LAYOUTS)
def test_threads_share_the_copies(shape: list[int], data: Any, workers: int, layout: str) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    xs = []
    for seed, size in enumerate(data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))):
        shape[axis] = size
        xs.append(numbers(tuple(shape), seed, layout))
    op, types = Concat(axis), [TensorType.of(x) for x in xs]
    with patch.object(index, "_WORTH_SHARING", 1):
        prepared = op.lower(types, [None] * len(xs), workers)
    y = np.full(op.infer(*types).dims, np.nan)
    assert prepared is not None
    prepared.run(xs, [y], np.empty(0, np.uint8))
    np.testing.assert_array_equal(y, np.concatenate(xs, axis))
