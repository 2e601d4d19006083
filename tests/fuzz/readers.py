# SPDX-License-Identifier: Apache-2.0
"""Every reader of foreign bytes, each called as the library calls it, with limits set low.

A reader takes the damaged file (or the folder that holds it) and `mark`, which it calls with
"opened" once header or description were accepted, with "payload" for what was decoded after
that, and with "skipped" where something was left out and told.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

Mark = Callable[..., None]
MAX_PIXELS, MAX_SECONDS, MAX_BYTES = 2_000_000, 120.0, 100_000_000
_FRAMES = 400


def load(needs: str) -> None:
    """Imports what a group of readers needs."""
    import cv2
    import numpy as np

    from lipjax.media import audio, faces, image, video  # noqa: F401

    cv2.setNumThreads(1)
    audio.log_mel_of(np.zeros(48_000, np.float32), 48_000, audio.LogMel())
    if needs == "corpus":
        import array_record.python.array_record_data_source  # noqa: F401
        import grain  # noqa: F401
        import tensorflow_datasets as tfds

        from lipjax.data import derive, prepare, reading, windows  # noqa: F401

        tfds.features.FeaturesDict({"a": tfds.features.Text()})
    if needs == "checkpoint":
        import jax

        from lipjax import build, jobs  # noqa: F401

        jax.numpy.zeros(1).block_until_ready()


def video(path: Path, mark: Mark) -> None:
    """Facts and frames of a video."""
    from lipjax.media.containers import opened
    from lipjax.media.video import probe, read_video

    limits = {"max_pixels": MAX_PIXELS, "max_seconds": MAX_SECONDS}
    with opened(path, max_pixels=MAX_PIXELS):
        mark("opened")
    probe(path, **limits)
    for frame in itertools.islice(read_video(path, fps=25, **limits), _FRAMES):
        assert frame.image.ndim == 3 and frame.image.dtype.name == "uint8"
        mark("payload")


def sound(path: Path, mark: Mark) -> None:
    """The sound of a sound or video file, and its feature."""
    from lipjax.media.audio import LogMel, level_gain, log_mel_of, read_sound, speech_level
    from lipjax.media.containers import opened

    with opened(path):
        mark("opened")
    heard = read_sound(path, max_seconds=MAX_SECONDS)
    mark("payload", len(heard.samples))
    samples = heard.between(heard.start, min(heard.end, heard.start + 5.0))
    gain = level_gain(speech_level(samples / 32768.0, heard.rate), LogMel())
    log_mel_of(samples, heard.rate, LogMel(), gain=gain)


def picture(path: Path, mark: Mark) -> None:
    """A picture, and faces looked for in it by a landmark file that does not fit."""
    from PIL import Image

    from lipjax.media.image import read_image

    try:
        with Image.open(path):
            mark("opened")
    except Exception:  # noqa: BLE001 - read_image says what is wrong
        pass
    image = read_image(path, max_pixels=MAX_PIXELS)
    assert image.ndim == 3 and image.shape[2] == 3
    mark("payload")


def landmarks(path: Path, mark: Mark) -> None:
    """A landmark file, and the crops that it makes."""
    import numpy as np

    from lipjax.media import crops
    from lipjax.media.faces import load_backend
    from lipjax.media.tracking import track

    backend = load_backend("files", video=path.with_name(path.name.split(".")[0] + ".mp4"))
    mark("opened")
    image = np.zeros((144, 160, 3), np.uint8)
    followed = track(((image, n, n / 25) for n in range(40)), backend)
    transforms = crops.mouth_transforms(followed.landmarks, followed.status, size=32)
    crops.fixed_box(followed.landmarks, followed.status, 160, 144)
    for transform in transforms[::8]:
        crops.warp(image, transform, 32)
    mark("payload", int((followed.status != 0).sum()))


def talk(path: Path, mark: Mark) -> None:
    """Prepare of one video with its landmarks, up to the staged file."""
    from lipjax.data import corpora
    from lipjax.data.prepare import PrepareSettings, clips, staging

    source = corpora.scan(path.parent).sources[0]
    settings = PrepareSettings(
        mouth_size=32, max_pixels=MAX_PIXELS, max_video_seconds=20.0, landmarks="files"
    )
    folder = path.parent / "staged"
    folder.mkdir()
    facts = clips.stage(source, lambda n: None, root=path.parent, settings=settings, folder=folder)
    if "duration" in facts:
        mark("opened")
    if facts["reason"]:
        mark("skipped")
    for position, row in enumerate(staging.staged_facts(next(folder.iterdir()))["clips"]):
        mark("payload", len(staging.staged_clip(next(folder.iterdir()), position, row).mouth))


def beside(path: Path, mark: Mark) -> None:
    """What lies beside videos: alignments, spans, sentences, speakers, pairs, curves."""
    from lipjax.data import corpora
    from lipjax.generation.pairs import read_pairs
    from lipjax.training.logging import read_metrics

    if path.name == "pairs.csv":
        mark("payload", len(read_pairs(path)))
    elif path.name == "metrics.jsonl":
        mark("payload", len(read_metrics(path)))
    else:
        layout = "grid" if path.suffix == ".align" else "folder"
        layout = "lrw" if path.name.startswith("ABOUT") else layout
        found = corpora.scan(path.parent, layout)
        told = [x for s in found.sources for x in (*s.spans, s.sentence, s.speaker) if x]
        mark("payload", len(told))
        if found.notes:
            mark("skipped")
        for source in found.sources:
            (source.speaker + source.sentence + source.id).encode()
            assert len(source.id.encode()) < 200 and "/" not in source.id
    mark("opened")


def corpus(path: Path, mark: Mark) -> None:
    """A corpus: description, index, every record, pictures within it, features and flow."""
    from lipjax.data.reading import open_corpus
    from lipjax.data.views import clip_log_mel
    from lipjax.errors import CorpusError
    from lipjax.media.audio import LogMel

    opened = open_corpus(path)
    for split in opened.splits:
        opened.index(split)
    mark("opened")
    for split in opened.splits:
        clips = opened.clips(split)
        side = opened.derived("flow", split)
        for position in range(min(len(clips), 12)):
            try:
                clip = clips[position]
                mark("payload")
                clip.frame(0)
                clip_log_mel(clip, LogMel())
                clip.mouth_landmarks()
                clip.mouth_width()
            except CorpusError:
                mark("skipped")
            try:
                side[position]
            except CorpusError:
                mark("skipped")


def batches(path: Path, mark: Mark) -> None:
    """Batches for training out of a corpus."""
    from lipjax.data.reading import open_corpus
    from lipjax.data.views import Streams, View
    from lipjax.data.windows import Windows
    from lipjax.media.audio import LogMel

    opened = open_corpus(path)
    mark("opened")
    inputs = {
        "video": View("mouth", 8),
        "log_mel": View("log_mel", 8),
        "landmarks": View("landmarks", 8),
        "flow": View("flow", 7),
    }
    streams = Streams(mouth_size=16, log_mel=LogMel(), fps=25.0)
    windows = Windows([opened], inputs, split="train", streams=streams, batch_size=4)
    for step in range(3):
        windows.batch(step)
        mark("payload")


def checkpoint(path: Path, mark: Mark) -> None:
    """A trained workdir: what generate loads of it."""
    from lipjax import build
    from lipjax.training.checkpoints import find_checkpoint, load_params

    build.speaker_of(build.load_description(path))
    find_checkpoint(path)
    mark("opened")
    loaded = load_params(path)
    mark("payload", len(loaded["params"]))


def speaker(path: Path, mark: Mark) -> None:
    """The same, up to a system that is ready to talk."""
    from lipjax.jobs import load_speaker

    load_speaker(path)
    mark("opened")
    mark("payload")


def planted(path: Path, mark: Mark) -> None:
    """Does what no reader may, as the file says: the harness must notice each."""
    import os
    import time

    from lipjax.errors import MediaError

    kind = path.read_text()
    mark("opened")
    if kind == "ours":
        raise MediaError("refused")
    if kind == "foreign":
        raise KeyError("bug")
    if kind == "crash":
        os.abort()
    if kind == "exit":
        os._exit(0)
    if kind == "hang":
        time.sleep(1000)
    if kind == "memory":
        len(bytearray(os.urandom(1)) * 600_000_000)
    if kind == "refused memory":
        try:
            bytearray(1 << 34)
        except MemoryError as error:
            raise MediaError("damaged") from error
    mark("payload")


READERS: dict[str, Callable[[Path, Mark], None]] = {
    f.__name__: f
    for f in (
        *(video, sound, picture, landmarks, talk, beside),
        *(corpus, batches, checkpoint, speaker, planted),
    )
}
NEEDS = {"corpus": "corpus", "batches": "corpus", "talk": "corpus", "beside": "checkpoint"}
NEEDS |= {"checkpoint": "checkpoint", "speaker": "checkpoint"}
