# SPDX-License-Identifier: Apache-2.0
"""Dry runs: what they say of memory and traffic, against figures found in other ways."""

import importlib.util
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from stage_tools import copied

from lipjax import build, cli
from lipjax.config_files import load_config
from lipjax.data.derive import derive
from lipjax.data.views import View
from lipjax.data.windows import Windows
from lipjax.errors import ConfigError
from lipjax.planning.collectives import Collective, traffic_of
from lipjax.planning.devices import simulated, topology
from lipjax.planning.plan import _memory, plan_of, step_of
from lipjax.planning.shapes import empty_batch, given_of
from lipjax.planning.text import lines
from lipjax.training import sharding
from lipjax.training.checkpoints import FOLDER, Checkpoints

TINY = "configs/at_a_glance.py:tiny"
SMALL = ("generator.residual_blocks=0", "generator.speech_features=0")

WRITTEN = """\
HloModule jit_step, is_scheduled=true, num_partitions=8, replica_count=1

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%scattered (p: f32[64]) -> f32[16] {
  %p = f32[64]{0} parameter(0)
  ROOT %rs = f32[16]{0} reduce-scatter(%p), replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%add
}

%body (t: (s32[], f32[10])) -> (s32[], f32[10]) {
  %t = (s32[], f32[10]{0}) parameter(0)
  %x = f32[10]{0} get-tuple-element(%t), index=1
  %in = f32[10]{0} all-reduce(%x), replica_groups=[4,2]<=[2,4]T(1,0), to_apply=%add
  ROOT %out = (s32[], f32[10]{0}) tuple(%i, %in)
}

%test (t: (s32[], f32[10])) -> pred[] {
  %t = (s32[], f32[10]{0}) parameter(0)
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (x: f32[4,8], y: bf16[3]) -> f32[4,8] {
  %x = f32[4,8]{1,0:T(8,128)} parameter(0)
  %ar = (f32[4,8]{1,0:T(8,128)S(1)}, bf16[3]{0}, /*index=2*/pred[5]{0}) all-reduce(%x, %y, %z), \
replica_groups={}, to_apply=%add
  %ags = ((f32[4,8]{1,0}), (f32[8,8]{1,0})) all-gather-start(%x), \
replica_groups=mesh['a'=2,'b'=4] {'a'}, dimensions={0}
  %agd = f32[8,8]{1,0} all-gather-done(%ags)
  %cps = (f32[6]{0}, f32[6]{0}, u32[], u32[]) collective-permute-start(%v), \
source_target_pairs={{0,1},{1,0}}
  %cpd = f32[6]{0} collective-permute-done(%cps)
  %a2a = (s8[8]{0}, s8[8]{0}) all-to-all(%q, %r), replica_groups=mesh['a'=8] {'a':(2)4}
  %as = ((f32[64]{0}), f32[16]{0}, u32[]) async-start(%w), calls=%scattered
  %ad = f32[16]{0} async-done(%as), calls=%scattered
  %loop = (s32[], f32[10]{0}) while(%init), condition=%test, body=%body, \
backend_config={"known_trip_count":{"n":"5"}}
  ROOT %end = f32[4,8]{1,0} copy(%x)
}
"""


def test_collectives_are_counted_by_kind_group_and_bytes():
    found = {(c.kind, c.devices): c for c in traffic_of(WRITTEN).collectives}
    reduced = 4 * 8 * 4 + 3 * 2 + 5
    assert found == {
        key: Collective(*key, *numbers)
        for key, numbers in {
            ("all-reduce", 8): (1, reduced, round(2 * 7 / 8 * reduced)),
            ("all-reduce", 2): (5, 5 * 40, 5 * 40),  # 2 (2 - 1) / 2 of it, five times
            ("all-gather", 2): (1, 256, 128),
            ("reduce-scatter", 4): (1, 256, 192),
            ("all-to-all", 4): (1, 16, 12),
            ("collective-permute", 2): (1, 24, 24),
        }.items()
    }


def test_a_loop_of_unknown_length_is_told():
    assert traffic_of(WRITTEN).unknown_loops == 0
    text = WRITTEN.replace('"known_trip_count":{"n":"5"}', "")
    assert traffic_of(text).unknown_loops == 1
    assert traffic_of(text).of("all-reduce") == (2, 139 + 40)


