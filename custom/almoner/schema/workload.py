"""What a package says of a workload that it adds, so that a site need not import it to decide about jobs."""

from typing import Annotated

from pydantic import Field

from almoner.schema.base import Count, Digest, Document, Name


class WorkloadDeclaration(Document):
    """`<workload>.yaml` in the folder of a package. The job process compares it with the model before data is read.

    Args:
        workload: the name that jobs have for it.
        units: what one unit of its `UnitData` may be called; its loader groups records by just this.
        dimension: the number of the model's parameters.
        initial_weights: SHA-256 of the first weights as little-endian float64.
        one_record_per_unit: whether its `UnitData` has one record a unit; only then may counts of records be released.
    """

    workload: Name
    units: Annotated[tuple[Name, ...], Field(min_length=1)]
    dimension: Count
    initial_weights: Digest
    one_record_per_unit: bool
