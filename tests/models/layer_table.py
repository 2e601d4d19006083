# SPDX-License-Identifier: Apache-2.0
"""The layers of the authors' released networks, written down from their description.

A row is (parameters' path, input channels, output channels, taps, has a bias, has a batch norm).
Totals are those that were counted on the authors' own modules.
"""

import math

AUDIO = [
    ("audio_encoder/layer_1", 1, 32, (3, 3), False, True),
    ("audio_encoder/layer_2", 32, 64, (3, 3), False, True),
    ("audio_encoder/layer_3", 64, 128, (3, 3), False, True),
    ("audio_encoder/layer_4", 128, 256, (3, 3), False, True),
    ("audio_encoder/layer_5", 256, 256, (3, 3), False, True),
]
IDENTITY = [
    ("identity_encoder/layer_1", 3, 64, (7, 7), False, True),
    ("identity_encoder/layer_2", 64, 128, (3, 3), False, True),
    ("identity_encoder/layer_3", 128, 256, (3, 3), False, True),
]
FUSION = [("fusion/layer_1", 512, 256, (3, 3, 3), False, True)]
DECODER = [
    *[
        (f"decoder/residual_{block}/{half}", 256, 256, (1, 3, 3), False, True)
        for block in range(1, 10)
        for half in ("first", "second")
    ],
    ("decoder/deconv_1", 256, 128, (3, 3, 3), False, True),
    ("decoder/deconv_2", 128, 64, (3, 3, 3), False, True),
    ("decoder/colours", 64, 3, (7, 7, 7), True, False),
]
GENERATOR = {"audio": AUDIO, "identity": IDENTITY, "fusion": FUSION, "decoder": DECODER}
GENERATOR_TOTALS = {
    "audio": 978_656,
    "identity": 378_944,
    "fusion": 3_539_456,
    "decoder": 11_798_211,
}
GENERATOR_TOTAL = 16_695_267
GENERATOR_TOTAL_MAX_POOL = 16_104_931
GENERATOR_TOTAL_FULL_3D = 37_338_595

CNN = [
    ("sound/layer_1", 1, 32, (3, 3), False, True),
    ("sound/layer_2", 32, 64, (3, 3), False, True),
    ("sound/layer_3", 64, 128, (3, 3), False, True),
    ("sound/layer_4", 128, 256, (3, 3), False, True),
]
FC = [("sound/linear", 256 * 16 * 32, 256, (), True, False)]
FC_NORMALISED = [("sound/linear", 256 * 16 * 32, 256, (), False, True)]


def _images(last: int) -> list:
    return [
        ("video/layer_1", 3, 64, (4, 4, 4), True, False),
        ("video/layer_2", 64, 128, (4, 4, 4), False, True),
        ("video/layer_3", 128, 256, (4, 4, 4), False, True),
        ("video/layer_4", 256, last, (4, 4, 4), False, True),
    ]


FLOW = [
    ("flow/layer_1", 2, 64, (3, 3, 3), True, False),
    ("flow/layer_2", 64, 128, (3, 3, 3), False, True),
    ("flow/layer_3", 128, 256, (3, 3, 3), False, True),
    ("flow/layer_4", 256, 256, (3, 3, 3), False, True),
]
JOINT = [
    ("joint", 768, 512, (3, 3, 3), False, True),
    ("logit", 512, 1, (1, 4, 4), True, False),
]
TWO_STREAMS = {"cnn": CNN, "fc": FC, "image": _images(512), "joint": JOINT}
TWO_STREAMS_TOTALS = {"cnn": 388_320, "fc": 33_554_688, "image": 11_024_192, "joint": 10_626_049}
TWO_STREAMS_TOTAL = 55_593_249
THREE_STREAMS = {
    "cnn": CNN,
    "fc": FC_NORMALISED,
    "image": _images(256),
    "flow": FLOW,
    "joint": JOINT,
}
THREE_STREAMS_TOTALS = {
    "cnn": 388_320,
    "fc": 33_554_944,
    "image": 6_829_376,
    "flow": 2_880_192,
    "joint": 10_626_049,
}
THREE_STREAMS_TOTAL = 54_278_881


def count(row: tuple) -> int:
    """Returns the number of trainable parameters of a row."""
    _, inputs, outputs, taps, bias, norm = row
    return math.prod(taps) * inputs * outputs + outputs * bias + 2 * outputs * norm
