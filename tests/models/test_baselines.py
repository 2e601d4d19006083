# SPDX-License-Identifier: Apache-2.0
"""The baselines of Table 3: layers as released, what they listen to, how frames are laid out."""

import functools
import runpy
from pathlib import Path

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lipjax.errors import ConfigError
from lipjax.models.baselines import ChungGenerator, frames_of_channels
from lipjax.models.contract import SpeechGenerator
from lipjax.models.discriminators import SoundStream
from lipjax.models.vondrick import VondrickGenerator, vondrick_discriminator

_count = runpy.run_path(str(Path(__file__).with_name("layer_table.py")))["count"]
TABLE = runpy.run_path(str(Path(__file__).with_name("baseline_layers.py")))
fast_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SOUND = {"bands": 16, "audio_widths": (3, 4, 4, 4), "audio_features": 6}
CHUNG = ChungGenerator(
    size=32,
    **SOUND,
    picture_widths=(4, 5, 5, 6, 5, 4),
    picture_features=(6, 5),
    joint_features=7,
    decoder_widths=(6, 5, 5, 5, 4, 4, 4),
)
VONDRICK = VondrickGenerator(
    size=32, **SOUND, noise=5, foreground_widths=(6, 5, 4, 4, 3), background_widths=(6, 5, 4, 4, 3)
)
BOTH = pytest.mark.parametrize("module", [CHUNG, VONDRICK], ids=["chung", "vondrick"])


def _shapes(module, batch=1, columns=64):
    picture = jnp.zeros((batch, module.size, module.size, 3))
    sound = jnp.zeros((batch, columns, module.bands))
    return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), picture, sound))


def _same_layers(params, rows) -> None:
    """Every parameter belongs to a row of the table and every row has as many as it says."""
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    found = dict.fromkeys((row[0] for row in rows), 0)
    for path, x in flat.items():
        # A norm behind a sound stream's linear layer is a layer of its own among the parameters.
        (layer,) = (name for name in found if path.startswith((f"{name}/", f"{name}_norm/")))
        found[layer] += x.size
    assert found == {row[0]: _count(row) for row in rows}


def test_chung_has_the_released_layers():
    (video, _), variables = _shapes(ChungGenerator())
    assert video.shape == (1, 16, 64, 64, 3) and video.dtype == jnp.float32
    _same_layers(variables["params"], TABLE["CHUNG"])
    counted = sum(x.size for x in jax.tree.leaves(variables["params"]))
    unused = sum(map(_count, TABLE["CHUNG_UNUSED"]))
    assert unused == 299_136 and counted + unused == TABLE["CHUNG_TOTAL"]


def test_vondrick_has_the_released_layers():
    (video, between), variables = _shapes(VondrickGenerator())
    assert video.shape == (1, 16, 64, 64, 3)
    assert between["mask"].shape == (1, 16, 64, 64, 1)
    assert between["background"].shape == (1, 64, 64, 3)
    _same_layers(variables["params"], TABLE["VONDRICK"])
    counted = sum(x.size for x in jax.tree.leaves(variables["params"]))
    assert counted == TABLE["VONDRICK_TOTAL"]


def test_vondricks_discriminator_has_the_released_layers():
    module = vondrick_discriminator()
    video = {"video": jnp.zeros((2, 16, 64, 64, 3))}
    logits, variables = jax.eval_shape(
        lambda: module.init_with_output(jax.random.key(0), jnp.zeros((2, 64, 128)), video)
    )
    assert logits.shape == (2,)
    _same_layers(variables["params"], TABLE["VONDRICK_JUDGE"])
    counted = sum(x.size for x in jax.tree.leaves(variables["params"]))
    assert counted == TABLE["VONDRICK_JUDGE_TOTAL"]


@pytest.mark.parametrize("kind", [CHUNG, VONDRICK], ids=["chung", "vondrick"])
@pytest.mark.parametrize("size", [32, 64, 96, 128])
def test_larger_pictures_and_the_contract(kind, size):
    module = kind.clone(size=size)
    assert isinstance(module, SpeechGenerator)
    assert (module.frames, module.columns_per_frame, module.audio_context) == (16, 4, 0)
    assert module.reach == module.margin == 0
    assert _shapes(module, batch=3)[0][0].shape == (3, 16, size, size, 3)


@functools.cache
def _made(module):
    """Variables of unlike values, a picture and a sound for two clips, and a jitted apply."""
    rng = np.random.default_rng(3)
    picture = rng.uniform(-1, 1, (2, module.size, module.size, 3)).astype(np.float32)
    sound = rng.uniform(-1, 1, (2, 64, module.bands)).astype(np.float32)

    def value(path, leaf):
        values = rng.normal(size=leaf.shape).astype(np.float32)
        if path[-1].key in ("scale", "var"):
            return 1 + 0.2 * np.abs(values)
        return values * (0.1 if leaf.ndim == 1 else 1.5 * np.prod(leaf.shape[:-1]) ** -0.5)

    variables = jax.tree_util.tree_map_with_path(value, _shapes(module)[1])

    @fast_jit
    def run(variables, picture, sound, key=None):
        return module.apply(variables, picture, sound, rngs=None if key is None else {"noise": key})

    return variables, jnp.asarray(picture), jnp.asarray(sound), run


