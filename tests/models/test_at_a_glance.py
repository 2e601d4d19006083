# SPDX-License-Identifier: Apache-2.0
"""The generator: layers as released, reach in time, chunks, strides, types."""

import functools
import runpy
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.models.at_a_glance import Generator
from lipjax.models.decoders import Fusion
from lipjax.models.map_sizes import strides_for

TABLE = runpy.run_path(str(Path(__file__).with_name("layer_table.py")))
# Quick to compile matters more here than quick to run.
fast_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
TINY = {
    "size": 16,
    "bands": 32,
    "audio_widths": (4, 4, 6, 6, 8),
    "identity_widths": (4, 6, 8),
    "fusion_width": 8,
    "residual_blocks": 1,
    "decoder_widths": (6, 4),
}
PAPER = {
    "audio_widths": (32, 64, 128, 256),
    "audio_pool": "max",
    "identity_widths": (64, 256, 256),
    "residual_kernel": (3, 3, 3),
    "decoder_widths": (256, 128),
}


def _shapes(module, frames=16):
    picture = jnp.zeros((1, module.size, module.size, 3))
    columns = (frames + 2 * module.audio_context) * module.columns_per_frame
    sound = jnp.zeros((1, columns, module.bands))
    return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), picture, sound))


def _total(variables) -> int:
    return sum(x.size for x in jax.tree.leaves(variables["params"]))


def test_released_generator_has_the_released_layers():
    (video, between), variables = _shapes(Generator())
    flat = flax.traverse_util.flatten_dict(variables["params"], sep="/")
    for part, rows in TABLE["GENERATOR"].items():
        found = {
            row[0]: sum(x.size for name, x in flat.items() if name.startswith(row[0] + "/"))
            for row in rows
        }
        assert found == {row[0]: TABLE["count"](row) for row in rows}
        assert sum(found.values()) == TABLE["GENERATOR_TOTALS"][part]
    assert _total(variables) == TABLE["GENERATOR_TOTAL"]
    assert video.shape == (1, 16, 64, 64, 3)
    assert between["audio_feature"].shape == (1, 16, 16, 256)
    assert between["identity_feature"].shape == (1, 16, 16, 256)
    assert between["fused"].shape == (1, 16, 16, 16, 256)


def test_released_variants_count_as_released():
    pooled = Generator(audio_widths=(32, 64, 128, 256), audio_pool="max")
    assert _total(_shapes(pooled)[1]) == TABLE["GENERATOR_TOTAL_MAX_POOL"]
    full = pooled.clone(residual_kernel=(3, 3, 3))
    assert _total(_shapes(full)[1]) == TABLE["GENERATOR_TOTAL_FULL_3D"]


def test_paper_widths_fit_and_reach_further():
    module = Generator(**PAPER)
    (video, _), _ = _shapes(module)
    assert video.shape == (1, 16, 64, 64, 3)
    assert module.video_reach == 6 + 18  # nine blocks of two 3-tap convolutions


@pytest.mark.parametrize("size", [64, 96, 128])
@pytest.mark.parametrize("bands", [64, 128])
def test_strides_keep_the_maps_equal(size, bands):
    fields = TINY | {"size": size, "bands": bands} | strides_for(size, bands)
    (video, between), _ = _shapes(Generator(**fields), frames=3)
    assert video.shape == (1, 3, size, size, 3)
    _, _, frequencies, _ = between["audio_feature"].shape
    assert between["identity_feature"].shape[1:3] == (frequencies, frequencies)


def test_impossible_fields_are_named():
    with pytest.raises(ConfigError, match="112 px: the nearest size that works is 96 px|128 px"):
        strides_for(112, 128)
    with pytest.raises(ConfigError, match="80 mel bands .* works is 64"):
        strides_for(64, 80)
    with pytest.raises(ConfigError, match=r"H = W = 32, F = 16.*strides_for"):
        _shapes(Generator(size=128))
    with pytest.raises(ConfigError, match="decoder_strides has 2 entries, the layers need 3"):
        _shapes(Generator(decoder_widths=(8, 8, 8)))
    with pytest.raises(ConfigError, match="16x16, size is 64"):
        Generator().init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 64, 128)))
    with pytest.raises(ConfigError, match="66 columns"):
        Generator().init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 66, 128)))


def _made(frames, **fields):
    """A tiny generator with its parameters, a picture and a sound of frames + context."""
    module = Generator(**TINY | fields)
    keys = jax.random.split(jax.random.key(0), 3)
    picture = jax.random.uniform(keys[0], (1, 16, 16, 3), minval=-1)
    columns = (frames + 2 * module.audio_context) * 4
    sound = jax.random.uniform(keys[1], (1, columns, 32), minval=-1)
    variables = fast_jit(lambda: module.init(keys[2], picture, sound))()
    apply = fast_jit(lambda sound: module.apply(variables, picture, sound)[0])
    return module, variables, picture, sound, apply


@pytest.mark.parametrize(
    "fields", [{"norm": "batch"}, {"norm": "frame", "residual_kernel": (3, 3, 3)}]
)
def test_reach_is_exact(fields):
    module, _, _, sound, apply = _made(32, **fields)
    blocks = 2 if "residual_kernel" in fields else 0
    assert module.reach == 9 + blocks
    middle = 16
    touched = sound.at[:, 4 * middle : 4 * middle + 4].add(1.0)
    change = np.abs(apply(touched) - apply(sound)).max(axis=(0, 2, 3, 4))
    # The encoder looks one frame less far ahead of its row than back from it.
    expected = range(middle - module.reach + 1, middle + module.reach + 1)
    assert list(np.flatnonzero(change)) == list(expected)


