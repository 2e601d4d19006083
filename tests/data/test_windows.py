# SPDX-License-Identifier: Apache-2.0
"""Windows are tested on clips whose pixels say which clip and frame they are."""

from pathlib import Path

import numpy as np
import pytest
from window_tools import AT_A_GLANCE, FRAMES, LOG_MEL, STREAMS, MemoryCorpus, make_clip

from lipjax.data.augment import Augment
from lipjax.data.views import View, clip_log_mel, cut_log_mel
from lipjax.data.windows import Windows
from lipjax.errors import ConfigError, CorpusError
from lipjax.media.audio import LogMel


def corpus(**kwargs) -> MemoryCorpus:
    return MemoryCorpus(Path("memory"), {"splits": {"train": {"clips": 4}}}, **kwargs)


def windows(inputs=AT_A_GLANCE, *, corpora=None, **kwargs) -> Windows:
    options = {"split": "train", "streams": STREAMS, "batch_size": 8, "seed": 3, **kwargs}
    return Windows(corpora or [corpus()], inputs, **options)


def test_at_a_glance_inputs_lie_where_the_table_says():
    made = windows()
    for step in range(20):
        batch = made.batch(step)
        assert batch["video"].shape == (8, 16, 16, 16, 3)
        assert batch["log_mel"].shape == (8, 64, 40)
        for video, picture, wrong in zip(
            batch["video"], batch["identity"], batch["wrong_video"], strict=True
        ):
            clip, frames = video[0, 0, 0, 0], video[:, 0, 0, 1].astype(int)
            assert clip != 3, "clip 3 is shorter than the window"
            np.testing.assert_array_equal(frames, np.arange(16) + frames[0])
            assert picture[0, 0, 0, 0] == clip
            if clip != 2 or frames[0] in (0, 9):  # 25 frames: not always room elsewhere
                assert picture[0, 0, 0, 1] not in frames
            assert wrong[0, 0, 0, 0] != clip


def test_sound_and_picture_of_a_window_share_one_clock():
    made = windows()
    batch = made.batch(0)
    for video, log_mel, wrong_video, wrong in zip(
        *(batch[n] for n in ("video", "log_mel", "wrong_video", "wrong_log_mel")), strict=True
    ):
        for pictures, feature in ((video, log_mel), (wrong_video, wrong)):
            number, start = int(pictures[0, 0, 0, 0]), int(pictures[0, 0, 0, 1])
            whole = clip_log_mel(make_clip(number, FRAMES[number], "x"), LOG_MEL)
            expected = cut_log_mel(whole, start / 25, (start + 16) / 25, LOG_MEL)
            np.testing.assert_array_equal(feature, expected)


def test_pairs_of_frames_and_same_clip_negative():
    inputs = {
        "first": View("mouth", 1),
        "second": View("mouth", 1, offset=4),
        "log_mel": View("log_mel", 5),
        "negative": View("mouth", 5, where="same_clip"),
    }
    batch = windows(inputs).batch(5)
    for first, second, negative in zip(
        batch["first"], batch["second"], batch["negative"], strict=True
    ):
        start = int(first[0, 0, 0, 1])
        assert second[0, 0, 0, 1] == start + 4
        assert negative[0, 0, 0, 0] == first[0, 0, 0, 0]
        apart = abs(int(negative[0, 0, 0, 1]) - start)
        assert apart >= 5


def test_same_speaker_is_another_clip_of_that_speaker_or_else_this_clip():
    inputs = {"video": View("mouth", 8), "other": View("mouth", 2, where="same_speaker")}
    seen = set()
    for step in range(10):
        batch = windows(inputs).batch(step)
        pairs = zip(batch["video"][:, 0, 0, 0, 0], batch["other"][:, 0, 0, 0, 0], strict=True)
        seen |= {(int(a), int(b)) for a, b in pairs}
    assert seen == {(0, 1), (1, 0), (2, 3), (3, 2)}


def test_batch_is_a_pure_function_of_seed_and_step():
    made = windows()
    again = windows()
    for name, value in made.batch(11).items():
        np.testing.assert_array_equal(value, again.batch(11)[name])
    assert not np.array_equal(made.batch(11)["video"], windows(seed=4).batch(11)["video"])
    stream = made.iterate(start=10)
    next(stream)
    np.testing.assert_array_equal(next(stream)["video"], again.batch(11)["video"])


