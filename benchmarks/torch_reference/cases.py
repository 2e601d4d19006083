# SPDX-License-Identifier: Apache-2.0
"""What is compared with PyTorch, and lipjax's side of it; needs no PyTorch.

Parameters, inputs and cotangents are made from their names by integer arithmetic, so that they are
the same numbers everywhere and need not be stored.

A ReLU has two slopes. Rounding moves a unit in a million to the other side of zero, and where
every unit has a gradient of its own size, one in a million is a thousandth of the gradient's norm,
between any two engines. At full widths units are therefore set up well to one side of zero, some
to each; at small widths, where no unit is as near to zero as that, they lie as they fall.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.torch_reference.noise import noise
from lipjax.models.at_a_glance import Generator
from lipjax.models.correlation import AudioDerivativeEncoder, FlowEncoder
from lipjax.models.discriminators import Discriminator
from lipjax.models.optical_flow import FlowNet
from lipjax.models.perceptual import PerceptualEncoder

Arrays = dict[str, np.ndarray]
KEPT = 512
"""Entries of a stored summary that are samples."""
PROJECTIONS = 16
"""Further entries, which see the whole array."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A network on made-up input.

    Attributes:
        name: of the case.
        module: the Flax network, as the config of the released system builds it.
        inputs: name -> shape, channels last.
        train: whether batch statistics are those of the batch.
        silent: parameters whose gradient is zero but for rounding -> parameters of the same layer
            by whose gradient's norm their error is measured.
        decided: units stand well to one side of zero.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, tuple[int, ...]]
    train: bool = True
    silent: Mapping[str, str] = dataclasses.field(default_factory=dict)
    decided: bool = False

    def arrays(self) -> Arrays:
        """The inputs, in [-1, 1)."""
        return {name: noise(f"{self.name}/{name}", shape) for name, shape in self.inputs.items()}

    @functools.cached_property
    def variables(self) -> dict[str, Any]:
        """The network's parameters and statistics."""
        inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in self.inputs.values()]
        shapes = jax.eval_shape(functools.partial(_init, self.module), *inputs)
        named = flax.traverse_util.flatten_dict(flax.core.unfreeze(shapes), sep="/")
        made = {
            name: (_decided if self.decided else _filled)(f"{self.name}/{name}", x.shape)
            for name, x in named.items()
        }
        made = flax.traverse_util.unflatten_dict(made, sep="/")
        # Far-off units grow from layer to layer unless the statistics fit them.
        return made if self.train or not self.decided else _fitted(self, made)


def ours(case: Case, *, quick_to_compile: bool = False) -> Arrays:
    """Returns outputs, gradients and new running means of lipjax's network.

    Args:
        case: what to compute.
        quick_to_compile: rather than quick to run.

    Returns:
        "output/NAME", "input/NAME" and "params/PATH" (gradients of the sum of the outputs times
        their cotangents), "mean/PATH".
    """
    variables = case.variables

    def outputs(params: Any, inputs: Any) -> tuple[Any, Any]:
        named, stats = _applied(case, {**variables, "params": params}, inputs)
        terms = [jnp.vdot(x, cotangent(case, name, x.shape)) for name, x in named.items()]
        return sum(terms), (named, stats)

    options = {"xla_backend_optimization_level": 0} if quick_to_compile else None
    program = jax.jit(jax.grad(outputs, argnums=(0, 1), has_aux=True), compiler_options=options)
    (params, inputs), (named, stats) = program(variables["params"], case.arrays())
    found = {"output": named, "input": inputs, "params": params, "mean": stats}
    flat = flax.traverse_util.flatten_dict(found, sep="/")
    return {k: np.asarray(x) for k, x in flat.items() if not k.endswith("/var")}


def flat_shapes(case: Case) -> Arrays:
    """The case's variables by path."""
    return flax.traverse_util.flatten_dict(case.variables, sep="/")


def file_name(case: Case) -> str:
    """Of the stored arrays."""
    return case.name.replace(", ", "_").replace(" ", "_")


def cotangent(case: Case, output: str, shape: tuple[int, ...]) -> np.ndarray:
    """What an output is multiplied with before the sum whose gradient is taken."""
    return noise(f"{case.name}/cotangent/{output}", shape) / math.prod(shape) ** 0.5


