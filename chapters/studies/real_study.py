"""The studies of the chapter real-study: one split of the rows, one learner, errors on rows never seen.

Every learner gets the same training rows, the same folds and 105 candidates, chosen by cross-validation
inside MultiTaskRidge.fit. The test rows are passed to predict and to nothing else.
"""

import numpy as np

from mtlbook import data, hold_out, relations
from mtlbook.estimators import MultiTaskRidge
from mtlbook.experiments import Study

# As many candidates for learners with one strength as for those with two.
FINE = tuple(np.logspace(-4, 3, 105))
SPLITS = range(20)
NEAR = 1.0  # kilometres
ALIKE = 10.0  # years

LEARNERS = {
    "single-task": {"relation": "independent", "levels": "free", "strength": FINE},
    "pooled": {"relation": "pooled", "levels": "common", "strength": FINE},
    "random intercept": {"relation": "pooled"},
    "own slopes, shrunken levels": {"relation": "independent"},
    "tied slopes, free levels": {"levels": "free", "strength": FINE},
    "tied with one strength": {"levels": "tied", "strength": FINE},
    "multi-task": {},
    "random intercept, rows alike": {"relation": "pooled", "weigh": "rows"},
    "multi-task, rows alike": {"weigh": "rows"},
}
RELATED = ("near", "near, shuffled", "of an age", "of an age, shuffled")


def table(tasks):
    """A long table: inputs, targets, and the label of each row."""
    labels = np.repeat(tasks.names, tasks.n_rows)
    return np.concatenate(tasks.X), np.concatenate(tasks.y), labels


def half_and_half(A):
    """A penalty that ties all tasks to their mean, and as much again by the similarity A."""
    P = relations.laplacian(A)
    n = len(P)
    return relations.to_mean(n) / 2 + P * (n - 1) / np.trace(P) / 2


def closeness(Z, width):
    """Similarity that falls with the squared distance of descriptors."""
    distances = np.sum((Z[:, None] - Z[None, :]) ** 2, axis=2)
    return np.exp(-distances / (2 * width**2))


def relation(learner, kept, seed):
    """The penalty of a relation with a name; a shuffled one gives each task another's descriptor."""
    Z = data.ames_places()
    if learner.startswith("of an age"):
        Z = np.array([[np.median(X[:, data.AMES_FEATURES.index("year built")])] for X in kept.X])
    if learner.endswith("shuffled"):
        Z = np.random.default_rng(1000 + seed).permutation(Z)
    return half_and_half(closeness(Z, ALIKE if learner.startswith("of an age") else NEAR))


def predictions(tasks, learner, held_out, seed):
    """Predictions, targets and labels of the test rows of one split."""
    kept, held = hold_out(tasks, held_out, np.random.default_rng(seed))
    known = learner in LEARNERS
    options = LEARNERS[learner] if known else {"relation": relation(learner, kept, seed)}
    X, y, labels = table(kept)
    model = MultiTaskRidge(**options, random_state=seed).fit(X, y, task=labels)
    X_test, y_test, labels_test = table(held)
    return model.predict(X_test, task=labels_test), y_test, labels_test


def by_task(values, labels):
    """The mean of the values of each task."""
    names, index = np.unique(labels, return_inverse=True)
    return dict(zip(names.tolist(), np.bincount(index, values) / np.bincount(index), strict=True))


def ames(learner, seed):
    """Squared error of log prices in each neighbourhood, half of the rows held out."""
    guess, y, labels = predictions(data.ames(), learner, 0.5, seed)
    return by_task((guess - y) ** 2, labels)


def scarce(learner, seed):
    """Its mean over neighbourhoods with 80 per cent held out."""
    guess, y, labels = predictions(data.ames(), learner, 0.8, seed)
    return {"error": np.mean(list(by_task((guess - y) ** 2, labels).values()))}


def unfinished(learner, seed):
    """As `ames`, with the houses above 4000 square feet left in."""
    guess, y, labels = predictions(data.ames(largest=6000.0), learner, 0.5, seed)
    return by_task((guess - y) ** 2, labels)


def exams(learner, seed):
    """Mean squared error over schools."""
    guess, y, labels = predictions(data.exams(), learner, 0.5, seed)
    return {"error": np.mean(list(by_task((guess - y) ** 2, labels).values()))}


def rail(learner, seed):
    """Mean over travellers of the squared error of choices coded as -1 and +1, and share of wrong guesses."""
    guess, y, labels = predictions(data.rail(), learner, 0.5, seed)
    wrong = by_task((np.sign(guess) != y).astype(float), labels)
    return {
        "error": np.mean(list(by_task((guess - y) ** 2, labels).values())),
        "wrong": np.mean(list(wrong.values())),
    }


AMES = Study(ames, {"learner": [*LEARNERS, *RELATED], "seed": SPLITS})
SCARCE = Study(scarce, {"learner": [*LEARNERS, *RELATED], "seed": SPLITS})
UNFINISHED = Study(unfinished, {"learner": ["single-task", "multi-task"], "seed": SPLITS})
EXAMS = Study(exams, {"learner": list(LEARNERS), "seed": SPLITS})
RAIL = Study(rail, {"learner": list(LEARNERS), "seed": SPLITS})