@BOTH
def test_the_sound_moves_every_frame(module):
    variables, picture, sound, run = _made(module)
    apply = functools.partial(run, variables)
    video, _ = apply(picture, sound)
    assert np.all(np.abs(video) <= 1) and video.std() > 0.02
    changed, _ = apply(picture, sound[::-1])
    assert np.all(np.abs(video - changed).max(axis=(2, 3, 4)) > 1e-3)
    # Each clip stands alone: the other one's sound does not matter.
    sound_of_first = np.stack([sound[0], sound[0]])
    np.testing.assert_allclose(apply(picture, sound_of_first)[0][0], video[0], atol=1e-6)


def test_chung_paints_the_picture_and_vondrick_does_not_see_it():
    variables, picture, sound, run = _made(CHUNG)
    apply = functools.partial(run, variables)
    assert np.abs(apply(picture, sound)[0] - apply(picture[::-1], sound)[0]).max() > 1e-2
    variables, picture, sound, run = _made(VONDRICK)
    apply = functools.partial(run, variables)
    np.testing.assert_array_equal(apply(picture, sound)[0], apply(picture[::-1], sound)[0])


def test_channel_becomes_frame_and_colour():
    # One pixel: channel c has the value c, colour by colour, 16 frames each.
    video = frames_of_channels(jnp.arange(48.0).reshape(1, 1, 1, 48), 16)
    assert video.shape == (1, 16, 1, 1, 3)
    np.testing.assert_array_equal(video[0, 0, 0, 0], [0, 16, 32])
    np.testing.assert_array_equal(video[0, 5, 0, 0], [5, 21, 37])
    np.testing.assert_array_equal(video[0, 15, 0, 0], [15, 31, 47])


def test_chungs_last_layer_makes_the_frames():
    variables, picture, sound, run = _made(CHUNG)
    params = dict(variables["params"])
    colours = params["colours"]
    # Blind to everything, the last layer says channel 16 * 1 + 6: green of the seventh frame.
    params["colours"] = {
        "kernel": np.zeros_like(colours["kernel"]),
        "bias": np.eye(48, dtype=np.float32)[22],
    }
    video = np.asarray(run({**variables, "params": params}, picture, sound)[0])
    expected = np.zeros_like(video)
    expected[:, 6, :, :, 1] = np.tanh(1.0)
    np.testing.assert_allclose(video, expected, atol=1e-6)


def test_the_mask_shows_the_foreground_before_the_background():
    variables, picture, sound, run = _made(VONDRICK)
    video, parts = jax.tree.map(np.asarray, run(variables, picture, sound))
    mask, front, back = parts["mask"], parts["foreground"], parts["background"]
    assert 0 < mask.min() and mask.max() < 1 and mask.std() > 0.02
    assert np.abs(front - back[:, None]).max() > 0.1
    for clip, t, y, x, colour in [(0, 0, 0, 0, 0), (1, 7, 20, 3, 2), (0, 15, 31, 31, 1)]:
        m = mask[clip, t, y, x, 0]
        expected = m * front[clip, t, y, x, colour] + (1 - m) * back[clip, y, x, colour]
        assert video[clip, t, y, x, colour] == pytest.approx(expected, abs=1e-6)
    # Where the mask is one, every frame is the foreground; where it is zero, the still picture.
    for bias, expected in [(30.0, front), (-30.0, np.repeat(back[:, None], 16, axis=1))]:
        output = variables["params"]["mask_output"]
        output = {"kernel": np.zeros_like(output["kernel"]), "bias": np.float32([bias])}
        whole = {**variables, "params": {**variables["params"], "mask_output": output}}
        np.testing.assert_allclose(run(whole, picture, sound)[0], expected, atol=1e-6)


def test_noise_is_drawn_where_there_is_a_key_and_zero_without():
    variables, picture, sound, run = _made(VONDRICK)
    apply = functools.partial(run, variables)
    still, parts = apply(picture, sound)
    assert not np.any(parts["noise"])
    first, parts = apply(picture, sound, jax.random.key(1))
    again, _ = apply(picture, sound, jax.random.key(1))
    other, _ = apply(picture, sound, jax.random.key(2))
    assert np.unique(parts["noise"]).size == 2 * VONDRICK.noise  # each clip its own
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3 and np.abs(first - still).max() > 1e-3


