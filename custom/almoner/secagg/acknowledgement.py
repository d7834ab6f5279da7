"""ACK: a site's signature that it holds one ring and one roll, and signs no other in this round.

At least t of them on one roll must be shown before anyone reveals a share. A site signs once a round, so two rolls
would take 2t > n + c signatures, of which at most c sites give two: without this step the server could show two
rolls that differ in one site, and take that site's values from the difference.
"""

from almoner.errors import ProtocolError
from almoner.protection.set_up import ED25519_BYTES, JobKeys, check_subset
from almoner.secagg.contribution import Roll
from almoner.secagg.offers import Ring
from almoner.secagg.session import ACKNOWLEDGEMENT_LABEL, Session


def acknowledge(session: Session, ring: Ring, roll: Roll, site: str, keys: JobKeys) -> bytes:
    """Sign a ring and a roll; 64 bytes."""
    return keys.sign(session.stated(ACKNOWLEDGEMENT_LABEL, ring.number, site, ring.digest, roll.digest))


def verify_acknowledgement(session: Session, ring: Ring, roll: Roll, site: str, signature: bytes) -> None:
    """Check one acknowledgement.

    Raises:
        ProtocolError: the site did not sign this ring and roll.
    """
    session.verify(ACKNOWLEDGEMENT_LABEL, ring.number, site, signature, ring.digest, roll.digest)


def verify_acknowledgements(session: Session, ring: Ring, roll: Roll, sites: tuple[str, ...], body: bytes) -> None:
    """Check that at least t members acknowledged this ring and this roll.

    Args:
        sites: who did, in roster order.
        body: their signatures.

    Raises:
        ProtocolError: there are fewer, or one of them signed something else.
    """
    check_subset(sites, session.members, session.terms.threshold, f"round {ring.number}: the acknowledgements")
    if len(body) != ED25519_BYTES * len(sites):
        raise ProtocolError(f"round {ring.number}: {len(body)} bytes of acknowledgements of {len(sites)} sites")
    for place, site in enumerate(sites):
        signature = body[place * ED25519_BYTES : (place + 1) * ED25519_BYTES]
        verify_acknowledgement(session, ring, roll, site, signature)
