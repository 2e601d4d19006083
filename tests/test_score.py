# SPDX-License-Identifier: Apache-2.0
"""Scoring folders of videos, with drawn faces whose landmarks lie beside the real videos."""

import json

import numpy as np
import pytest
from synthetic import make_clip

from lipjax import score
from lipjax.errors import ConfigError
from lipjax.evaluation import rows
from lipjax.media.audio import Sound
from lipjax.media.video import write_video


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two speakers, one video each; generated: a copy at twice the size, and a still."""
    root = tmp_path_factory.mktemp("score")
    for seed, speaker in enumerate(("a", "b")):
        clip = make_clip(speaker=speaker, seed=seed, frames=40)
        frames = [clip.frame(t) for t in range(40)]
        made = (
            [frame.repeat(2, 0).repeat(2, 1) for frame in frames] if seed == 0 else frames[:1] * 39
        )
        for folder in ("real", "made"):
            (root / folder / speaker).mkdir(parents=True)
        sound = Sound(clip.sound, clip.sound_rate, clip.sound_start)
        write_video(root / "real" / speaker / "talk.mp4", frames, sound=sound)
        np.save(root / "real" / speaker / "talk.landmarks.npy", clip.landmarks)
        write_video(root / "made" / speaker / "talk.mp4", made)
    write_video(root / "made" / "stray.mp4", frames)
    return root


def test_a_copy_scores_high_and_a_still_does_not(folders):
    lines = []
    made, real = folders / "made", folders / "real"
    evaluation = score.score_folders(made, real, processes=0, show=lines.append)
    copy, still = (clip.rows[rows.MODEL] for clip in evaluation.clips)
    assert [clip.speaker for clip in evaluation.clips] == ["a", "b"]
    assert copy["psnr"]["all"] > still["psnr"]["all"] + 5
    assert copy["lmd"]["all"] < 0.5 * still["lmd"]["all"]
    assert copy["r"]["all"] > 0.9
    assert rows.MODEL_WRONG not in evaluation.table and rows.LINEAR not in evaluation.table
    facts = json.loads((made / "score" / "evaluation.json").read_text())["facts"]
    assert facts["not_paired"] == ["stray"]
    assert (made / "score" / "report.html").exists()
    assert any("stray" in line for line in lines)


def test_too_short_and_unpaired_are_errors(folders, tmp_path):
    real = folders / "real"
    (tmp_path / "made" / "a").mkdir(parents=True)
    frames = [np.zeros((140, 160, 3), np.uint8)] * 20
    write_video(tmp_path / "made" / "a" / "talk.mp4", frames)
    with pytest.raises(ConfigError, match="20 frames shorter"):
        score.score_folders(tmp_path / "made", real, processes=0, show=lambda line: None)
    (tmp_path / "made" / "a" / "talk.mp4").rename(tmp_path / "made" / "a" / "talks.mp4")
    with pytest.raises(ConfigError, match="did you mean 'a/talk'"):
        score.score_folders(tmp_path / "made", real, processes=0, show=lambda line: None)
    with pytest.raises(ConfigError, match="no such folder"):
        score.score_folders(tmp_path / "nowhere", real)
