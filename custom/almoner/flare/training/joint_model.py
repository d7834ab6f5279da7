"""The model that all sites of a job hold alike: each takes the steps itself, from sums that it has verified."""

import numpy as np
from numpy.typing import NDArray

from almoner.errors import ProtocolError
from almoner.flare.job.consent import verify_consent
from almoner.flare.training.context import TrainingContext
from almoner.training.descent import Descent


class JointModel:
    """The weights, the rounds whose totals are in them, and the sites that contributed to any.

    Args:
        weights: float64[d], what training starts from.
    """

    def __init__(self, context: TrainingContext, weights: NDArray[np.float64]) -> None:
        training, prob = context.spec.training, context.spec.privacy.sampling_prob
        self._context = context
        self._descent = Descent(weights, context.grid, training.learning_rate, prob, training.server_momentum)
        self.rounds = 0
        self._contributors: set[str] = set()

    @property
    def weights(self) -> NDArray[np.float64]:
        """The model after the rounds so far, float64[d]."""
        return self._descent.weights

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
        self._descent.apply(total_of_round, sum(context.nominal_records[site] for site in sites))
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
