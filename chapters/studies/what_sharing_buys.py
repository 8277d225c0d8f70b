"""The study of the chapter what-sharing-buys: true errors of six learners against the rows of each task."""

import numpy as np

from mtlbook import k_folds
from mtlbook.experiments import Study
from mtlbook.planted import Planted, planted_families

from .learners import alone, coupled, fitted, pooled, random_intercept

# Twelve tasks over ten features, each with a level of its own. The descriptors file them in three families of
# four, or in one family; among unrelated tasks the three families are a false claim.
WORLDS = {
    "families": {"n_families": 3},
    "one family": {"n_families": 1},
    "same slopes": {"n_families": 1, "spread": 0.0},
    "unrelated": {"n_families": 3, "outsiders": 12},
}
ROWS = (6, 10, 14, 20, 28, 40, 56, 80)
SEEDS = tuple(range(24))


def world(name: str, rows: int, rng: np.random.Generator) -> Planted:
    """A planted world of the study."""
    return planted_families(rng, n_features=10, n_rows=rows, level_spread=1.0, **WORLDS[name])


def errors(*, name: str, rows: int, seed: int) -> dict[str, float]:
    """True error of each learner, averaged over tasks, and what was chosen."""
    rng = np.random.default_rng(seed)
    planted = world(name, rows, rng)
    tasks, _, Z = planted
    folds = k_folds(tasks, 5, rng)
    shuffled = Z[rng.permutation(len(Z))]
    choices = {
        "single-task": alone(tasks, folds),
        "multi-task": coupled(tasks, folds, Z),
        "shuffled": coupled(tasks, folds, shuffled),
    }
    learned = {key: fitted(tasks, *choice) for key, choice in choices.items()}
    learned["pooled"] = pooled(tasks, folds)
    learned["random intercept"] = random_intercept(tasks, folds)
    risks = {key: planted.risks(*learnt) for key, learnt in learned.items()}
    found = {key: float(risk.mean()) for key, risk in risks.items()}
    found["tasks that lose"] = float(np.sum(risks["multi-task"] > risks["single-task"]))
    found["strength alone"], found["strength"] = choices["single-task"][1], choices["multi-task"][1]
    # The coupling charges nothing for a common level, so the row sums of P are rho.
    P = choices["multi-task"][0]
    found["rho"] = float(P.sum() / len(P))
    return found


ERRORS = Study(errors, {"name": tuple(WORLDS), "rows": ROWS, "seed": SEEDS})
