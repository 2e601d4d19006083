# SPDX-License-Identifier: Apache-2.0
"""The layers of the authors' released baselines, written down from their description.

Rows as in layer_table.py. Totals are those that were counted on the authors' own modules.
"""

SOUND = [
    ("audio_encoder/layer_1", 1, 32, (3, 3), False, True),
    ("audio_encoder/layer_2", 32, 64, (3, 3), False, True),
    ("audio_encoder/layer_3", 64, 128, (3, 3), False, True),
    ("audio_encoder/layer_4", 128, 128, (3, 3), False, True),
    ("audio_encoder/linear", 128 * 16 * 32, 256, (), False, True),
]
CHUNG = [
    *SOUND,
    ("picture_1", 3, 96, (7, 7), False, True),
    ("picture_2", 96, 256, (5, 5), False, True),
    ("picture_3", 256, 256, (3, 3), False, True),
    ("picture_4", 256, 512, (3, 3), False, True),
    ("picture_5", 512, 256, (3, 3), False, True),
    ("picture_6", 256, 128, (3, 3), False, True),
    ("picture_linear_1", 128 * 5 * 5, 512, (), False, True),
    ("picture_linear_2", 512, 256, (), False, True),
    ("joint", 256 + 256, 128, (), False, True),
    ("deconv_1", 128, 512, (7, 7), False, True),
    ("deconv_2", 512, 256, (6, 6), False, True),
    ("deconv_3", 256 + 256, 256, (6, 6), False, True),
    ("deconv_4", 256, 256, (5, 5), False, True),
    ("deconv_5", 256, 96, (5, 5), False, True),
    ("deconv_6", 96 + 96, 96, (6, 6), False, True),
    ("deconv_7", 96, 64, (5, 5), False, True),
    ("colours", 64, 48, (3, 3), True, False),
]
# Declared in the released code and counted there, but never run; not in the network here.
CHUNG_UNUSED = [
    ("face_1", 3, 128, (3, 3), False, True),
    ("face_2", 128, 256, (3, 3), False, True),
]
CHUNG_TOTAL = 38_778_992

VONDRICK = [
    *SOUND,
    ("background_deconv_1", 100 + 256, 512, (4, 4), False, True),
    ("background_deconv_2", 512, 256, (4, 4), False, True),
    ("background_deconv_3", 256, 128, (4, 4), False, True),
    ("background_deconv_4", 128, 64, (4, 4), False, True),
    ("background_deconv_5", 64, 64, (4, 4), False, True),
    ("background_output", 64, 3, (3, 3), True, False),
    ("foreground_deconv_1", 100 + 256, 512, (2, 4, 4), False, True),
    ("foreground_deconv_2", 512, 256, (2, 4, 4), False, True),
    ("foreground_deconv_3", 256, 128, (4, 4, 4), False, True),
    ("foreground_deconv_4", 128, 64, (4, 4, 4), False, True),
    ("mask_deconv", 64, 64, (4, 4, 4), False, True),
    ("mask_output", 64, 1, (3, 3, 3), True, False),
    ("foreground_deconv_5", 64, 64, (4, 4, 4), False, True),
    ("foreground_output", 64, 3, (3, 3, 3), True, False),
]
VONDRICK_TOTAL = 35_938_343

VONDRICK_JUDGE = [
    ("sound/layer_1", 1, 32, (3, 3), False, True),
    ("sound/layer_2", 32, 64, (3, 3), False, True),
    ("sound/layer_3", 64, 128, (3, 3), False, True),
    ("sound/layer_4", 128, 256, (3, 3), False, True),
    ("sound/linear", 256 * 16 * 32, 256, (), True, False),
    ("video/layer_1", 3, 64, (4, 4, 4), False, True),
    ("video/layer_2", 64, 128, (4, 4, 4), False, True),
    ("video/layer_3", 128, 256, (4, 4, 4), False, True),
    ("video/layer_4", 256, 512, (2, 4, 4), False, True),
    ("logit", 512 + 256, 1, (2, 4, 4), True, False),
]
VONDRICK_JUDGE_TOTAL = 40_797_537
