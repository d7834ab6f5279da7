"""What colluding sites train at home for a model replacement: the joint model with a backdoor, on their own records."""

from dataclasses import replace

from almoner.experiments.public import PublicSite
from almoner.experiments.simulate import TrainingPlan, noiseless_grid, round_parameters
from almoner.redteam.poisoning.attack import Vector
from almoner.redteam.poisoning.backdoor import Trigger, with_backdoor
from almoner.redteam.poisoning.catalogue import HomeTraining
from almoner.training.dp_sgd import UnsafeNoiselessTrainer
from almoner.training.grid import apply_update
from almoner.training.noise import RandomSource
from almoner.training.sampling import sample_bound
from almoner.workloads.base import Workload

HOME_STEPS = 10
"""Steps a round."""

_LARGEST_PASS = 4096


def one_pass(nominal_records: float, sampling_prob: float) -> int:
    """Return the micro-batch that takes a sample in one pass: the fastest where models are small."""
    return min(_LARGEST_PASS, sample_bound(int(nominal_records), sampling_prob))


def home_training(
    workload: Workload, own: PublicSite, plan: TrainingPlan, trigger: Trigger, rng: RandomSource
) -> HomeTraining:
    """Return a training on clean records and triggered copies, without noise: weights -> weights.

    Args:
        workload: the task.
        own: the colluders' public data together.
        plan: the job's public numbers; of its steps there are `HOME_STEPS`.
        trigger: of the backdoor.
        rng: of the samples.
    """
    units = 2 * own.config.nominal_records
    config, records = own.config.model_copy(update={"nominal_records": units}), with_backdoor(own.data.train, trigger)
    steps = replace(plan, local_steps=HOME_STEPS)
    grid = noiseless_grid({"home": replace(own, config=config)}, steps)
    parameters = round_parameters(config, steps, grid, rng)
    parameters["micro_batch_size"] = one_pass(units, plan.sampling_prob)
    trainer = UnsafeNoiselessTrainer(workload.build_model(), workload.loss, records, **parameters)

    def train(weights: Vector) -> Vector:
        return apply_update(weights, trainer.run_round(weights), grid, plan.learning_rate, plan.sampling_prob, units)

    return train
