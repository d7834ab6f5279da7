"""The model that all sites of a job hold alike: each takes the steps itself, from sums that it has verified."""

import numpy as np
from numpy.typing import NDArray

from almoner.errors import ProtocolError
from almoner.flare.consent import verify_consent
from almoner.flare.training_context import TrainingContext
from almoner.training.grid import apply_update


class JointModel:
    """The weights, the rounds whose totals are in them, and the sites that contributed to any.

    Args:
        weights: float64[d], what training starts from.
    """

    def __init__(self, context: TrainingContext, weights: NDArray[np.float64]) -> None:
        self._context, self.weights = context, weights
        self.rounds = 0
        self._contributors: set[str] = set()

    def apply(self, number: int, sites: tuple[str, ...], total: bytes) -> None:
        """Open the total of a round and take the step that all sites take.

        Args:
            number: of the round, the next one after those that were applied.
            sites: whose updates are in the total.

        Raises:
            ProtocolError: it is not that of the next round, and nothing has happened; or it is of too few sites, or the
                protection does not open it, and the job has ended at this site.
        """
        context, spec = self._context, self._context.spec
        order = tuple(site for site in context.nominal_records if site in sites)
        if number != self.rounds + 1:
            raise ProtocolError(f"the total of round {number} after that of round {self.rounds}")
        if sites != order or len(sites) < spec.min_sites:
            context.protection.close()
            raise ProtocolError(f"round {number}: the total is of too few sites, or not in the job's order")
        total_of_round = context.protection.open(number, sites, total)
        self.weights = apply_update(
            self.weights,
            total_of_round,
            context.grid,
            learning_rate=spec.training.learning_rate,
            sampling_prob=spec.privacy.sampling_prob,
            total_nominal=sum(context.nominal_records[site] for site in sites),
        )
        self.rounds = number
        self._contributors |= set(sites)

    def give(self, consents: dict[str, str]) -> bytes:
        """Return the weights, if this site and every site that contributed signed that they may go.

        Args:
            consents: by site, hexadecimal.

        Raises:
            ProtocolError: a consent is missing, or this site did not contribute.
        """
        context = self._context
        site, policy = context.site.policy.site, context.site.policy
        contributors = self._contributors or {site}
        if site not in contributors or not policy.release_final_model:
            raise ProtocolError("this site is not to give the model")
        for contributor in sorted(contributors):
            answer = bytes.fromhex(consents.get(contributor, ""))
            verify_consent(answer, context.site.roster, contributor, context.envelope_digest, context.job_id)
        return self.weights.astype("<f8").tobytes()
