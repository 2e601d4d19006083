# SPDX-License-Identifier: Apache-2.0
"""What a file from a stranger may ask for: the defaults of the limits that readers take.

A few bytes can declare any size, length or count. Every reader checks what a file declares, and
what it turns out to hold, against these before it takes memory for it. Each is the default of a
keyword argument of the same name in lower case, but for those that say "not a setting".
"""

MAX_PIXELS = 50_000_000
"""Pixels of a picture, also within a video; an 8K picture has 33 million."""

MAX_SIDE = 32_766
"""Pixels along one side: what OpenCV can warp. Not a setting."""

MAX_SECONDS = 4 * 3600.0
"""Seconds of a video or sound, declared or measured; that much sound at 48 kHz takes 1.4 GB."""

MAX_SOURCE_RATE, MIN_SOURCE_RATE = 768_000, 1_000
"""Samples per second of a sound as it lies in its file. The lower one is not a setting."""

MAX_CHANNELS = 64
"""Channels of a sound."""

MAX_FRAME_SAMPLES = 1 << 23
"""Samples, over all channels, that a decoder may give out at once. Not a setting."""

MAX_STREAMS = 256
"""Streams of a file. Not a setting."""

MAX_PICTURES_PER_SECOND = 240
"""A file with more pictures than this times `max_seconds` is refused. Not a setting."""

MAX_SAMPLES = 20_000_000
"""Entries that the tables of an MP4 may make a demuxer write down. Not a setting."""

MAX_HELD_PIXELS = 200_000_000
"""Pixels of decoded pictures that wait for a timestamp (300 MB). Not a setting."""

MAX_TEXT_BYTES = 4_000_000
"""Bytes of a text file beside a video. Not a setting."""
