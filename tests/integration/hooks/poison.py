"""Test-only: sites of a real federation that deviate only in what they send.

ALMONER_TEST_POISON=<site>[,<site>...]:<attack> at these sites, attack being a name of
almoner.redteam.poisoning.catalogue. Their own training runs as ever (on records that the attack may have changed);
what it returns is replaced by what the attack makes of it, on the job's grid within its limit. Each lying site knows
who the others are, and nothing else of them: what an attack wants to know of the honest updates it takes from the
site's own last rounds, so an attack that needs to see all is weaker here than in `almoner redteam poison`.

A job whose name ends in "-clean" is left alone, so that one federation runs both.

It also installs the test-only workload `bank_credit_poisoned`: bank_credit on exchanged labels, for a job that would
make every site lie. The checkout's policies refuse it (tests/attack/test_poisoned_workload_refused.py).
"""

import os
from collections import deque

SITES, _, ATTACK = os.environ.get("ALMONER_TEST_POISON", "").partition(":")
SITES = tuple(filter(None, SITES.split(",")))
WORKLOAD = "bank_credit_poisoned"
REMEMBERED_ROUNDS = 8


class Liar:
    """One lying site in one job."""

    def __init__(self, context, sites, attack, data):
        import numpy as np

        from almoner.experiments.defences import defence_of
        from almoner.redteam.poisoning.attack import Colluders
        from almoner.redteam.poisoning.catalogue import make_attack

        self.spec, self.grid, known = context.envelope.spec, context.grid, context.nominal_records
        lying = [site for site in known if site in sites]
        self.place, self.size = lying.index(context.site.policy.site), context.dataset.nominal_records
        self.sizes = np.array([known[site] for site in known if site not in sites] + [known[site] for site in lying])
        self.sizes = self.sizes.astype(np.float64)
        self.public = Colluders(
            num_sites=len(known),
            sizes=self.sizes[-len(lying) :],
            total_size=float(self.sizes.sum()),
            grid=self.grid,
            sampling_prob=self.spec.privacy.sampling_prob,
            learning_rate=self.spec.training.learning_rate,
        )
        self.attack = make_attack(attack, self.training_at_home(context, data))
        self.defence, self.rng = defence_of(self.spec), np.random.default_rng()
        self.rounds = deque(maxlen=REMEMBERED_ROUNDS)

    def training_at_home(self, context, data):
        """Return the training of a backdoored model, on this site's own records."""
        from almoner.experiments.public import PublicSite
        from almoner.experiments.simulate import TrainingPlan
        from almoner.redteam.poisoning.home import home_training
        from almoner.redteam.poisoning.tasks import trigger_for
        from almoner.training.noise import SecureRandom

        plan, own = TrainingPlan.of(self.spec), PublicSite(context.dataset, data)
        return home_training(context.workload, own, plan, trigger_for(self.spec.workload), SecureRandom())

    def lie(self, weights, update):
        """Return what is sent in place of the site's own update, int64[d]."""
        import numpy as np

        from almoner.redteam.poisoning.attack import RoundView

        row = update * self.grid.step / (self.public.sampling_prob * self.size)
        self.rounds.append(row)
        num_lying = len(self.public.sizes)
        estimates = np.resize(np.stack(self.rounds), (self.public.num_sites - num_lying, row.size))
        view = RoundView(
            weights, np.tile(row, (num_lying, 1)), estimates, self.public, self.rng, self.aggregate_of(estimates)
        )
        return self.public.to_integers(self.attack.craft(view))[self.place]

    def aggregate_of(self, estimates):
        """Return what the job's rule would make of the estimates and lies."""
        import numpy as np

        from almoner.experiments.defences import RoundTerms

        spec, step, prob = self.spec, self.grid.step, self.public.sampling_prob
        clip = getattr(spec.aggregation, "l2_clip_norm", None) or 1.0
        terms = RoundTerms(self.sizes, len(self.public.sizes), step, prob, clip, 0)
        honest = np.rint(estimates * (prob * self.sizes[: len(estimates), None] / step)).astype(np.int64)

        def aggregate(lies):
            sent = np.concatenate([honest, self.public.to_integers(lies)])
            total = self.defence.combine(terms, len(self.rounds), sent)
            return total * (step / (prob * self.sizes.sum()))

        return aggregate


def wrap_local_work(module, sites=SITES, attack=ATTACK):
    """Make the named sites lie in every job that they train in."""
    from dataclasses import replace

    train, open_data = module.LocalWork.train, module.LocalWork._open_data

    def poisoned_data(self):
        data = open_data(self)
        is_clean = self._context.envelope.spec.name.endswith("-clean")
        if self._context.site.policy.site in sites and not is_clean and not hasattr(self, "liar"):
            self.liar = Liar(self._context, sites, attack, data)
            self._data = data = replace(data, train=self.liar.attack.poison(data.train))
        return data

    def lying(self, weights):
        update = train(self, weights)
        liar = getattr(self, "liar", None)
        return update if liar is None else liar.lie(weights, update)

    module.LocalWork._open_data = poisoned_data
    module.LocalWork.train = lying


def install_workload(module):
    """Put the test-only workload beside those that are installed."""
    from dataclasses import replace

    known = module.WORKLOADS["bank_credit"]
    sources = (*known.sources, os.path.join(os.path.dirname(os.path.abspath(__file__)), "poisoned_bank_credit.py"))
    module.WORKLOADS[WORKLOAD] = replace(
        known, module="poisoned_bank_credit", class_name="PoisonedBankCredit", sources=sources
    )


WRAPPERS = {"almoner.flare.training.local_work": wrap_local_work, "almoner.workloads.registry": install_workload}
