"""The error function erf(x) = 2 / sqrt(pi) * integral of e ** -t² over t from 0 to x.

Single precision has one quotient of polynomials, x * P(x²) / Q(x²), fitted to erf(x) / x for the
smallest greatest relative error (5e-8), up to where erf rounds to 1: right to 7 units in the last
place, to 1 on average. Double precision has the two quotients of W. J. Cody 1969, Rational Chebyshev
Approximations for the Error Function: x * A(x²) / B(x²) near 0, 1 - e ** -x² * C(x) / D(x) beyond;
right to 4 units in the last place. All coefficients stand with the highest power first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

SCRATCH = 4  # arrays like x that `erf_into` needs

_SINGLE_END = 3.925  # erf(x) is 1 in single precision from here on
_P = (
    1.9869420493193717e-08,
    -1.9565839304918068e-06,
    1.4217102970209e-04,
    3.719177142288912e-03,
    5.063120372317065e-02,
    2.0036508713029721e-01,
    1.1283791081134795,
)
_Q = (9.599663062706645e-04, 1.4390020380373984e-02, 1.151799591107979e-01, 5.109005666793254e-01, 1.0)

_NEAR = 0.46875
_DOUBLE_END = 6.0  # erf(x) is 1 in double precision from here on
_A = (
    1.85777706184603153e-1,
    3.16112374387056560,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_B = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_C = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
_D = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)


def erf(x: Array) -> Array:
    """erf of each number; half precision is computed in single."""
    wide = x.astype(np.float32) if x.dtype == np.float16 else x
    y = np.empty(wide.shape, wide.dtype)
    erf_into(wide, y, *(np.empty(wide.shape, wide.dtype) for _ in range(SCRATCH)))
    return y.astype(x.dtype, copy=False)


def erf_into(x: Array, y: Array, *scratch: Array) -> None:
    """y = erf(x) in single or double precision, with SCRATCH arrays of its shape and dtype; y may be x."""
    (_single if x.dtype == np.float32 else _double)(x, y, *scratch)


def _single(x: Array, y: Array, square: Array, p: Array, q: Array, _: Array) -> None:
    np.clip(x, -_SINGLE_END, _SINGLE_END, out=y)
    np.multiply(y, y, out=square)
    _polynomial(_P, square, p)
    _polynomial(_Q, square, q)
    np.divide(p, q, out=p)
    np.multiply(y, p, out=y)
    np.clip(y, -1, 1, out=y)  # rounding may have stepped over it


def _double(x: Array, y: Array, size: Array, p: Array, q: Array, near: Array) -> None:
    np.absolute(x, out=size)
    np.minimum(size, _DOUBLE_END, out=size)
    _polynomial(_C, size, p)
    _polynomial(_D, size, q)
    np.divide(p, q, out=p)
    np.multiply(size, size, out=q)
    np.negative(q, out=q)
    np.exp(q, out=q)
    np.multiply(p, q, out=p)
    np.subtract(1, p, out=p)
    is_near = size <= _NEAR
    np.multiply(size, size, out=q)
    _polynomial(_A, q, near)
    np.multiply(near, size, out=near)
    _polynomial(_B, q, size)
    np.divide(near, size, out=near)
    np.copyto(p, near, where=is_near)
    np.copysign(p, x, out=y)


def _polynomial(coefficients: Sequence[float], x: Array, y: Array) -> None:
    """y = the polynomial at x, by Horner's rule."""
    first, second, *rest = coefficients
    np.multiply(x, first, out=y)
    np.add(y, second, out=y)
    for c in rest:
        np.multiply(y, x, out=y)
        np.add(y, c, out=y)
