"""What a site has been told of the rounds before: a digest that enters the next ring, and so every mask and signature.

A server that tells the sites of one sum different totals gives them different models; with a model that hardly learns
at all but one of them, their sum would tell of that one alone (model inconsistency). With the view in the ring, what
sites of different views sign does not verify, and their masks do not cancel.

Reference: Pasquini, Francati and Ateniese, "Eluding secure aggregation in federated learning via model inconsistency",
CCS 2022, arXiv:2111.07380.
"""

from hashlib import sha256

from almoner.protection.set_up import names

FIRST_VIEW = b""
"""Of a site that has not been told any total."""


def told(number: int, contributors: tuple[str, ...], total: bytes) -> bytes:
    """Return the digest of one round's total as it is told, 32 bytes."""
    head = names((str(number), *contributors))
    return sha256(b"almoner-secagg-told-1" + len(head).to_bytes(8, "big") + head + sha256(total).digest()).digest()


def absorb(view: bytes, *more: bytes) -> bytes:
    """Return the view of who was told something more.

    Args:
        more: results of `told`.
    """
    return sha256(b"almoner-secagg-view-1" + view + b"".join(more)).digest()


def asked_digest(task: str, number: int, contributors: tuple[str, ...], body: bytes) -> bytes:
    """Return what tells one question of the server from another, 32 bytes."""
    head = names((task, str(number), *contributors))
    return sha256(len(head).to_bytes(8, "big") + head + sha256(body).digest()).digest()
