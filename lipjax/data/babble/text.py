# SPDX-License-Identifier: Apache-2.0
"""Sentences of the built-in corpus: a small grammar with wide phone coverage."""

import numpy as np

_SUBJECTS = (
    *("Bob", "Pam", "Emma", "my mother", "the baby", "a brave pilot", "our farmer", "Joe"),
    *("the mayor", "Fiona", "a wise judge", "the old miner", "Philip", "you", "the shy boy"),
    *("my puppy", "Thomas", "the chief", "Wanda", "a big bear", "the bishop", "Sue", "they"),
)
_VERBS = (
    *("may buy", "will bring", "can move", "should paint", "would wash", "might measure"),
    *("must keep", "could fix", "will choose", "may show", "can throw", "would give"),
    *("might own", "should find", "will push", "could borrow", "may grab", "can hop over"),
)
_DETERMINERS = ("my", "the", "a", "his", "their", "both", "five", "some more", "this", "every")
_ADJECTIVES = (
    *("blue", "small", "rough", "warm", "yellow", "purple", "cheap", "fine", "thick", "green"),
    *("noisy", "smooth", "bitter", "huge", "white", "empty", "amber", "loose", "heavy", "damp"),
)
_NOUNS = (
    *("apple", "boat", "map", "lamp", "pebble", "thumb", "voice", "beaver", "wheel", "jam"),
    *("orange", "shoe", "garden", "peach", "ribbon", "bubble", "watch", "chimney", "vision"),
    *("camel", "fish", "moth", "pool", "cup", "window", "bell", "umbrella", "toy", "thing"),
)
_PLACES = (
    *("by the bay", "at home", "for Abby", "in May", "with my thumbs", "up above", "again"),
    *("before the movie", "near the lake", "on a farm", "just now", "under the cow", "today"),
    *("for you", "in our house", "by the palm", "with some hope", "near the pub", "so far"),
)


def sentence(rng: np.random.Generator) -> str:
    """Draws a sentence of five to nine words.

    Args:
        rng: source of the draws; the same state gives the same sentence.

    Returns:
        Lower-case words without punctuation.
    """
    parts = [_SUBJECTS, _VERBS, _DETERMINERS, _ADJECTIVES, _NOUNS, _PLACES]
    if rng.random() < 0.3:
        parts.pop(3)  # without the adjective: another rhythm
    return " ".join(part[rng.integers(len(part))] for part in parts).lower()