def errors(case: Case, found: Arrays, reference: Arrays) -> dict[str, float]:
    """Returns the relative error, norm by norm, of every array.

    A gradient that is zero but for rounding is measured by another of its layer.
    """
    if set(found) != set(reference):
        raise ValueError(f"{case.name}: only on one side: {sorted(set(found) ^ set(reference))}")
    silent = {f"params/{name}": f"params/{other}" for name, other in case.silent.items()}
    told = {}
    for name, x in found.items():
        y, scale = reference[name], reference[name]
        if x.shape != y.shape:
            raise ValueError(f"{case.name}: {name} is {x.shape} here and {y.shape} there")
        if name in silent:
            scale = reference[silent[name]]
        difference = np.linalg.norm((x.astype(np.float64) - y).ravel())
        told[name] = float(difference / np.linalg.norm(scale.astype(np.float64).ravel()))
    return told


def summary(name: str, array: np.ndarray) -> np.ndarray:
    """Returns a small array whole; of a large one samples and random projections, as float32."""
    x = np.asarray(array, np.float64).ravel()
    if x.size <= KEPT + PROJECTIONS:
        return x.astype(np.float32)
    places = np.linspace(0, x.size - 1, KEPT).astype(np.int64)
    signs = np.sign(noise(f"{name}/signs", (PROJECTIONS, x.size)).astype(np.float64) + 1e-12)
    return np.concatenate([x[places], signs @ x / PROJECTIONS**0.5]).astype(np.float32)


def _filled(name: str, shape: tuple[int, ...]) -> np.ndarray:
    values, kind = noise(name, shape), name.rpartition("/")[2]
    if kind == "kernel":
        return values * np.float32(math.sqrt(6.0 / math.prod(shape[:-1])))
    middle, spread = {"scale": (1.0, 0.5), "var": (1.0, 0.5)}.get(kind, (0.0, 0.2))
    return np.float32(middle) + np.float32(spread) * values


def _decided(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """As `_filled`, with biases far beyond what their units vary by."""
    values, kind = _filled(name, shape), name.rpartition("/")[2]
    if "colours" in name:
        return values * np.float32(0.1)
    if kind == "bias":
        return np.float32(6.0) * np.sign(values)
    # Without norms, the constant part of the units must not grow either.
    return values * np.float32(0.25) if "flow network" in name else values


def _fitted(case: Case, variables: dict[str, Any]) -> dict[str, Any]:
    """The same variables with the statistics of the case's own input."""
    old, seen = variables["batch_stats"], dataclasses.replace(case, train=True)
    program = jax.jit(lambda variables, inputs: _applied(seen, variables, inputs)[1])
    new = program(variables, case.arrays())
    return {
        **variables,
        "batch_stats": jax.tree.map(lambda a, b: np.asarray((b - 0.9 * a) / 0.1), old, new),
    }


def _init(module: nn.Module, *inputs: Any) -> Any:
    case = Case("", module, {})
    keys = _INPUTS[type(module)] if not isinstance(module, Discriminator) else None
    named = dict(zip(keys or ("log_mel", "video", "flow"), inputs, strict=False))
    arguments = _arguments(case, named)
    return module.init(jax.random.key(0), *arguments, **_training(case, False))


_INPUTS = {
    Generator: ("identity", "log_mel"),
    FlowNet: ("first", "second"),
    PerceptualEncoder: ("frames",),
    AudioDerivativeEncoder: ("feature",),
    FlowEncoder: ("flow",),
}


def _arguments(case: Case, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    if isinstance(case.module, Discriminator):
        videos = {name: x for name, x in inputs.items() if name != "log_mel"}
        return inputs["log_mel"], videos
    return tuple(inputs[name] for name in _INPUTS[type(case.module)])


def _training(case: Case, train: bool) -> dict[str, bool]:
    return {} if isinstance(case.module, FlowNet) else {"train": train}


def _applied(case: Case, variables: Any, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Named outputs, and new statistics."""
    made, changed = case.module.apply(
        variables,
        *_arguments(case, inputs),
        **_training(case, case.train),
        mutable=["batch_stats"],
    )
    stats = changed.get("batch_stats", {}) if case.train else {}
    if isinstance(case.module, Generator):
        return {"video": made[0], "audio_feature": made[1]["audio_feature"]}, stats
    if isinstance(case.module, FlowNet):
        return {f"flow_{i}": x for i, x in enumerate(made)}, stats
    return {"result": made}, stats