def test_a_new_way_of_writing_is_an_error_and_not_a_wrong_number():
    with pytest.raises(ConfigError, match="replica groups"):
        traffic_of(WRITTEN.replace("replica_groups={}", "replica_groups=everybody"))
    for axes in ("{?}", "{'z'}", "{'a':2}"):
        with pytest.raises(ConfigError, match="replica groups"):
            traffic_of(WRITTEN.replace("'b'=4] {'a'}", f"'b'=4] {axes}"))
    with pytest.raises(ConfigError, match="no ENTRY"):
        traffic_of("HloModule nothing\n")


def test_collectives_of_a_real_program():
    mesh = sharding.make_mesh(jax.devices("cpu"), shards=4)
    whole, both = PartitionSpec(), PartitionSpec(sharding.BATCH_AXES)

    def program(x):  # one device's part: 40 floats
        summed = jax.lax.psum(x, sharding.BATCH_AXES)
        gathered = jax.lax.all_gather(x, "shard")
        moved = jax.lax.ppermute(x, "shard", [(0, 1), (1, 2)])
        exchanged = jax.lax.all_to_all(x.reshape(4, 10), "shard", 0, 0)
        return summed.sum() + gathered.sum() + moved.sum() + exchanged.sum()

    mapped = jax.shard_map(program, mesh=mesh, in_specs=both, out_specs=whole, check_vma=False)
    compiled = jax.jit(mapped).lower(jax.ShapeDtypeStruct((320,), jnp.float32)).compile()
    found = {(c.kind, c.devices): c.bytes for c in traffic_of(compiled.as_text()).collectives}
    assert found == {
        ("all-reduce", 8): 160,
        ("all-gather", 4): 640,
        ("collective-permute", 2): 160,
        ("all-to-all", 4): 160,
    }


