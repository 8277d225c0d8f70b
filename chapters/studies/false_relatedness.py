"""Studies of the chapter false-relatedness: what a relation is worth that is weak, partly true, or false.

In all of them single-task has 32 strengths to choose from, and every coupled learner 32 pairs of rho and
strength; "stuck" learners lack the dial: they have 32 strengths at the least rho.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtlbook import k_folds, relations
from mtlbook.experiments import Study
from mtlbook.planted import Planted, planted_continuum, planted_correlated, planted_families

from .learners import FINE, RHOS, STRENGTHS, Folds, alone, centred, choose, coupled, dial, fitted

SEEDS = tuple(range(30))
SIZES = {"n_tasks": 12, "n_features": 5, "n_rows": 10}
BY_TURNS = np.eye(4)[np.arange(12) % 4]
IN_BLOCKS = np.eye(4)[np.arange(12) // 3]

Choice = tuple[NDArray[np.float64], float]


def stuck(folds: Folds, Z: ArrayLike) -> Choice:
    """Penalty and strength of a coupled learner that cannot turn the dial."""
    return choose([centred(*fold) for fold in folds], [dial(Z, RHOS[0])], FINE)


def related(folds: Folds, P: ArrayLike) -> Choice:
    """Penalty and strength for any coupling P whose largest eigenvalue is one; dial and strength chosen."""
    free = relations.independent(len(np.asarray(P)))
    candidates = [(1 - rho) * np.asarray(P) + rho * free for rho in RHOS]
    return choose([centred(*fold) for fold in folds], candidates, STRENGTHS)


def risks(planted: Planted, choices: Mapping[str, Choice]) -> dict[str, NDArray[np.float64]]:
    """True errors of each task for each learner, refitted to all training rows."""
    return {
        name: planted.risks(*fitted(planted.tasks, P, strength)) for name, (P, strength) in choices.items()
    }


def means(planted: Planted, choices: Mapping[str, Choice]) -> dict[str, float]:
    """True error of each learner, averaged over tasks."""
    return {name: float(found.mean()) for name, found in risks(planted, choices).items()}


def correlation(*, within: float, seed: int) -> dict[str, float]:
    """True, shuffled and false families, as the correlation inside the true ones grows to one."""
    rng = np.random.default_rng(seed)
    planted = planted_correlated(rng, n_families=4, within=within, **SIZES)
    tasks, _, Z = planted
    folds = k_folds(tasks, 5, rng)
    claims = {"true": Z, "shuffled": Z[rng.permutation(12)], "false": IN_BLOCKS}
    choices = {"single-task": alone(tasks, folds)}
    choices |= {name: coupled(tasks, folds, claim) for name, claim in claims.items()}
    choices |= {f"{name}, stuck": stuck(folds, claim) for name, claim in claims.items()}
    refused = {name: float(np.allclose(P, np.eye(12))) for name, (P, _) in choices.items() if name in claims}
    return means(planted, choices) | {f"{name} refused": value for name, value in refused.items()}


def common(*, between: float, seed: int) -> dict[str, float]:
    """True, shuffled and graded relations, as families that differ get more and more in common."""
    rng = np.random.default_rng(seed)
    planted = planted_correlated(rng, n_families=4, within=0.9, between=between, **SIZES)
    tasks, _, Z = planted
    folds = k_folds(tasks, 5, rng)
    A = np.where(Z @ Z.T > 0, 0.9, between) + 0.1 * np.eye(12)
    graded = relations.precision(A, 0.0)
    choices = {
        "single-task": alone(tasks, folds),
        "families": coupled(tasks, folds, Z),
        "shuffled": coupled(tasks, folds, Z[rng.permutation(12)]),
        "all alike": coupled(tasks, folds, np.ones((12, 1))),
        "graded": related(folds, graded / np.linalg.eigvalsh(graded)[-1]),
    }
    return means(planted, choices)


def partial(*, outsiders: int, seed: int) -> dict[str, float]:
    """Members and outsiders of three families, with and without the dial."""
    rng = np.random.default_rng(seed)
    planted = planted_families(rng, n_families=3, outsiders=outsiders, **SIZES)
    tasks, _, Z = planted
    folds = k_folds(tasks, 5, rng)
    choices = {
        "single-task": alone(tasks, folds),
        "multi-task": coupled(tasks, folds, Z),
        "stuck": stuck(folds, Z),
    }
    found = {}
    for name, values in risks(planted, choices).items():
        found[f"{name}, all"] = float(values.mean())
        found[f"{name}, members"] = float(values[: 12 - outsiders].sum() / max(12 - outsiders, 1))
        found[f"{name}, outsiders"] = float(values[12 - outsiders :].sum() / max(outsiders, 1))
    return found


def blurred(*, blur: float, seed: int) -> dict[str, float]:
    """Descriptors along a continuum, seen through more and more blur, and shuffled."""
    rng = np.random.default_rng(seed)
    planted = planted_continuum(rng, n_descriptors=2, blur=blur, **SIZES)
    tasks, _, Z = planted
    folds = k_folds(tasks, 5, rng)
    choices = {"single-task": alone(tasks, folds)}
    for name, seen in (("blurred", Z), ("shuffled", Z[rng.permutation(12)])):
        choices[name] = related(folds, 0.3 * relations.precision(relations.similarity(seen), 0.3))
    return means(planted, choices)


WITHIN = (-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
CORRELATION = Study(correlation, {"within": WITHIN, "seed": SEEDS})
COMMON = Study(common, {"between": (0.0, 0.2, 0.4, 0.6, 0.8), "seed": SEEDS})
PARTIAL = Study(partial, {"outsiders": (0, 2, 4, 6, 8, 10, 12), "seed": SEEDS})
BLURRED = Study(blurred, {"blur": (0.0, 0.25, 0.5, 1.0, 2.0), "seed": SEEDS})
