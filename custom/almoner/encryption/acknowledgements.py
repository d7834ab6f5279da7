"""What makes the sites of a job open one total a round: each signs one, and opens it only if enough others did.

A site signs the contributors and the digest of the total once a round. Two totals that are both opened would need
two sets of at least t signatures, so 2t - n > c sites that signed twice. Without this step a lying server could show
each site the total over another set U, fetch all their models, and solve for every single site's update.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from almoner.errors import ProtocolError
from almoner.protection.agreement import Agreed
from almoner.protection.set_up import DIGEST_BYTES, names, statement

_LABEL = b"almoner-he-acknowledged-1"


@dataclass(frozen=True)
class Claim:
    """What a round is said to come to.

    Args:
        number: of the round.
        contributors: U, in roster order.
        digest: SHA-256 of the total as it travels, without its signatures.

    Raises:
        ProtocolError: the digest has another length.
    """

    number: int
    contributors: tuple[str, ...]
    digest: bytes

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES:
            raise ProtocolError(f"round {self.number}: a digest of {len(self.digest)} bytes, expected {DIGEST_BYTES}")

    def stated(self, transcript: bytes, site: str) -> bytes:
        """Return what a site signs."""
        return statement(_LABEL, transcript, self.number, site, names(self.contributors), self.digest)


def check_acknowledged(claim: Claim, agreed: Agreed, signatures: Iterable[bytes]) -> None:
    """Check that enough members signed a claim; a signature that does not verify counts as none.

    Args:
        signatures: one for each of the job's sites in roster order, zeros where a site gave none.

    Raises:
        ProtocolError: fewer than max(t, min_sites) did.
    """
    signed = 0
    for site, signature in zip(agreed.terms.sites, signatures, strict=True):
        if site in agreed.members and any(signature):
            try:
                agreed.public_keys[site].verify(signature, claim.stated(agreed.transcript, site), site)
            except ProtocolError:
                continue
            signed += 1
    if signed < (least := agreed.terms.quorum):
        raise ProtocolError(
            f"total of round {claim.number}: {signed} sites acknowledged it, at least {least} must: this site is out"
        )
