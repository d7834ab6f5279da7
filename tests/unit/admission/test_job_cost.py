"""The three figures of a job's cost, and what "still fits" promises."""

import math

import pytest
from admission_cases import SPEC, Case, account, account_at_epsilon, spec

from almoner.admission.cost import job_cost
from almoner.privacy.plan import job_events
from almoner.privacy.pld import pld_epsilon


def test_the_charge_is_the_plans_at_the_accounts_order() -> None:
    plan, state = job_events(SPEC), account()
    cost = job_cost(SPEC, plan, state, 4)
    assert cost.charge == plan.charge(state.filter.order)
    assert cost.noise_multiplier == plan.noise_multiplier > 0


def test_job_epsilon_is_of_training_and_release_together() -> None:
    plan = job_events(SPEC)
    cost = job_cost(SPEC, plan, account(), 4)
    training = tuple(event for step in plan.steps[:-1] for event in step.events)
    assert pld_epsilon(training, 1e-4) <= 1.0 < cost.job_epsilon <= 1.1 + 1e-3


def test_account_epsilon_is_the_filters_conversion_of_the_sum() -> None:
    plan = job_events(SPEC)
    state = account(0.2)
    cost = job_cost(SPEC, plan, state, 4)
    assert cost.epsilon_after == state.filter.epsilon_of(0.2 + cost.charge)


def test_a_job_that_asks_nothing_costs_nothing() -> None:
    nothing = spec(rounds=0, releases=[])
    cost = job_cost(nothing, job_events(nothing), account(), 4)
    assert (cost.job_epsilon, cost.charge, cost.epsilon_after, cost.noise_multiplier) == (0.0, 0.0, 0.0, 0.0)


def test_what_fits_fits_and_a_hundredth_more_does_not() -> None:
    state = account_at_epsilon(2.71)
    largest = Case(account=state).decide().violations[0].finding.partition("ε≤")[2].partition(" ")[0]
    smaller = spec(privacy={"target_epsilon": float(largest)})
    larger = spec(privacy={"target_epsilon": round(float(largest) + 0.01, 2)})
    assert Case(spec=smaller, account=state).decide().verdict == "admitted"
    assert Case(spec=larger, account=state).rules() == ("budget.remaining",)


def test_the_last_of_the_budget_can_be_spent_and_no_more() -> None:
    plan, state = job_events(SPEC), account()
    charge, budget = plan.charge(state.filter.order), state.filter.budget
    assert Case(account=account(budget - charge)).decide().verdict == "admitted"
    assert Case(account=account(math.nextafter(budget - charge, math.inf))).rules() == ("budget.remaining",)


@pytest.mark.parametrize("spent", [0.0, 0.3])
def test_figures_of_the_decision_are_those_of_the_cost(spent: float) -> None:
    decision = Case(account=account(spent)).decide()
    cost = job_cost(SPEC, job_events(SPEC), account(spent), 4)
    assert (decision.charge, decision.epsilon_after) == (cost.charge, cost.epsilon_after)
    assert decision.noise_multiplier == cost.noise_multiplier
    assert decision.epsilon_spent == account(spent).epsilon_spent
    assert decision.epsilon_cap == 3.0
