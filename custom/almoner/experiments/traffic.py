"""How many bytes one site sends and receives in a job: the lengths of the protection's own messages.

Every length is the one that the protection computes for itself, so it is exact; every site is taken to answer every
question. FLARE's envelope around a message is left out, and so are the ledger heads at set-up, the release and the
final model: none of them differs between ways to train.
"""

from dataclasses import dataclass

from almoner.encryption.bfv_key import KEY_BYTES
from almoner.encryption.bfv_messages import MessageForm
from almoner.protection import plain
from almoner.protection.meeting import AGREEMENT_BYTES, confirmation_bytes
from almoner.protection.set_up import DIGEST_BYTES, ED25519_BYTES, SET_UP_BYTES, JobTerms
from almoner.schema.job import JobSpec
from almoner.secagg.contribution import ENTRY_BYTES
from almoner.secagg.offers import offer_bytes
from almoner.secagg.reveal import reveal_bytes
from almoner.secagg.session import contribution_bytes, total_bytes


@dataclass(frozen=True)
class Traffic:
    """Bytes of one site, of those that deal no secret for all.

    Args:
        set_up_upload, set_up_download: once a job.
        round_upload, round_download: in each round.
    """

    set_up_upload: int
    set_up_download: int
    round_upload: int
    round_download: int

    def upload(self, rounds: int) -> int:
        """Return all that a site sends in a job of so many rounds."""
        return self.set_up_upload + rounds * self.round_upload

    def download(self, rounds: int) -> int:
        """Return all that a site receives."""
        return self.set_up_download + rounds * self.round_download


def site_traffic(spec: JobSpec, sites: dict[str, int], dimension: int, limit: int) -> Traffic:
    """Return the bytes of a site in a job without groups.

    Args:
        spec: whose `aggregation` decides.
        sites: the declared size of each site of the job, in roster order.
        dimension: d, the entries of an update.
        limit: of the grid; 0 where the job sends integers modulo p.

    Raises:
        ProtocolError: the protection does not work with so many sites, or with these numbers.
    """
    kind = spec.aggregation.kind
    if kind == "plain" or kind == "robust":
        return Traffic(0, 0, plain.message_bytes(dimension), plain.message_bytes(dimension))
    terms = JobTerms(
        envelope_digest="", job_id="", scheme=kind, sites=tuple(sites), declared=tuple(sites.values()),
        num_colluding_sites=spec.num_colluding_sites, min_sites=spec.min_sites, dimension=dimension, limit=limit,
        step=1.0, nonce="",
    )  # fmt: skip
    return _encrypted(terms) if kind == "he" else _masked(terms)


def _masked(terms: JobTerms) -> Traffic:
    """Return the traffic of secret sharing: offers, boxes and signatures grow with the sites, words with the model."""
    num_sites = len(terms.sites)
    offer, said = offer_bytes(num_sites), confirmation_bytes(terms, 0, False)
    return Traffic(
        set_up_upload=SET_UP_BYTES + said + AGREEMENT_BYTES + offer,
        set_up_download=num_sites * (SET_UP_BYTES + said + AGREEMENT_BYTES),
        round_upload=contribution_bytes(terms) + ED25519_BYTES + reveal_bytes(num_sites) + offer,
        round_download=num_sites * (offer + ENTRY_BYTES) + terms.threshold * ED25519_BYTES + total_bytes(terms),
    )


def _encrypted(terms: JobTerms) -> Traffic:
    """Return the traffic of ciphertexts: about four bytes a value in each direction, whatever the grid."""
    num_sites, form = len(terms.sites), MessageForm(terms.dimension, len(terms.sites))
    said, dealt = confirmation_bytes(terms, 0, False), confirmation_bytes(terms, KEY_BYTES, True)
    return Traffic(
        set_up_upload=SET_UP_BYTES + said + AGREEMENT_BYTES + ED25519_BYTES,
        set_up_download=num_sites * (SET_UP_BYTES + AGREEMENT_BYTES) + (num_sites - 1) * said + dealt,
        round_upload=form.addend_bytes + ED25519_BYTES,
        round_download=DIGEST_BYTES + form.total_bytes,
    )
