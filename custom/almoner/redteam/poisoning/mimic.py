"""Mimic: all colluding sites copy one honest site, so that the others count for less."""

import numpy as np

from almoner.redteam.poisoning.attack import Attack, Rows, RoundView, Vector, repeat


class Mimic(Attack):
    """Copies the honest site that stands out most along the direction in which the honest sites differ most.

    Nothing that it sends can be told from an honest update. In the first rounds the direction z is learned by Oja's
    rule; then the site is chosen and kept. It hurts where sites differ (non-IID). Reference: Karimireddy, He, Jaggi,
    arXiv:2006.09365, section 3.2 and appendix B.
    """

    knowledge = "all"
    WARM_UP_ROUNDS = 10

    def __init__(self) -> None:
        self._rounds = 0
        self._direction: Vector | None = None
        self._projections: Vector | None = None
        self._chosen: int | None = None

    def craft(self, view: RoundView) -> Rows:
        """Return the row of the site that is copied."""
        if self._chosen is None or self._rounds < self.WARM_UP_ROUNDS:
            self._chosen = self._learn(view)
        self._rounds += 1
        return repeat(view.honest[self._chosen], view)

    def _learn(self, view: RoundView) -> int:
        """Take a round's rows into the direction, and return the site that stands out most so far."""
        centred = view.honest - view.honest.mean(axis=0)
        direction = view.rng.normal(size=view.honest.shape[1]) if self._direction is None else self._direction
        share = 1 / (self._rounds + 1)
        moved = (1 - share) * direction + share * centred.T @ (centred @ direction)
        length = np.linalg.norm(moved)
        self._direction = moved / length if length else direction
        earlier = np.zeros(len(view.honest)) if self._projections is None else self._projections
        self._projections = earlier + view.honest @ self._direction
        return int(np.argmax(np.abs(self._projections)))