def test_released_reach_is_nine_frames():
    assert Generator().reach == 9
    assert Generator().margin == 9
    assert Generator(audio_context=3).margin == 6


OURS = {
    "norm": "frame",
    "audio_norm": "none",
    "audio_context": 3,
    "speech_features": 4,
    "paint_on_picture": True,
}


@pytest.mark.parametrize("fields", [{"norm": "batch"}, {"norm": "frame", "audio_context": 3}, OURS])
def test_a_chunk_with_its_margin_equals_the_whole(fields):
    module, _, _, sound, apply = _made(30, **fields)
    whole = apply(sound)
    start, end, margin = 12, 18, module.margin
    columns = slice(4 * (start - margin), 4 * (end + margin + 2 * module.audio_context))
    chunk = apply(sound[:, columns])
    np.testing.assert_allclose(chunk[:, margin:-margin], whole[:, start:end], atol=1e-5, rtol=0)
    # One frame of margin less is not enough.
    assert np.abs(chunk[:, margin - 1] - whole[:, start - 1]).max() > 1e-7


def test_frequency_lies_along_height():
    module = Fusion(width=4)
    picture, audio = jnp.zeros((1, 8, 8, 2)), jnp.zeros((1, 5, 8, 3)).at[0, 2, 3].set(1.0)
    fused, _ = module.init_with_output(jax.random.key(1), picture, audio, train=False)
    lit = np.flatnonzero(np.asarray(fused[0, :, :, 2:-2]).any(axis=(0, 2, 3)))
    assert set(lit) <= {2, 3, 4} and len(lit)
    np.testing.assert_allclose(fused[:, :, :, 3], fused[:, :, :, 4], atol=1e-6)


def test_bfloat16_keeps_float32_parameters_and_statistics():
    module, variables, picture, sound, apply = _made(6, norm="batch")
    exact = apply(sound)
    half = module.clone(dtype=jnp.bfloat16)

    def run(sound):
        return half.apply(variables, picture, sound, train=True, mutable=["batch_stats"])

    (video, between), updates = fast_jit(run)(sound)
    plain = fast_jit(lambda sound: half.apply(variables, picture, sound)[0])(sound)
    assert {x.dtype for x in jax.tree.leaves((variables, updates))} == {jnp.dtype("float32")}
    assert between["audio_feature"].dtype == jnp.bfloat16
    assert video.dtype == jnp.float32
    np.testing.assert_allclose(plain, exact, atol=0.02)


@pytest.mark.parametrize("norm", ["batch", "frame"])
def test_every_parameter_learns(norm):
    module, variables, picture, sound, _ = _made(4, norm=norm)

    @fast_jit
    def gradient(params):
        def loss(params):
            (video, _), _ = module.apply(
                variables | {"params": params}, picture, sound, train=True, mutable=["batch_stats"]
            )
            return jnp.mean(jnp.square(video - 0.5))

        return jax.grad(loss)(params)

    flat = flax.traverse_util.flatten_dict(gradient(variables["params"]), sep="/")
    # A bias that a group norm of all channels takes away again may be still.
    still = [name for name, x in flat.items() if not np.any(np.abs(x) > 0)]
    assert not still
    assert all(np.all(np.isfinite(x)) for x in flat.values())


def test_our_form_starts_near_the_picture_and_its_speech_vector_hears_the_context():
    module, variables, picture, sound, apply = _made(4, **OURS)
    video = np.asarray(apply(sound))
    assert np.abs(video - np.asarray(picture)[:, None]).mean() < np.abs(picture).mean()
    assert module.reach == module.video_reach + 6  # two blocks of 5 frames, two layers of 5 columns
    # With the audio encoder's path cut, the first frame still hears the context's first column.
    cut = jax.tree.map(lambda x: x, variables)
    cut["params"]["fusion"]["layer_1"]["conv"]["kernel"] = (
        cut["params"]["fusion"]["layer_1"]["conv"]["kernel"].at[:, :, :, 8:16].set(0.0)
    )
    play = fast_jit(lambda sound: module.apply(cut, picture, sound)[0])
    moved = np.abs(play(sound.at[:, 0].add(1.0)) - play(sound)).max(axis=(0, 2, 3, 4))
    assert moved[0] > 0


@pytest.mark.parametrize("norm", ["batch", "frame"])
def test_remat_keeps_less_and_changes_nothing(norm):
    plain, variables, picture, sound, _ = _made(8, norm=norm, residual_blocks=6)
    remat = plain.clone(remat=True)
    target = jax.random.uniform(jax.random.key(1), (1, 8, 16, 16, 3), minval=-1)
    init = functools.partial(remat.init, train=True)
    shapes = jax.eval_shape(init, jax.random.key(0), picture, sound)
    assert jax.tree.structure(variables) == jax.tree.structure(shapes)

    def loss(params, module):
        (video, _), changed = module.apply(
            {**variables, "params": params}, picture, sound, train=True, mutable=["batch_stats"]
        )
        return jnp.mean(jnp.square(video - target)), changed

    def kept(module):
        """Bytes that the forward pass hands to the way back."""
        back = jax.eval_shape(
            lambda params: jax.vjp(lambda p: loss(p, module)[0], params)[1], variables["params"]
        )
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(back))

    assert kept(remat) < 0.65 * kept(plain)
    found = [
        fast_jit(jax.value_and_grad(functools.partial(loss, module=module), has_aux=True))(
            variables["params"]
        )
        for module in (plain, remat)
    ]
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-6)
