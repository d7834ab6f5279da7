"""Rules about requests for statistics: whether any are admitted, how far the server is believed, what is asked."""

from almoner.admission.rule import Question, Verdict, broken, holds, listed
from almoner.errors import PolicyViolation
from almoner.privacy.statistics_range import check_range
from almoner.release.dictionary import dictionary_problems
from almoner.schema.statistics import StatisticsSpec

NO_STATISTICS = Verdict("unset", "not a request for statistics")


def allowed(asked: Question) -> Verdict:
    """The policy must admit statistics, under the request's trust model; one that does not name them admits none."""
    if not isinstance(asked.spec, StatisticsSpec):
        return NO_STATISTICS
    grant, kind = asked.site.policy.allow.statistics, asked.spec.trust.kind
    if grant is None:
        return broken("the policy admits no statistics")
    if kind not in grant.trust:
        return broken(f"trust {kind} is not in {listed(grant.trust)}", "set trust.kind")
    return holds(f"trust {kind} is in {listed(grant.trust)}")


def cells(asked: Question) -> Verdict:
    """A request may not ask for too many numbers at once."""
    if not isinstance(asked.spec, StatisticsSpec):
        return NO_STATISTICS
    grant, number = asked.site.policy.allow.statistics, asked.spec.num_cells
    if grant is None or grant.max_cells is None:
        return Verdict("unset", "not restricted")
    if number > grant.max_cells:
        return broken(f"{number} cells are more than {grant.max_cells}", "ask for fewer groups, bins or queries")
    return holds(f"{number} cells, at most {grant.max_cells}")


def columns(asked: Question) -> Verdict:
    """Columns, bounds and categories must be those of the site's public data dictionary."""
    dataset = asked.site.config.datasets.get(asked.spec.dataset)
    if not isinstance(asked.spec, StatisticsSpec):
        return NO_STATISTICS
    if dataset is None:
        return Verdict("unset", "the data set is not configured")
    problems = dictionary_problems(asked.spec, dataset)
    if not problems:
        return holds(f"{len(asked.spec.columns)} columns are as the site declares them")
    finding, remedy = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return broken(finding + more, remedy)


def wraps(asked: Question) -> Verdict:
    """Sums with their noise must stay far within the modulus of the secure aggregation."""
    if not isinstance(asked.spec, StatisticsSpec):
        return NO_STATISTICS
    sizes = [asked.site.nominal_records.get(site) for site in asked.request.envelope.sites]
    known = [size for size in sizes if size is not None]
    if asked.spec.trust.kind == "local" or len(known) < len(sizes):
        return Verdict("unset", "nothing is added up")
    try:
        check_range(asked.spec, len(sizes), sum(known))
    except PolicyViolation as error:
        finding, _, remedy = str(error).partition(" → ")
        return broken(finding, remedy)
    return holds("sums with their noise fit the modulus")
