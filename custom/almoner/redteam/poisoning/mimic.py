"""Mimic: all colluding sites copy one honest site, so that the others count for less."""

import numpy as np

from almoner.redteam.poisoning.attack import Attack, RoundView, Rows, Vector, repeat


class Mimic(Attack):
    """Copies the honest site that stands out most along the direction in which the honest sites differ most.

    Nothing that it sends can be told from an honest update. In the first rounds the direction z is learned by Oja's
    rule; then the site is chosen and kept. It hurts where sites differ (non-IID). Reference: Karimireddy, He, Jaggi,
    arXiv:2006.09365, section 3.2 and appendix B.
    """

    knowledge = "all"
    WARM_UP_ROUNDS = 10

    def __init__(self) -> None:
        self._rounds, self._chosen = 0, 0
        self._direction: Vector = np.zeros(0)
        self._projections: Vector = np.zeros(0)

    def craft(self, view: RoundView) -> Rows:
        """Return the row of the site that is copied."""
        if self._rounds < self.WARM_UP_ROUNDS:
            self._learn(view)
        self._rounds += 1
        return repeat(view.honest[self._chosen], view)

    def _learn(self, view: RoundView) -> None:
        """Take a round's rows into the direction, and choose the site that stands out most along it so far."""
        if not self._rounds:
            self._direction = view.rng.normal(size=view.weights.shape)
            self._projections = np.zeros(len(view.honest))
        centred, share = view.honest - view.honest.mean(axis=0), 1 / (self._rounds + 1)
        moved: Vector = (1 - share) * self._direction + share * centred.T @ (centred @ self._direction)
        if length := float(np.linalg.norm(moved)):
            self._direction = moved / length
        self._projections = self._projections + view.honest @ self._direction
        self._chosen = int(np.argmax(np.abs(self._projections)))
