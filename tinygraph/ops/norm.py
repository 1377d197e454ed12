"""Batch normalization: in inference, in training, and the gradient of the latter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from tinygraph.errors import ShapeError
from tinygraph.ir import Array, TensorType
from tinygraph.kernels.batch_norm import BatchNormBackward, BatchNormForward
from tinygraph.kernels.blocks import blocks
from tinygraph.kernels.channels_last.channelwise import Channelwise
from tinygraph.kernels.channels_last.epilogue import Epilogue
from tinygraph.kernels.channels_last.program import Program
from tinygraph.ops.base import (
    Exporter,
    Op,
    Precision,
    Prepared,
    Tensor,
    Types,
    apply,
    floating,
    from_onnx,
    gradient_not_in_onnx,
    no_macs,
    not_in_onnx,
    register,
    type_of,
)
from tinygraph.ops.count import count
from tinygraph.ops.elementwise import cast, sqrt
from tinygraph.ops.reduce import Mean, sum
from tinygraph.ops.shape import reshape

__all__ = ["batch_norm", "batch_norm_train"]

_NEAR = 4  # deviations: a mean this near to 0 costs x scale + shift less than three bits

Run = Callable[[Sequence[Array], Sequence[Array], Array], None]


def check_channels(x: TensorType, *vectors: TensorType) -> None:
    """ShapeError unless x is [N, C, *] and the vectors are [C], all of one floating dtype."""
    floating(x, *vectors)
    if x.ndim < 2:
        raise ShapeError(f"wants [N, C, ...], got {x}")
    for vector in vectors:
        if vector.shape != x.shape[1:2]:
            raise ShapeError(f"{vector} does not fit the {x.shape[1]} channels of {x}; want [{x.shape[1]}]")


def per_channel(vector: Tensor, ndim: int) -> Tensor:
    """[C] as [C, 1, ...], so that it broadcasts along axis 1 of `ndim` axes."""
    return vector.reshape((-1,) + (1,) * (ndim - 2))


def all_but_channels(ndim: int) -> tuple[int, ...]:
    """Every axis but axis 1."""
    return (0, *range(2, ndim))


def channelwise(x: TensorType, steps: Sequence[tuple[np.ufunc, Array]]) -> Run:
    """A prepared kernel: one ufunc after the other with a vector [C], a block of x at a time."""
    vectors = [(ufunc, per_channel(vector.astype(x.dtype), x.ndim)) for ufunc, vector in steps]
    (first, operand), *rest = vectors
    n, c, *sizes = x.dims
    plan = list(blocks(n, c, prod(sizes) * x.dtype.itemsize))

    def run(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> None:
        for block in plan:
            channels = block[1]
            y = outputs[0][block]
            first(inputs[0][block], operand[channels], out=y)
            for ufunc, vector in rest:
                ufunc(y, vector[channels], out=y)

    return run


@register
class BatchNorm(Op):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta, per channel, with given statistics.

    Inputs: x [N, C, *], and gamma, beta, mean, var [C]. Preparing scale and shift of each channel
    is not counted: it is done once for constant statistics.
    """

    name = "batch_norm"
    onnx = ("BatchNormalization",)
    arity = (5, 5)
    macs = no_macs
    finishes = True
    eps: float = 1e-5

    def infer(
        self, x: TensorType, gamma: TensorType, beta: TensorType, mean: TensorType, var: TensorType
    ) -> TensorType:
        check_channels(x, gamma, beta, mean, var)
        return x

    def flops(self, inputs: Types, outputs: Types) -> int:
        """2 per output element: scale and shift."""
        return 2 * outputs[0].size

    def kernel(self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array) -> Array:
        scale = gamma / np.sqrt(var + self.eps)
        y: Array = (x - per_channel(mean, x.ndim)) * per_channel(scale, x.ndim) + per_channel(beta, x.ndim)
        return y

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        steps = self._steps(constants)
        if steps is None:
            return None
        return Prepared(channelwise(types[0], steps), 0, _algorithm(steps))

    def _steps(self, constants: Sequence[Array | None]) -> list[tuple[np.ufunc, Array]] | None:
        """Ufuncs and vectors that normalize x, if the statistics never change."""
        statistics = [c.astype(np.float64) for c in constants[1:] if c is not None]
        if len(statistics) < 4:
            return None
        gamma, beta, mean, var = statistics
        with np.errstate(all="ignore"):
            deviation = np.sqrt(var + self.eps)
            scale = gamma / deviation
        # x scale + (beta - mean scale) saves a step, but loses all digits where the mean is a
        # thousand and the deviation a millionth: the two products cancel.
        if (np.abs(mean) <= _NEAR * deviation).all():
            return [(np.multiply, scale), (np.add, beta - mean * scale)]
        return [(np.subtract, mean), (np.multiply, scale), (np.add, beta)]

    def fits_channels_last(self, types: Types, constants: Sequence[Array | None]) -> bool:
        return types[0].ndim > 2 and types[0].size > 0 and all(c is not None for c in constants[1:])

    def lower_channels_last(
        self,
        types: Types,
        constants: Sequence[Array | None],
        workers: int,
        precision: Precision,
        epilogue: Epilogue,
    ) -> Prepared:
        (x, *_), steps = types, self._steps(constants)
        assert steps is not None
        routine = Channelwise(x.dims, steps, x.dtype, workers, epilogue)

        def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array) -> Program:
            return routine.program(inputs[0], inputs[-1] if epilogue.residual else None, outputs[0])

        algorithm = _algorithm(steps) + epilogue.suffix
        return Prepared.bound(bind, 0, algorithm, held=routine.held, reads_slices=True)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        x, gamma, _, mean, var = inputs
        (g,) = cotangents
        axes = all_but_channels(x.ndim)
        inverse = 1 / sqrt(var + self.eps)
        scale = gamma * inverse
        dbeta = sum(g, axes)
        moment = sum(g * (x - per_channel(mean, x.ndim)), axes)
        dvar = moment * scale * inverse * inverse * -0.5
        return [g * per_channel(scale, x.ndim), moment * inverse, dbeta, -(dbeta * scale), dvar]

    def to_onnx(self, export: Exporter, inputs: Any, types: Types) -> Any:
        return export.node("BatchNormalization", inputs, epsilon=self.eps)


