"""Rules about alignments: whether any are admitted, how long the lists may be, with whom, by which columns."""

from almoner.admission.rule import Question, Verdict, broken, holds, listed
from almoner.schema.psi import PsiSpec

NO_ALIGNMENT = Verdict("unset", "not an alignment")


def allowed(asked: Question) -> Verdict:
    """The policy must admit alignments, with lists of this length: each entry of another site's list is a guess."""
    if not isinstance(asked.spec, PsiSpec):
        return NO_ALIGNMENT
    grant, length = asked.site.policy.allow.psi, asked.spec.max_identifiers
    if grant is None:
        return broken("the policy admits no private set intersection")
    if length > grant.max_identifiers:
        return broken(f"lists of {length} are longer than {grant.max_identifiers}", "lower max_identifiers")
    return holds(f"lists of {length}, at most {grant.max_identifiers}")


def sites(asked: Question) -> Verdict:
    """All sites that the job names must be in its envelope, and no other."""
    if not isinstance(asked.spec, PsiSpec):
        return NO_ALIGNMENT
    found = f"the job is between {listed(asked.spec.sites)}"
    if set(asked.spec.sites) == set(asked.request.envelope.sites):
        return holds(found)
    return broken(f"{found}, its envelope is for {listed(asked.request.envelope.sites)}", "export it again")


def size(asked: Question) -> Verdict:
    """The site's declared size must fit into a list; what is over would be left out."""
    dataset = asked.site.config.datasets.get(asked.spec.dataset)
    if not isinstance(asked.spec, PsiSpec):
        return NO_ALIGNMENT
    if dataset is None:
        return Verdict("unset", "the data set is not configured")
    found = f"{dataset.nominal_records} records are declared, lists have {asked.spec.max_identifiers} entries"
    return holds(found) if dataset.nominal_records <= asked.spec.max_identifiers else broken(found, "raise it")


def identifier(asked: Question) -> Verdict:
    """The site must have declared a column for each part of the identifier, and of a date how it is written."""
    dataset = asked.site.config.datasets.get(asked.spec.dataset)
    if not isinstance(asked.spec, PsiSpec):
        return NO_ALIGNMENT
    if dataset is None:
        return Verdict("unset", "the data set is not configured")
    columns = dataset.identifiers or {}
    for part in asked.spec.identifier:
        if part.field not in columns:
            return broken(f"{part.field} is no identifier here; there are {listed(sorted(columns))}", "set identifier")
        if (columns[part.field].dates is not None) != (part.kind == "date"):
            return broken(f"{part.field} is not declared as a {part.kind} here", "set identifier")
    return holds(f"{listed(part.field for part in asked.spec.identifier)} are declared")
