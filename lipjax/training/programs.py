# SPDX-License-Identifier: Apache-2.0
"""The compiled functions of a run, made from shapes alone: to train, and to plan before training.

Nothing here touches a device's memory until `init` is called, so that a run on a pod can be
looked at from a laptop.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from lipjax.state import State
from lipjax.tasks.contract import Task
from lipjax.training import sharding

Shapes = Mapping[str, jax.ShapeDtypeStruct]


@dataclasses.dataclass(frozen=True)
class Programs:
    """What a run executes, and the shapes and shardings that it executes on.

    Attributes:
        mesh: of the devices.
        state: shapes and shardings of every leaf of the state.
        batch: shapes and shardings of a global batch.
        init: (given parameters) -> state before the first step.
        train_step: (state, batch) -> (state, metrics); donates the state.
        evaluate: (state, batch) -> name -> score of each example, on every device.
        speaker_params: state -> variables that speaking needs, on every device.
    """

    mesh: Mesh
    state: State
    batch: Shapes
    init: Callable[[Mapping[str, Any]], State]
    train_step: Any
    evaluate: Any
    speaker_params: Any

    def compiled_step(self) -> jax.stages.Compiled:
        """Compiles the training step for these shapes."""
        return self.train_step.lower(self.state, self.batch).compile()


def _quickly(mesh: Mesh) -> dict[str, int] | None:
    """Options to compile what runs once: of random numbers LLVM takes five times as long else."""
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    return {"xla_backend_optimization_level": 0} if on_cpu else None


def programs_of(
    task: Task, batch: Shapes, *, mesh: Mesh, given: Mapping[str, Any], seed: int = 0
) -> Programs:
    """Traces a task on shapes and says where every array lives.

    Args:
        task: networks, losses and steps.
        batch: shapes of a global batch, see `sharding.global_shapes`.
        mesh: from `sharding.make_mesh`.
        given: name -> parameters of earlier stages, or their shapes.
        seed: of the initial parameters and of the run's randomness.
    """

    def init(given: Mapping[str, Any]) -> State:
        # The shapes of a batch are all that a task may look at.
        empty = {name: jnp.zeros(x.shape, x.dtype) for name, x in batch.items()}
        return task.init(jax.random.key(seed), empty, given)

    abstract = jax.eval_shape(init, dict(given))
    shardings = sharding.state_shardings(mesh, abstract)
    whole, split = sharding.replicated(mesh), sharding.batch_sharding(mesh)
    return Programs(
        mesh=mesh,
        state=sharding.with_shardings(abstract, shardings),
        batch=batch,
        init=jax.jit(init, out_shardings=shardings, compiler_options=_quickly(mesh)),
        train_step=jax.jit(
            task.train_step,
            in_shardings=(shardings, split),
            out_shardings=(shardings, whole),
            donate_argnums=0,
        ),
        evaluate=jax.jit(task.eval_step, in_shardings=(shardings, split), out_shardings=whole),
        speaker_params=jax.jit(task.speaker_params, in_shardings=(shardings,), out_shardings=whole),
    )