def test_a_collective_in_a_real_loop_counts_as_often_as_it_runs():
    mesh = sharding.make_mesh(jax.devices("cpu"))

    def program(x):
        return jax.lax.fori_loop(0, 7, lambda i, x: jax.lax.psum(x, "replica") / 8, x)

    spec = PartitionSpec("replica")
    mapped = jax.shard_map(program, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    compiled = jax.jit(mapped).lower(jax.ShapeDtypeStruct((24,), jnp.float32)).compile()
    assert traffic_of(compiled.as_text()).of("all-reduce") == (7, 7 * 12)


def test_shapes_without_a_corpus_are_those_of_its_batches(tiny_corpus, tmp_path):
    config = load_config(TINY)
    streams = build.streams_of(config.data)
    corpus = copied(tiny_corpus, tmp_path / "corpus")
    derive("flow", corpus.directory, size=32, show=lambda line: None)
    inputs = {
        **build.task_of(config).inputs,
        "points": View("landmarks", 5),
        "faces": View("frames", 3, offset=2, where="same_clip"),
        "flow": View("flow", 7),
        "sound": View("log_mel", 3, offset=-1),
    }
    assert {"video", "identity", "log_mel", "wrong_log_mel"} < set(inputs)
    windows = Windows([corpus], inputs, split="train", streams=streams, batch_size=2)
    real, empty = windows.batch(0), empty_batch(inputs, streams, rows=2)
    shapes = lambda batch: {name: (x.shape, x.dtype) for name, x in batch.items()}  # noqa: E731
    assert shapes(empty) == shapes(real)


def test_given_networks_are_those_that_training_loads(tmp_path):
    """Shapes by tracing, against a checkpoint of each stage that is saved and loaded."""
    config = load_config(f"{TINY},row=e")
    for name in build.given_names(config):
        stage = build.stage_of(config, name)
        programs, _ = step_of(stage, jax.devices()[:1])
        zeros = lambda x: jnp.zeros(x.shape, x.dtype)  # noqa: E731
        state = jax.tree.map(zeros, programs.state.replace(key=()))
        state = state.replace(key=jax.random.key(0))
        run = tmp_path / "stages" / name
        checkpoints = Checkpoints(run / FOLDER)
        checkpoints.save(1, state, loop={"pending": []}, metric=1.0)
        checkpoints.close()
        description = {**DESCRIPTION, "family": stage.task, "network": stage.network.to_dict()}
        build.save_description(run, description)
    loaded, (traced, notes) = build.load_given(config, tmp_path), given_of(config)
    assert sorted(loaded) == sorted(traced) == ["flow", "perceptual"] and not notes
    for name, network in loaded.items():
        shapes = lambda tree: jax.tree.map(lambda x: (x.shape, str(x.dtype)), dict(tree))  # noqa: E731
        assert shapes(traced[name].variables) == shapes(network.variables)


DESCRIPTION = {
    "format": 2,
    "schema_version": 1,
    "fps": 25.0,
    "frames": 16,
    "mouth_size": 64,
    "margin": 1.5,
    "log_mel": {},
    "corpora": [],
}


def test_an_earlier_stage_is_planned_as_its_run_describes_it(tmp_path):
    config = load_config(f"{TINY},row=d", overrides=["--config.discriminator.streams=video"])
    usual, _ = given_of(config, tmp_path)
    settings = {**config.stages.perceptual.network.to_dict(), "widths": (6, 6, 6)}
    described = {**DESCRIPTION, "family": "perceptual", "network": settings}
    build.save_description(tmp_path / "stages" / "perceptual", described)
    found, notes = given_of(config, tmp_path)
    assert not notes
    sizes = lambda given: sum(x.size for x in jax.tree.leaves(given["perceptual"].variables))  # noqa: E731
    assert sizes(found) != sizes(usual)
    away = load_config(f"{TINY},row=d", overrides=["--config.given.perceptual=elsewhere/run"])
    _, notes = given_of(away, tmp_path)
    assert "elsewhere/run is not here" in notes[0]


@pytest.fixture(scope="module")
def planned():
    words = [f"--config.{word}" for word in (*SMALL, "data.batch_size=16")]
    config = load_config(TINY, overrides=words)
    return config, plan_of(config, simulated(8))


def test_a_plan_counts_what_is_there(planned):
    config, plan = planned
    programs, _ = step_of(config, jax.devices("cpu"))
    parameters = sum(math.prod(x.shape) for x in jax.tree.leaves(programs.state.params))
    assert plan.parameters == {"generator": (parameters, 4 * parameters)}
    # Parameters, averages and Adam's two moments; Adam and its schedule count steps.
    assert [plan.state[name][0] for name in ("params", "ema")] == [4 * parameters] * 2
    assert plan.state["opt"][0] == 2 * 4 * parameters + 2 * 4
    assert all(whole == part for whole, part in plan.state.values())
    video = 16 * 16 * 64 * 64 * 3
    assert plan.batch_bytes == video + video // 16 + 2 * 16 * (16 + 12) * 4 * 128 * 4
    assert (plan.replicas, plan.shards, plan.devices, plan.processes) == (8, 1, 8, 1)


def test_the_traffic_of_data_parallel_training_is_its_gradients(planned):
    _, plan = planned
    (only,) = plan.traffic.collectives
    gradients = sum(bytes_ for _, bytes_ in plan.parameters.values())
    assert (only.kind, only.devices) == ("all-reduce", 8)
    assert gradients < only.bytes <= gradients + 4 * 4  # and the mean of the loss
    assert only.sent == round(2 * 7 / 8 * only.bytes)


def test_the_memory_of_a_plan_holds_state_and_batch(planned):
    _, plan = planned
    unused = 2 * 28 * 4 * 128 * 4  # the sound of another clip, which row b does not hear
    held = sum(part for _, part in plan.state.values()) + plan.batch_bytes // 8 - unused
    assert abs(plan.memory.arguments - held) <= 64
    assert 0 < plan.memory.in_place <= plan.memory.outputs < plan.memory.arguments
    assert plan.memory.temporaries > 2 * 16 * 64 * 64 * 3 * 4  # at least the videos, as floats
    assert plan.memory.total > plan.memory.arguments + plan.memory.temporaries


def test_a_compiler_that_does_not_tell_the_memory_is_named(monkeypatch):
    compiled = jax.jit(jnp.sin).lower(1.0).compile()
    monkeypatch.setattr(jax.stages.Compiled, "memory_analysis", lambda self: None)
    with pytest.raises(ConfigError, match="for cpu does not tell how much memory"):
        _memory(compiled, jax.devices("cpu")[0])


def test_a_plan_is_told_and_written(planned):
    _, plan = planned
    told = "\n".join(lines(plan))
    assert "8 x cpu" in told and "replica 8 x shard 1" in told
    assert "16 windows, 2 per device" in told
    assert "uint8 16 x 16 x 64 x 64 x 3" in told
    assert "as the CPU compiler plans it" in told
    assert "all-reduce" in told and "whole on every device" in told
    again = json.loads(json.dumps(plan.to_json()))
    assert again["memory_total"] == plan.memory.total
    assert again["traffic"]["collectives"][0]["kind"] == "all-reduce"


def test_shards_hold_their_part():
    words = ["--config.data.batch_size=16", "--config.train.shards=4"]
    programs, _ = step_of(load_config(TINY, overrides=words), simulated(8))
    assert dict(programs.mesh.shape) == {"replica": 2, "shard": 4}
    kernels = [x for x in jax.tree.leaves(programs.state.params) if x.size >= 4096]
    assert kernels
    for x in kernels:
        assert "shard" in x.sharding.spec and x.sharding.shard_shape(x.shape) != x.shape


@pytest.mark.slow
def test_traffic_with_shards_gathers_weights_and_not_pictures():
    """Each device gets every split parameter once or twice a step, and no activations."""
    words = ["--config.data.batch_size=16", "--config.train.shards=4"]
    plan = plan_of(load_config(TINY, overrides=words), simulated(8))
    split = sum(leaf.bytes for leaf in plan.largest if leaf.split)
    assert plan.state["params"][1] == plan.state["params"][0] - 3 * split // 4
    assert split <= plan.traffic.of("all-gather")[1] <= 4 * plan.parameters["generator"][1]
    assert plan.traffic.of("all-to-all") == (0, 0)


def test_a_batch_that_does_not_divide_is_told_before_anything_is_compiled():
    with pytest.raises(ConfigError, match="a batch of 4 does not divide over 8 devices"):
        plan_of(load_config(TINY), simulated(8))
    with pytest.raises(ConfigError, match="3 shards on 8 devices"):
        plan_of(load_config(TINY, overrides=["--config.train.shards=3"]), simulated(8))


def test_more_devices_than_this_program_has_are_told():
    with pytest.raises(ConfigError, match="99 devices wanted, but JAX has made 8"):
        simulated(99)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="has the compiler")
