"""Words: running text as rows of features that many tasks can share.

No label is looked at: a token is described by its own letters and by its neighbours in the sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtlbook import checks

Answers = NDArray[np.bool_]

SHAPES: dict[str, Callable[[str], bool]] = {
    "capital": lambda word: word[0].isupper(),
    "all capitals": lambda word: len(word) > 1 and word.isupper(),
    "digit": lambda word: any(letter.isdigit() for letter in word),
    "hyphen": lambda word: "-" in word[1:],
    "no letter": lambda word: not any(letter.isalpha() for letter in word),
}


class Described(NamedTuple):
    """Tokens described by yes-or-no features.

    Attributes
    ----------
    X : bool ndarray of shape (tokens, d)
        One row a token.
    features : tuple of d str
        What each column asks.
    """

    X: Answers
    features: tuple[str, ...]


def describe(
    words: Sequence[str],
    sentence: ArrayLike,
    *,
    n_words: int = 100,
    n_endings: int = 100,
    n_neighbours: int = 50,
) -> Described:
    """Features of every token: its shape, its ending, itself if frequent, and its neighbours if frequent.

    What is frequent is counted on this text; ties go by the alphabet. Case counts for the shape alone. A
    sentence has no neighbours beyond its ends.

    Parameters
    ----------
    words : sequence of str
        The tokens in their order.
    sentence : array of as many numbers
        The sentence that each token stands in; its tokens are consecutive.
    n_words, n_endings, n_neighbours : int
        How many frequent words, endings (of one to three letters) and neighbours on either side get a
        feature; fewer if the text has fewer.

    Returns
    -------
    Described

    Raises
    ------
    ValueError
        If there is no token, one is empty, sentences do not match, or a number is not whole and at least
        one.
    """
    number = checks.labels(sentence, "sentence", len(words))
    if not all(words):
        checks.fail("words", "tokens of at least one letter", "an empty one", "Drop it.")
    first = np.r_[True, number[1:] != number[:-1]]
    types, token = np.unique(np.asarray(words), return_inverse=True)
    lower = [str(word).lower() for word in types]
    times = np.bincount(token)
    counted = Counter[str]()
    for word, count in zip(lower, times.tolist(), strict=True):
        counted[word] += count
    endings = Counter[str]()
    for word, count in counted.items():
        endings.update(dict.fromkeys(_endings(word), count))

    frequent = _top(counted, checks.count(n_words, "n_words"))
    beside = _top(counted, checks.count(n_neighbours, "n_neighbours"))
    ends = _top(endings, checks.count(n_endings, "n_endings"))
    shapes = np.array([[asks(str(word)) for asks in SHAPES.values()] for word in types])
    capital = shapes[token, 0]
    near = _marks(([word] for word in lower), beside)[token]
    columns = [
        shapes[token],
        _marks(map(_endings, lower), ends)[token],
        _marks(([word] for word in lower), frequent)[token],
        first[:, None],
        (capital & ~first)[:, None],
        _shifted(np.c_[capital, near], first, 1),
        _shifted(np.c_[capital, near], first, -1),
    ]
    names = [*SHAPES, *(f"ends in -{end}" for end in ends), *(f"is {word!r}" for word in frequent)]
    names += ["opens the sentence", "capital inside"]
    for side in ("after", "before"):
        names += [f"{side} a capital", *(f"{side} {word!r}" for word in beside)]
    return Described(np.concatenate(columns, axis=1), tuple(names))


def _endings(word: str) -> list[str]:
    """The last one, two and three letters of a word that is longer than they are."""
    return [word[-k:] for k in (1, 2, 3) if len(word) > k and word[-k:].isalpha()]


def _top(counted: Counter[str], n: int) -> list[str]:
    return sorted(counted, key=lambda item: (-counted[item], item))[:n]


def _marks(items: Iterable[Sequence[str]], wanted: Sequence[str]) -> Answers:
    """Which of the wanted each list of items holds."""
    column = {word: k for k, word in enumerate(wanted)}
    rows = [[column[item] for item in listed if item in column] for listed in items]
    marks = np.zeros((len(rows), len(wanted)), dtype=bool)
    for row, ks in zip(marks, rows, strict=True):
        row[ks] = True
    return marks


def _shifted(answers: Answers, first: Answers, by: int) -> Answers:
    """The answers of the token before (by 1) or after (by -1), none across the ends of a sentence."""
    moved = np.roll(answers, by, axis=0)
    moved[first if by > 0 else np.roll(first, -1)] = False
    return moved