def _algorithm(steps: Sequence[Any]) -> str:
    return "scale_shift" if len(steps) == 2 else "center_scale_shift"


@register
class BatchNormTrain(Op):
    """y = (x - mean) / sqrt(var + eps) * gamma + beta, with the batch's own mean and variance.

    Inputs: x [N, C, *], gamma and beta [C]. Outputs: y like x, mean [C], and the biased variance
    [C], the mean of (x - mean)^2: both over all axes but 1.
    """

    name = "batch_norm_train"
    labels = ("y", "mean", "var")
    arity = (3, 3)
    macs = no_macs
    to_onnx = not_in_onnx("its BatchNormalization gives no statistics of the batch itself; save an inference graph")
    eps: float = 1e-5

    def infer(self, x: TensorType, gamma: TensorType, beta: TensorType) -> tuple[TensorType, ...]:
        check_channels(x, gamma, beta)
        if 0 in x.shape:
            raise ShapeError(f"there is nothing to average in {x}")
        if all(x.shape[axis] == 1 for axis in all_but_channels(x.ndim)):
            raise ShapeError(f"training wants more than one value per channel, got {x}")
        return x, gamma, gamma

    def flops(self, inputs: Types, outputs: Types) -> int:
        """6 per input element (two means, centre, square, scale, shift) and 3 per channel (gamma / sqrt(var + eps))."""
        return 6 * inputs[0].size + 3 * inputs[1].size

    def kernel(self, *inputs: Array) -> tuple[Array, ...]:
        x, gamma, beta = map(widened, inputs)
        axes = all_but_channels(x.ndim)
        mean = x.mean(axes)
        centred = x - per_channel(mean, x.ndim)
        var = (centred * centred).mean(axes)
        scale = gamma / np.sqrt(var + self.eps)
        y = centred * per_channel(scale, x.ndim) + per_channel(beta, x.ndim)
        return narrowed(inputs[0].dtype, y, mean, var)

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        return by_channels(BatchNormForward, types[0], self.eps, workers)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        (x, gamma, _), (_, mean, var) = inputs, outputs
        gy, gmean, gvar = cotangents
        axes = all_but_channels(x.ndim)
        dx, dgamma, dbeta = None, None, None
        if gy is not None:
            dx, dgamma, dbeta = apply(BatchNormTrainGrad(self.eps), x, gamma, mean, var, gy)
        if gmean is not None:
            dx = _sum(dx, _spread(gmean, x, axes))
        if gvar is not None:
            dx = _sum(dx, _spread(gvar, x, axes) * (x - per_channel(mean, x.ndim)) * 2)
        return [dx, dgamma, dbeta]


