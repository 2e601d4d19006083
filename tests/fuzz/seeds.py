# SPDX-License-Identifier: Apache-2.0
"""Real files to damage: made on the spot, of every format and kind of folder that is read."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image
from synthetic import make_clip
from talking import write_talk

from lipjax.media.audio import Sound, read_sound, write_wav
from lipjax.media.video import read_video


@dataclasses.dataclass(frozen=True)
class Seed:
    """A file, or a folder in which one file is damaged.

    Attributes:
        reader: name in `readers.READERS`.
        path: the file or the folder.
        part: name of the file to damage within a folder, "" for a file.
        kind: "media" has header and payload, "header" and "payload" are all the one, "records"
            are shards whose records are damaged and packed anew.
    """

    reader: str
    path: Path
    part: str = ""
    kind: str = "media"


def face(folder: Path) -> Path:
    """A talking face: of the built-in corpus where its voice is installed, else a drawing."""
    path = folder / "face.mp4"
    try:
        from lipjax.data.babble import make_babble
        from lipjax.errors import ConfigError

        made = folder / "babble"
        make_babble(made, speakers=1, sentences_per_speaker=1, size=(96, 96))
        source = next(made.rglob("*.mp4"))
        source.rename(path)
        source.with_name(f"{source.stem}.landmarks.npy").rename(folder / "face.landmarks.npy")
    except (ImportError, ConfigError):
        write_talk(path, frames=40)
    return path


def media(folder: Path) -> list[Seed]:
    """Videos, sounds and pictures of one face in many formats."""
    folder.mkdir()
    mp4 = face(folder)
    frames = [frame.image for frame in read_video(mp4)][:40]
    sound = read_sound(mp4)
    short = Sound(sound.samples[: sound.rate], sound.rate)
    films = {
        "mkv": ("libx264", "aac", frames),
        "mpg": ("mpeg1video", "mp2", frames),
        "avi": ("mpeg4", "libmp3lame", frames),
        "webm": ("libvpx", "libopus", frames[:12]),
        "ts": ("libx264", "aac", frames),
        "flv": ("flv1", "aac", frames),
        "mov": ("mjpeg", "pcm_s16le", frames[:15]),
    }
    seeds = [Seed("video", mp4), Seed("sound", mp4)]
    for ending, (codec, voice, shown) in films.items():
        path = encode(folder / f"film.{ending}", codec, voice, shown, short)
        seeds += [Seed("video", path), Seed("sound", path)]
    pictures = [Image.fromarray(frame) for frame in frames[:4]]
    for ending in ("png", "jpg", "gif", "webp", "bmp", "tiff"):
        path = folder / f"picture.{ending}"
        more = {"save_all": True, "append_images": pictures[1:]} if ending == "gif" else {}
        pictures[0].save(path, **more)
        seeds.append(Seed("picture", path))
    seeds.append(Seed("video", folder / "picture.gif"))
    write_wav(folder / "sound.wav", short)
    seeds.append(Seed("sound", folder / "sound.wav"))
    for ending, voice in (("flac", "flac"), ("ogg", "libopus"), ("mp3", "libmp3lame")):
        seeds.append(Seed("sound", encode(folder / f"sound.{ending}", None, voice, [], short)))
    around = encode(folder / "around.mp4", None, "aac", [], short, layout="7.1")
    return [*seeds, Seed("sound", around)]


def encode(
    path: Path, codec: str | None, voice: str, frames: list, sound: Sound, layout: str = "mono"
) -> Path:
    """Writes pictures and sound in a format and by codecs of choice."""
    with av.open(str(path), "w") as output:
        if codec:
            picture = output.add_stream(codec, rate=25)
            picture.height, picture.width = frames[0].shape[:2]
            picture.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        rate = 48_000 if voice == "libopus" else 44_100
        heard = output.add_stream(voice, rate=rate, layout=layout)
        for image in frames if codec else []:
            output.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        if codec:
            output.mux(picture.encode())
        resampler = av.AudioResampler(
            format=heard.codec_context.format,
            layout=layout,
            rate=rate,
            frame_size=heard.codec_context.frame_size or 1024,
        )
        whole = av.AudioFrame.from_ndarray(sound.samples[None], format="s16", layout="mono")
        whole.sample_rate = sound.rate
        for frame in [*resampler.resample(whole), *resampler.resample(None)]:
            output.mux(heard.encode(frame))
        output.mux(heard.encode())
    return path


def talks(folder: Path) -> list[Seed]:
    """A video beside its landmarks, as prepare finds them."""
    folder.mkdir()
    write_talk(folder / "one.mp4", frames=30)
    shutil.copytree(folder, folder.with_name("landmarks"))
    return [
        Seed("talk", folder, "one.mp4"),
        Seed("talk", folder, "one.landmarks.npy"),
        Seed("landmarks", folder.with_name("landmarks") / "one.landmarks.npy"),
    ]


_TEXTS = {
    "bbaf2n.align": "0 12500 sil\n12500 20000 bin\n20000 26000 blue\n26000 75000 sil\n",
    "one.spans.json": json.dumps([["word", "bin", 0.5, 0.8], ["phone", "b", 0.5, 0.6]]),
    "one.txt": "Text: bin blue at f two now\nConf: 4\n",
    "ABOUT/train/ABOUT_00001.txt": "Disk reference: 1\nDuration: 0.40 seconds\n",
    "speakers.csv": "path,speaker\nanna/one,Anna\nbob/one.mp4,Bob\n",
    "pairs.csv": "face,audio,out,face_kind\na.png,b.wav,c.mp4,mouth\n",
    "metrics.jsonl": '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": null, "eval/l1": 1e-3}\n',
}


def texts(folder: Path) -> list[Seed]:
    """Texts beside videos and of workdirs, each in a folder of its own."""
    seeds = []
    for name, text in _TEXTS.items():
        own = folder / name.replace(".", "-").replace("/", "-")
        beside = ["anna/one", "bob/one"] if name == "speakers.csv" else [name.split(".")[0]]
        for video in beside:
            (own / video).parent.mkdir(parents=True, exist_ok=True)
            (own / f"{video}.mp4").write_bytes(b"x")
        (own / name).write_text(text)
        seeds.append(Seed("beside", own, name, "header"))
    return seeds


def corpora(folder: Path) -> list[Seed]:
    """A tiny corpus with flow derived from it, and one with pictures of every clip."""
    from lipjax.data.derive import derive
    from lipjax.data.prepare.pack import CorpusWriter

    folder.mkdir()
    writer = CorpusWriter(folder)
    plan = {"train": ("s1-a", "s2-a", "s1-b", "s2-b"), "val": ("s1-c",), "test": ("s3-a",)}
    for split, names in plan.items():
        for number, name in enumerate(names):
            clip = make_clip(
                name, speaker=name[:2], sentence=name[-1], frames=12, mouth_size=16, seed=number
            )
            writer.add(split, clip)
    writer.close({"settings": {"fps": 25.0, "mouth_size": 16, "margin": 1.5}})
    derive("flow", folder, size=16, processes=0, show=None)
    shards = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.array_record-*"))
    small = ("corpus.json", "index-train.npz", "index-val.npz", "features.json")
    small += ("dataset_info.json", "derived/flow/derived.json", "derived/flow/features.json")
    seeds = [Seed("corpus", folder, name, "header") for name in small]
    seeds += [Seed("batches", folder, name, "header") for name in small[:2]]
    for shard in shards:
        seeds += [Seed("corpus", folder, shard, kind) for kind in ("shard", "records", "records")]
    train = next(shard for shard in shards if "train" in shard and "/" not in shard)
    seeds += [Seed("batches", folder, train, kind) for kind in ("shard", "records", "records")]
    return seeds


def checkpoints(folder: Path) -> list[Seed]:
    """A trained workdir with a small network: description and one checkpoint."""
    import jax
    import jax.numpy as jnp

    from lipjax.media.log_mel import LogMel
    from lipjax.models.at_a_glance import Generator
    from lipjax.models.map_sizes import strides_for
    from lipjax.state import State
    from lipjax.training.checkpoints import Checkpoints

    fields = {
        "kind": "at_a_glance",
        **{"identity_widths": [4, 4, 8], "audio_widths": [4, 4, 4, 4, 8], "fusion_width": 8},
        **{"residual_blocks": 1, "decoder_widths": [4, 4], "final_kernel": [1, 3, 3]},
    }
    widths = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k != "kind"}
    network = Generator(size=64, bands=128, **strides_for(64, 128), **widths)
    shapes = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 4 * 16, 128))
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), *shapes, train=False))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), variables
    )
    state = State.create(
        key=jax.random.key(0),
        params={"generator": variables["params"]},
        stats={"generator": variables.get("batch_stats", {})},
        opt={},
        ema=("generator",),
    )
    manager = Checkpoints(folder / "checkpoints")
    manager.save(3, state, loop={"step": 3}, metric=0.5)
    manager.wait()
    manager.close()
    description = {
        **{"format": 2, "family": "at_a_glance", "schema_version": 1, "fps": 25.0, "frames": 16},
        **{"mouth_size": 64, "margin": 1.5, "network": fields, "corpora": ["x"]},
        "log_mel": dataclasses.asdict(LogMel()),
    }
    (folder / "model.json").write_text(json.dumps(description, indent=2))
    step = folder / "checkpoints" / "3"
    seeds = []
    files = sorted(p.relative_to(folder) for p in step.rglob("*") if p.is_file())
    parts = [file.as_posix() for file in files if file.parent.name == "d"]
    # The arrays lie in the largest files, behind the lists of what lies where.
    for name in sorted(parts, key=lambda part: -(folder / part).stat().st_size)[:4]:
        seeds += 4 * [Seed("checkpoint", folder, name, "payload")]
    for file in files:
        if file.parent.name != "d" and file.name != "commit_success.txt":
            seeds.append(Seed("checkpoint", folder, file.as_posix(), "header"))
    return [*seeds, *2 * [Seed("speaker", folder, "model.json", "header")]]


def real(shared: Path) -> Iterator[Seed]:
    """Recordings that may lie beside the checkout; never part of it."""
    for path in sorted(shared.glob("grid/s1/video/*.mpg"))[:3]:
        yield from (Seed("video", path), Seed("sound", path))
    for path in sorted(shared.glob("portrait/*.wav")):
        yield Seed("sound", path)
