"""One test for each numbered equation that states a fact, marked with the equation's label."""

DEFINITIONS = {
    "outer-product-entries": "says what an outer product is",
    "relation-matrices-gauss": "says what the Gaussian kernel is",
    "relation-matrices-map": "a model of how weights arise",
    "similarity-to-penalty-model": "a model of how weights arise",
    "joint-problem-map": "a model of how weights arise",
    "tasks-and-data-risk": "says what a risk is",
    "learning-relations-objective": "says what the relation-learning problem is",
    "learning-relations-prox": "says what the prox is",
    "learning-relations-common": "says what a common vector is",
    "low-rank-objective": "says what the low-rank problem is",
    "low-rank-rows": "says what the norm of rows is",
    "positive-definite-tolerance": "a rule of thumb",
    "what-sharing-buys-delta": "says what the distance of tasks is",
    "drift-relation": "says how a relation follows a stream",
    "drift-walk": "a model of how a number moves",
    "probabilistic-view-noise": "a model of how targets arise",
    "probabilistic-view-prior": "a model of how weights arise",
}
