# SPDX-License-Identifier: Apache-2.0
"""lipjax: lip movements from speech and one picture, in JAX and Flax.

The names below are the library; each is imported when it is first used, so `import lipjax` costs
next to nothing. Everything else may change from one version to the next.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "lipjax.library": ("Talker", "load"),
    "lipjax.pretrained": ("installed_models",),
    "lipjax.data.babble.corpus": ("make_babble",),
    "lipjax.data.prepare.job": ("prepare",),
    "lipjax.data.prepare.settings": ("PrepareSettings",),
    "lipjax.config_files": ("load_config",),
    "lipjax.train": ("train_recipe",),
    "lipjax.jobs": ("evaluate_workdir",),
    "lipjax.training.logging": ("read_metrics",),
    "lipjax.models.at_a_glance": ("Generator",),
    "lipjax.models.baselines": ("ChungGenerator",),
    "lipjax.models.vondrick": ("VondrickGenerator",),
    "lipjax.models.discriminators": ("Discriminator", "SoundStream", "VideoStream"),
    "lipjax.models.optical_flow": ("FlowNet",),
    "lipjax.models.correlation": ("FlowEncoder", "SpeechDerivativeEncoder"),
    "lipjax.models.perceptual": ("PerceptualAutoencoder", "PerceptualEncoder"),
    "lipjax.models.map_sizes": ("strides_for",),
    "lipjax.nn.log_mel": ("log_mel",),
    "lipjax.media.log_mel": ("LogMel",),
    "lipjax.media.audio": ("Sound", "read_sound"),
    "lipjax.media.image": ("read_image",),
    "lipjax.media.video_writing": ("write_video",),
    "lipjax.media.optical_flow": ("farneback", "flow_picture"),
    "lipjax.media.draw": ("contact_sheet",),
    "lipjax.data.reading": ("Corpus", "open_corpus"),
    "lipjax.data.views": ("Streams", "View"),
    "lipjax.data.windows": ("Windows",),
    "lipjax.tasks.at_a_glance": ("GeneratorTask",),
    "lipjax.speakers.at_a_glance": ("AtAGlanceSpeaker",),
    "lipjax.speakers.chunks": ("speak",),
    "lipjax.speakers.stream": ("stream",),
    "lipjax.metrics.image": ("psnr", "ssim"),
    "lipjax.metrics.cpbd": ("cpbd",),
    "lipjax.metrics.landmarks": ("lmd",),
    "lipjax.errors": ("ConfigError", "CorpusError", "LipjaxError", "MediaError"),
}
"""Module -> its public names; `__init__.pyi` tells the same to type checkers."""
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lipjax' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
