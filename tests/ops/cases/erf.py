"""Rows of ops/erf.py."""

from __future__ import annotations

import numpy as np

from tests.ops.counted import erf
from tests.ops.harness import Case, N, each, fixed, real
from tinygraph.ops.erf import Erf

naive = each(lambda op, x: erf(x))

CASES = [
    Case(Erf(), [real(N, 3, 4)], naive),
    Case(Erf(), [real()], naive, "0-d"),
    Case(Erf(), [real(N, 0)], naive, "empty"),
    Case(Erf(), [fixed([0.0, -0.0, np.inf, -np.inf, np.nan, 1000.0, -1000.0, 1e-30])], naive, "special", smooth=False),
    Case(Erf(), [fixed(np.linspace(-6.5, 6.5, 53))], naive, "everywhere"),
]
