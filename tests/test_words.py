"""Features of words against a slow description of each token."""

from collections import Counter

import numpy as np
import pytest
from helpers import refused, unchanged

from mtlbook.words import describe

WORDS = [
    "The",
    "cat",
    "sat",
    "on",
    "the",
    "mat",
    ".",
    "Then",
    "USA",
    "1961",
    "e-mail",
    "and",
    "Mr.",
    "Catnip",
    "-",
    "-tl",
]
SENTENCE = [3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 9, 9, 9, 9]


def answer(k: int, feature: str, words: list[str], sentence: list[int]) -> bool:
    """Whether token k has the feature, read from its name."""
    word = words[k]
    if feature.startswith("ends in -"):
        end = feature.removeprefix("ends in -")
        return word.lower().endswith(end) and len(word) > len(end)
    if feature.startswith("is "):
        return repr(word.lower()) == feature[3:]
    for side, step in (("after ", -1), ("before ", 1)):
        if feature.startswith(side):
            beside = k + step
            if not 0 <= beside < len(words) or sentence[beside] != sentence[k]:
                return False
            other, wanted = words[beside], feature.removeprefix(side)
            return other[0].isupper() if wanted == "a capital" else repr(other.lower()) == wanted
    first = k == 0 or sentence[k - 1] != sentence[k]
    return {
        "capital": word[0].isupper(),
        "all capitals": len(word) > 1 and word.isupper(),
        "digit": any(c in "0123456789" for c in word),
        "hyphen": "-" in word[1:],
        "no letter": word.lower() == word.upper(),
        "opens the sentence": first,
        "capital inside": word[0].isupper() and not first,
    }[feature]


@pytest.mark.parametrize("sizes", [(3, 4, 2), (100, 200, 50), (1, 1, 1)])
def test_every_feature_answers_the_question_in_its_name(sizes):
    n_words, n_endings, n_neighbours = sizes
    X, features = describe(WORDS, SENTENCE, n_words=n_words, n_endings=n_endings, n_neighbours=n_neighbours)
    assert X.shape == (len(WORDS), len(features))
    assert X.dtype == bool
    assert len(set(features)) == len(features)
    for k in range(len(WORDS)):
        for column, feature in enumerate(features):
            assert X[k, column] == answer(k, feature, WORDS, SENTENCE), (WORDS[k], feature)


def test_frequent_words_and_endings_come_first_and_ties_by_the_alphabet():
    features = describe(["b", "A", "b", "c", "a", "d"], [0] * 6, n_words=3, n_neighbours=2).features
    assert [f for f in features if f.startswith("is ")] == ["is 'a'", "is 'b'", "is 'c'"]
    assert [f for f in features if f.startswith("after ")] == ["after a capital", "after 'a'", "after 'b'"]
    counted = Counter(w.lower()[-k:] for w in WORDS for k in (1, 2, 3) if len(w) > k and w[-k:].isalpha())
    best = sorted(counted, key=lambda end: (-counted[end], end))[:5]
    features = describe(WORDS, SENTENCE, n_endings=5).features
    assert [f.removeprefix("ends in -") for f in features if f.startswith("ends")] == best


def test_a_long_text_gets_a_hundred_words_a_hundred_endings_and_fifty_neighbours():
    letters = "abcdefghijklmno"
    words = [a + b + c for a in letters for b in letters for c in "xyz"]
    features = describe(words, [0] * len(words)).features
    starts = {"is ": 100, "ends in": 48, "after ": 51, "before ": 51}
    assert {k: sum(f.startswith(k) for f in features) for k in starts} == starts
    assert sum(f.startswith("ends in") for f in describe([w[::-1] for w in words], [0] * 675).features) == 100


def test_a_text_of_one_word_is_described():
    X, features = describe(["Stop"], [0])
    assert dict(zip(features, X[0].tolist(), strict=True))["opens the sentence"]
    assert not X[0, [f.startswith(("after", "before")) for f in features]].any()


def test_case_counts_for_the_shape_alone():
    lower, upper = (describe(words, [0, 0]) for words in (["the", "end"], ["THE", "End"]))
    shapes = ("capital", "all capitals", "capital inside", "after a capital", "before a capital")
    same = [feature not in shapes for feature in lower.features]
    assert lower.features == upper.features
    np.testing.assert_array_equal(lower.X[:, same], upper.X[:, same])


@pytest.mark.parametrize(
    ("words", "sentence", "options", "name", "found"),
    [
        (["a", "b"], [0], {}, "sentence", "shape (1,)"),
        ([], [], {}, "sentence", "shape (0,)"),
        (["a", ""], [0, 0], {}, "words", "an empty one"),
        (["a"], [0], {"n_words": 0}, "n_words", "0"),
        (["a"], [0], {"n_endings": 1.5}, "n_endings", "1.5"),
        (["a"], [0], {"n_neighbours": -1}, "n_neighbours", "-1"),
    ],
)
def test_what_cannot_be_described_is_refused(words, sentence, options, name, found):
    with refused(name, "", found):
        describe(words, sentence, **options)


def test_describing_changes_nothing_given():
    numbers = np.array(SENTENCE)
    with unchanged(numbers):
        describe(WORDS, numbers)
