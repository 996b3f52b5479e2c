"""Keras's optimisers for the weights of all folds at once.

All work element by element, so folds stacked in one weight train as they would alone.
TensorFlow's fused operations pass over the memory once, which for millions of weights
is most of the time; Nadam has none with Keras's formula. Settings are Keras's defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from soilnb.cnn._tensorflow import tf

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
RHO, MOMENTUM = 0.9, 0.0  # of RMSprop
NADAM_DECAY = 0.96  # of the warm-up of Nadam's momentum

# How many values an optimiser remembers for each weight.
N_SLOTS = {"adam": 2, "nadam": 2, "adamax": 2, "rmsprop": 2, "sgd": 0}


Slots = Sequence[tf.Variable]


class _Step(NamedTuple):
    """What all weights share in one step: tensors of their dtype."""

    rate: tf.Tensor
    number: tf.Tensor  # from 1
    warm_up: tf.Tensor  # product of Nadam's momenta so far


def _adam(weight: tf.Variable, slots: Slots, gradient: tf.Tensor, step: _Step) -> None:
    """Move by the mean gradient over its root mean square."""
    mean, square = slots
    tf.raw_ops.ResourceApplyAdam(
        var=weight.handle,
        m=mean.handle,
        v=square.handle,
        beta1_power=tf.pow(tf.cast(BETA_1, gradient.dtype), step.number),
        beta2_power=tf.pow(tf.cast(BETA_2, gradient.dtype), step.number),
        lr=step.rate,
        beta1=BETA_1,
        beta2=BETA_2,
        epsilon=EPSILON,
        grad=gradient,
    )


def _adamax(
    weight: tf.Variable, slots: Slots, gradient: tf.Tensor, step: _Step
) -> None:
    """Move by the mean gradient over its largest recent size."""
    mean, largest = slots
    tf.raw_ops.ResourceApplyAdaMax(
        var=weight.handle,
        m=mean.handle,
        v=largest.handle,
        beta1_power=tf.pow(tf.cast(BETA_1, gradient.dtype), step.number),
        lr=step.rate,
        beta1=BETA_1,
        beta2=BETA_2,
        epsilon=EPSILON,
        grad=gradient,
    )


def _rmsprop(
    weight: tf.Variable, slots: Slots, gradient: tf.Tensor, step: _Step
) -> None:
    """Move by the gradient over its root mean square."""
    square, moment = slots
    tf.raw_ops.ResourceApplyRMSProp(
        var=weight.handle,
        ms=square.handle,
        mom=moment.handle,
        lr=step.rate,
        rho=RHO,
        momentum=MOMENTUM,
        epsilon=EPSILON,
        grad=gradient,
    )


def _sgd(weight: tf.Variable, _slots: Slots, gradient: tf.Tensor, step: _Step) -> None:
    """Move along the gradient."""
    tf.raw_ops.ResourceApplyGradientDescent(
        var=weight.handle, alpha=step.rate, delta=gradient
    )


def _nadam_momentum(number: tf.Tensor) -> tf.Tensor:
    """Return the momentum of a step, which grows to its final value."""
    return BETA_1 * (1.0 - 0.5 * tf.pow(tf.cast(NADAM_DECAY, number.dtype), number))


def _nadam(weight: tf.Variable, slots: Slots, gradient: tf.Tensor, step: _Step) -> None:
    """As Adam, looking one step of the mean ahead."""
    mean, square = slots
    now, following = _nadam_momentum(step.number), _nadam_momentum(step.number + 1)
    m = mean.assign_add((gradient - mean) * (1 - BETA_1))
    v = square.assign_add((tf.square(gradient) - square) * (1 - BETA_2))
    ahead = following * m / (1 - step.warm_up * following)
    direction = ahead + (1 - now) * gradient / (1 - step.warm_up)
    spread = v / (1 - tf.pow(tf.cast(BETA_2, v.dtype), step.number))
    weight.assign_sub(direction * step.rate / (tf.sqrt(spread) + EPSILON))


_RULES: dict[str, Callable[[tf.Variable, Slots, tf.Tensor, _Step], None]] = {
    "adam": _adam,
    "nadam": _nadam,
    "adamax": _adamax,
    "rmsprop": _rmsprop,
    "sgd": _sgd,
}


class Optimiser:
    """An optimiser and what it remembers of the weights it changes, of one dtype."""

    def __init__(
        self,
        name: str,
        learning_rate: float,
        weights: Sequence[tf.Variable],
        make: Callable[[tf.Tensor], tf.Variable] = tf.Variable,
    ) -> None:
        self.n_taken = tf.Variable(0, dtype=tf.int64)  # GPUs do not count in int32
        self._rule = _RULES[name]
        self._weights = list(weights)
        self._rate = tf.constant(learning_rate, weights[0].dtype)
        self._warm_up = tf.Variable(tf.ones_like(self._rate))
        self._slots = [
            [make(tf.zeros_like(weight)) for _ in range(N_SLOTS[name])]
            for weight in weights
        ]

    def begin_again(self) -> None:
        """Forget all steps."""
        self.n_taken.assign(0)
        self._warm_up.assign(tf.ones_like(self._rate))
        for weight, slots in zip(self._weights, self._slots, strict=True):
            for slot in slots:
                slot.assign(tf.zeros_like(weight))

    @property
    def slots(self) -> list[tf.Variable]:
        """What is remembered of each weight."""
        return [slot for slots in self._slots for slot in slots]

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """Take one step; one gradient per weight."""
        number = tf.cast(self.n_taken.assign_add(1), self._rate.dtype)
        warm_up = self._warm_up.assign(self._warm_up * _nadam_momentum(number))
        step = _Step(self._rate, number, tf.convert_to_tensor(warm_up))
        for weight, slots, gradient in zip(
            self._weights, self._slots, gradients, strict=True
        ):
            self._rule(weight, slots, gradient, step)
