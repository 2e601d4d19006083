# SPDX-License-Identifier: Apache-2.0
"""The corpus that benchmarks measure on: the one named, else a built-in one made for the run."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lipjax.data.reading import Corpus, open_corpus


@contextlib.contextmanager
def corpus_or_builtin(directory: Path | None, *, clips: int) -> Iterator[Corpus]:
    """Opens a corpus; makes one of the built-in talking faces where none is named.

    Args:
        directory: a prepared corpus, or None.
        clips: of the built-in one, all of them for training.
    """
    if directory is not None:
        yield open_corpus(directory)
        return
    from lipjax.data.babble import make_babble
    from lipjax.data.prepare import prepare

    with tempfile.TemporaryDirectory() as scratch:
        videos = Path(scratch) / "videos"
        speakers = max(1, min(clips // 2, 6))
        make_babble(videos, speakers=speakers, sentences_per_speaker=-(-clips // speakers))
        prepare(videos, Path(scratch) / "corpus")
        yield open_corpus(Path(scratch) / "corpus")


def largest_split(corpus: Corpus) -> str:
    """Returns the name of the split with most clips."""
    return max(corpus.splits, key=lambda name: corpus.description["splits"][name]["clips"])