@register
class BatchNormTrainGrad(Op):
    """What a cotangent gy of the y of batch_norm_train gives x, gamma and beta.

    With h = (x - mean) / sqrt(var + eps), and means and sums over all axes but 1:
    dx = (gy - mean(gy) - h mean(gy h)) gamma / sqrt(var + eps), dgamma = sum(gy h), dbeta = sum(gy).

    Inputs: x [N, C, *]; gamma, mean and var [C]; gy like x. Outputs: dx like x, dgamma and dbeta [C].
    """

    name = "batch_norm_train_grad"
    labels = ("dx", "dgamma", "dbeta")
    arity = (5, 5)
    macs = no_macs
    to_onnx = gradient_not_in_onnx
    eps: float = 1e-5

    def infer(
        self, x: TensorType, gamma: TensorType, mean: TensorType, var: TensorType, gy: TensorType
    ) -> tuple[TensorType, ...]:
        check_channels(x, gamma, mean, var)
        if gy != x:
            raise ShapeError(f"y is {x}, its cotangent is {gy}")
        return x, gamma, gamma

    def flops(self, inputs: Types, outputs: Types) -> int:
        """8 per input element (centre, two sums, product, and 4 of dx) and 7 per channel."""
        return 8 * inputs[0].size + 7 * inputs[1].size

    def kernel(self, *inputs: Array) -> tuple[Array, ...]:
        x, gamma, mean, var, gy = map(widened, inputs)
        ndim, axes = x.ndim, all_but_channels(x.ndim)
        count = x.size // max(1, x.shape[1])
        centred = x - per_channel(mean, ndim)
        inverse = 1 / np.sqrt(var + self.eps)
        total, moment = gy.sum(axes), (gy * centred).sum(axes)
        slope = moment * inverse * inverse / count
        dx = gy - per_channel(total / count, ndim) - centred * per_channel(slope, ndim)
        return narrowed(inputs[0].dtype, dx * per_channel(gamma * inverse, ndim), moment * inverse, total)

    def lower(self, types: Types, constants: Sequence[Array | None], workers: int) -> Prepared | None:
        return by_channels(BatchNormBackward, types[0], self.eps, workers)

    def vjp(self, inputs: Any, outputs: Any, cotangents: Any) -> Any:
        from tinygraph.transforms import vjp  # which knows every op

        asked = [i for i, cotangent in enumerate(cotangents) if cotangent is not None]
        _, pull = vjp(lambda *given: tuple(self._formula(*given)[i] for i in asked), *inputs)
        return pull(tuple(cotangents[i] for i in asked))

    def _formula(self, x: Tensor, gamma: Tensor, mean: Tensor, var: Tensor, gy: Tensor) -> tuple[Tensor, ...]:
        """The same in ops that have gradients of their own."""
        ndim, axes = x.ndim, all_but_channels(x.ndim)
        inverse = 1 / sqrt(var + self.eps)
        normal = (x - per_channel(mean, ndim)) * per_channel(inverse, ndim)
        dgamma, dbeta, number = sum(gy * normal, axes), sum(gy, axes), count(x, axes)
        dx = gy - per_channel(dbeta / number, ndim) - normal * per_channel(dgamma / number, ndim)
        return dx * per_channel(gamma * inverse, ndim), dgamma, dbeta


