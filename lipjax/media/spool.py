# SPDX-License-Identifier: Apache-2.0
"""Pictures that wait on disk until they are shown again."""

import tempfile
from typing import Any

import numpy as np
from jaxtyping import UInt8

QUALITY = 97
"""Of the JPEG pictures on disk: below what the video encoder then loses."""


class Spool:
    """A growing list of pictures of which memory holds none: JPEG files in one temporary file.

    About 0.1 to 0.5 MB per picture of full HD. The file is gone when the spool is closed.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="lipjax-")
        self._offsets = [0]

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def append(self, image: UInt8[np.ndarray, "H W 3"]) -> None:
        """Adds a picture."""
        import cv2

        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        full_colour = [
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *full_colour])
        self._file.seek(self._offsets[-1])
        self._file.write(data.tobytes())
        self._offsets.append(self._offsets[-1] + len(data))

    def __getitem__(self, number: int) -> UInt8[np.ndarray, "H W 3"]:
        """Reads picture `number`."""
        import cv2

        start, stop = self._offsets[number], self._offsets[number + 1]
        self._file.seek(start)
        data = np.frombuffer(self._file.read(stop - start), np.uint8)
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert bgr is not None  # what `append` wrote
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