def test_without_the_tpu_compiler_the_way_out_is_told():
    with pytest.raises(ConfigError, match=r"pip install 'lipjax\[tpu\]'"):
        topology("v5e:4x4")


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler")
def test_topologies_are_those_that_the_compiler_knows():
    devices = topology("v5e:4x4")
    assert len(devices) == 16 and len({device.process_index for device in devices}) == 4
    assert dict(sharding.make_mesh(devices, shards=4).shape) == {"replica": 4, "shard": 4}
    with pytest.raises(ConfigError, match="no TPU slice 'v5e:3x5'"):
        topology("v5e:3x5")


def call(capsys, *words: str) -> tuple[int, str, str]:
    code = cli.main(["train", "--config", TINY, *words])
    return (code, *capsys.readouterr())


def test_the_command_plans_and_leaves_nothing_behind(capsys, tmp_path):
    out, run = tmp_path / "plan.json", tmp_path / "run"
    words = ("--workdir", str(run), "--config.data.dirs=nowhere", "--dry-run", "--devices", "2")
    stage = ("--stage", "perceptual", "--config.stages.perceptual.network.residual_blocks=0")
    code, told, err = call(capsys, *words, *stage, "--out", str(out))
    assert code == 0 and not err
    assert "2 x cpu" in told and "task perceptual; nothing is trained" in told
    assert json.loads(out.read_text())["devices"] == 2
    assert sorted(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("words", ["--devices 2", "--topology v5e:2x2", "--out plan.json"])
def test_flags_of_a_dry_run_alone_are_refused(capsys, tmp_path, words):
    code, _, err = call(capsys, "--workdir", str(tmp_path), *words.split())
    assert code == 2 and f"{words.split()[0]} is for --dry-run" in err


@pytest.mark.slow
def test_the_command_makes_as_many_devices_as_asked_for(tmp_path):
    """In a program of its own, because devices are simulated before JAX is first used."""
    import os
    import subprocess
    import sys

    clean = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "NPROC")}
    words = ["--config", TINY, "--workdir", str(tmp_path / "run"), "--dry-run", "--devices", "16"]
    settings = [f"--config.{word}" for word in (*SMALL, "data.batch_size=16")]
    command = [sys.executable, "-m", "lipjax.cli", "train", *words, *settings]
    run = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    assert "16 x cpu" in run.stdout and "replica 16 x shard 1" in run.stdout
    assert np.all([word in run.stdout for word in ("all-reduce", "memory", "state")])