@pytest.mark.parametrize("count", [1, 2])
def test_worker_processes_make_the_same_batches(count):
    stream = windows(workers=count, augment=Augment(flip=0.5, hiss=0.1)).iterate(start=5)
    alone = windows(augment=Augment(flip=0.5, hiss=0.1))
    try:
        for step in range(5, 9):
            batch = next(stream)
            for name, value in alone.batch(step).items():
                np.testing.assert_array_equal(batch[name], value)
    finally:
        stream.close()


def test_processes_share_the_same_global_batch():
    whole = windows().batch(6)["video"]
    parts = [windows(process=(i, 2)).batch(6)["video"] for i in range(2)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_every_window_comes_once_per_pass_and_all_clips_are_mixed():
    made = windows(batch_size=1)
    assert made.num_windows == sum(n - 15 for n in FRAMES if n >= 16)
    starts = [made.batch(i)["video"][0, 0, 0, 0, :2] for i in range(made.num_windows)]
    assert len({tuple(s) for s in starts}) == made.num_windows
    assert len({s[0] for s in starts[:12]}) == 3


def test_weights_mix_corpora():
    made = windows(corpora=[corpus(), corpus(offset=100)], weights=[0.8, 0.2], batch_size=50)
    clips = np.concatenate([made.batch(i)["video"][:, 0, 0, 0, 0] for i in range(4)])
    assert abs(np.mean(clips < 100) - 0.8) < 0.06


def test_a_bad_record_is_replaced_by_the_same_draw_every_time():
    broken = [corpus(broken=(1,))]
    made = windows({"video": View("mouth", 16)}, corpora=broken)
    clips = np.concatenate([made.batch(i)["video"][:, 0, 0, 0, 0] for i in range(5)])
    assert set(clips) == {0, 2}
    assert made.skipped == 1
    again = windows({"video": View("mouth", 16)}, corpora=broken)
    np.testing.assert_array_equal(made.batch(2)["video"], again.batch(2)["video"])
    with pytest.raises(CorpusError, match="in a row"):
        windows({"video": View("mouth", 16)}, corpora=[corpus(broken=(0, 1, 2))]).batch(0)


def test_examples_are_fixed_and_do_not_overlap():
    made = windows(batch_size=3)
    batches = made.examples(100)
    starts = np.concatenate([b["video"][:, 0, 0, 0, :2] for b in batches])
    assert [tuple(s) for s in starts] == [(0, 0), (1, 0), (1, 16), (2, 0)]
    np.testing.assert_array_equal(made.examples(100)[0]["identity"], batches[0]["identity"])


def test_augmentation_is_one_change_per_clip():
    made = windows(augment=Augment(brightness=0.3), batch_size=1)
    for step in range(10):
        batch = made.batch(step)
        shift = batch["video"][0, :, 0, 0, 2].astype(int)
        assert len(set(shift)) == 1
        assert batch["identity"][0, 0, 0, 0, 2] == shift[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"split": "tset"}, "no split 'tset'"),
        ({"inputs": {"video": View("mouth", 60)}}, "none of its 4 clips has 60 frames"),
        ({"inputs": {"video": View("mouth", 6, where="other_clip")}}, "window"),
        ({"process": (0, 3)}, "does not divide"),
        ({"weights": [1.0, 2.0]}, "2 weights for 1 corpora"),
    ],
)
def test_what_cannot_work_is_said_at_once(change, says):
    with pytest.raises((ConfigError, CorpusError), match=says):
        windows(**{"inputs": AT_A_GLANCE, **change})


def test_wrong_names_of_views():
    with pytest.raises(ConfigError, match="did you mean 'mouth'"):
        View("mouht", 3)
    with pytest.raises(ConfigError, match="did you mean 'other_clip'"):
        View("mouth", 3, where="otherclip")


def test_a_rate_above_the_corpus_is_refused():
    with pytest.raises(ConfigError, match="44100"):
        clip_log_mel(make_clip(0, 20, "x"), LogMel(rate=44_100, hop=441))