def widened(array: Array) -> Array:
    """An array for computing: half precision, whose squares overflow from 256 on, becomes single."""
    return array.astype(np.result_type(array.dtype, np.float32), copy=False)


def narrowed(dtype: np.dtype[Any], *arrays: Array) -> tuple[Array, ...]:
    """Results in the dtype of the inputs again."""
    return tuple(array.astype(dtype, copy=False) for array in arrays)


def by_channels(
    kernel: type[BatchNormForward | BatchNormBackward], x: TensorType, eps: float, workers: int
) -> Prepared | None:
    """The prepared kernel, for the dtypes and sizes that it takes."""
    if not x.size or x.dtype == np.float16:
        return None
    made = kernel(x.dims, x.dtype, eps, workers)
    return Prepared(made.run, made.workspace, "channels")


def _sum(a: Tensor | None, b: Tensor) -> Tensor:
    return b if a is None else a + b


def _spread(g: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The gradient of a mean over these axes: g, divided evenly."""
    return Mean(axes).vjp([x], [g], [g])[0]


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float = 1e-5) -> Tensor:
    """Normalizes each channel with given statistics: (x - mean) / sqrt(var + eps) * gamma + beta.

    Args:
        x: [N, C, *], floating.
        gamma: scale, [C], of x's dtype.
        beta: shift, the same.
        mean: of each channel, the same.
        var: of each channel, the same.
        eps: added to the variance.

    Returns:
        Of x's shape and dtype.

    Raises:
        ShapeError: a vector does not fit the channels, or dtypes differ.

    Source: Ioffe and Szegedy 2015; ONNX BatchNormalization.
    """
    return apply(BatchNorm(float(eps)), x, gamma, beta, mean, var)


def batch_norm_train(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> tuple[Tensor, Tensor, Tensor]:
    """Normalizes each channel with the statistics of this batch, taken over all axes but 1.

    Args:
        x: [N, C, *], floating.
        gamma: scale, [C], of x's dtype.
        beta: shift, the same.
        eps: added to the variance.

    Returns:
        y of x's type, the mean [C], and the biased variance [C].

    Raises:
        ShapeError: a vector does not fit the channels, dtypes differ, or a channel has fewer than
            two values, as soon as that is known.

    Source: Ioffe and Szegedy 2015.
    """
    return apply(BatchNormTrain(float(eps)), x, gamma, beta)  # type: ignore[no-any-return]  # apply gives one or several


@from_onnx("BatchNormalization", buffers=(3, 4))
def _batch_norm(node: Any, x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor) -> Any:
    type, dtype = type_of(x), type_of(mean).dtype  # half-precision models keep their statistics in float32
    if not node.get("spatial", 1):  # until opset 8: every position is a channel of its own
        x = reshape(x, (type.shape[0], prod(TensorType(type.shape[1:]).dims)))
        gamma, beta, mean, var = (reshape(v, -1) for v in (gamma, beta, mean, var))
    x, gamma, beta = (cast(t, dtype) for t in (x, gamma, beta))
    var, eps = cast(var, dtype), node.get("epsilon", 1e-5)
    # Until opset 13, outputs for the statistics are what asks for those of the batch.
    if not node.get("training_mode", node.opset < 14 and node.outputs > 1):
        y = batch_norm(x, gamma, beta, mean, var, eps)
        return cast(y if node.get("spatial", 1) else reshape(y, type.shape), type.dtype)
    y, batch_mean, batch_var = batch_norm_train(x, gamma, beta, eps)
    kept = node.get("momentum", 0.9)
    running = [old * kept + new * (1 - kept) for old, new in ((mean, batch_mean), (var, batch_var))]
    saved = (batch_mean, batch_var) if node.opset < 14 else ()
    return cast(reshape(y, type.shape), type.dtype), *running, *saved