@BOTH
@pytest.mark.parametrize("norm", ["batch", "frame"])
def test_everything_learns(module, norm):
    module = module.clone(norm=norm)
    _, picture, sound, _ = _made(module)
    if norm == "frame":
        picture, sound = picture[:1], sound[:1]
    variables = fast_jit(module.init)(jax.random.key(0), picture, sound)
    assert ("batch_stats" in variables) == (norm == "batch")

    @fast_jit
    def gradient(params):
        def loss(params):
            (video, _), _ = module.apply(
                variables | {"params": params},
                picture,
                sound,
                train=True,
                mutable=["batch_stats"],
                rngs={"noise": jax.random.key(4)},
            )
            return jnp.mean(jnp.square(video - 0.5))

        return jax.grad(loss)(params)

    gradients = gradient(variables["params"])
    flat = flax.traverse_util.flatten_dict(gradients, sep="/")
    assert all(np.all(np.isfinite(x)) for x in flat.values())
    # A bias that a group norm of all channels takes away again may be still.
    still = [name for name, x in flat.items() if not np.any(x) and not name.endswith("conv/bias")]
    assert not still


def test_the_outer_taps_of_chungs_first_deconvolution_are_cut_off():
    variables, picture, sound, run = _made(CHUNG)
    kernel = variables["params"]["deconv_1"]["conv"]["kernel"]
    assert kernel.shape[:2] == (3, 3)  # the encoder's last map is 1x1 here; 5x5 at 64 px

    def video(taps):
        layer = {**variables["params"]["deconv_1"], "conv": {"kernel": taps}}
        params = {**variables["params"], "deconv_1": layer}
        return run({**variables, "params": params}, picture, sound)[0]

    inner = np.zeros_like(kernel)
    inner[1, 1] = kernel[1, 1]
    np.testing.assert_array_equal(video(kernel), video(inner))
    assert np.abs(video(kernel) - video(2 * kernel)).max() > 1e-4


def test_a_discriminator_without_a_joint_layer_hears_and_sees():
    sound_stream = SoundStream(features=6, widths=(3, 4, 4, 4), norm="frame")
    module = vondrick_discriminator(sound_stream, (3, 4, 5, 6), norm="frame")
    rng = np.random.default_rng(5)
    sound = rng.uniform(-1, 1, (2, 64, 16)).astype(np.float32)
    video = rng.uniform(-1, 1, (2, 16, 64, 64, 3)).astype(np.float32)
    variables = fast_jit(lambda s, v: module.init(jax.random.key(0), s, {"video": v}))(sound, video)
    kernel = variables["params"]["logit"]["kernel"]
    assert kernel.shape == (2, 4, 4, 6 + 6, 1)
    apply = fast_jit(lambda v, s, x: module.apply(v, s, {"video": x}, train=True))
    logits = apply(variables, sound, video)
    assert logits.shape == (2,)
    assert np.all(np.abs(logits - apply(variables, sound[::-1], video)) > 1e-4)
    assert np.all(np.abs(logits - apply(variables, sound, video[::-1])) > 1e-4)
    np.testing.assert_allclose(logits[:1], apply(variables, sound[:1], video[:1]), atol=1e-5)
    # The last channels are the sound's vector, the same at all 2x4x4 places.
    blind = {"kernel": kernel.at[..., :6, :].set(0.0), "bias": jnp.zeros(1)}
    only = {"params": {**variables["params"], "logit": blind}}
    heard = apply(only, sound, video)
    vector = fast_jit(lambda p, s: sound_stream.apply({"params": p}, s, train=True))(
        variables["params"]["sound"], sound
    )
    expected = vector @ kernel[..., 6:, 0].sum(axis=(0, 1, 2))
    np.testing.assert_allclose(heard, expected, atol=1e-5)


@BOTH
def test_what_does_not_fit_is_named(module):
    with pytest.raises(ConfigError, match="68 columns.*16 frames from 64 columns"):
        _shapes(module, columns=68)
    with pytest.raises(ConfigError, match="pictures of 36 px: use a multiple of (8|16), as 32"):
        _shapes(module.clone(size=36))
    with pytest.raises(ConfigError, match="audio_widths has 3 entries, the layers need 4"):
        _shapes(module.clone(audio_widths=(4, 4, 4)))
    with pytest.raises(ConfigError, match="16x16, size is 32"):
        jax.eval_shape(
            module.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 64, 16))
        )
    with pytest.raises(ConfigError, match="80 bands, bands is 16"):
        picture = jnp.zeros((1, 32, 32, 3))
        jax.eval_shape(module.init, jax.random.key(0), picture, jnp.zeros((1, 64, 80)))


@BOTH
def test_both_forms_of_convolution_and_half_precision_agree(module):
    variables, picture, sound, run = _made(module)
    exact = run(variables, picture, sound)[0]
    for other, tolerance in [({"form": "lax"}, 1e-5), ({"dtype": jnp.bfloat16}, 0.1)]:
        same = module.clone(**other)
        video = fast_jit(lambda v, p, s, same=same: same.apply(v, p, s)[0])(
            variables, picture, sound
        )
        assert video.dtype == jnp.float32
        np.testing.assert_allclose(video, exact, atol=tolerance)
