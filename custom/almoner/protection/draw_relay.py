"""How the sites of a study draw its groups: the server's side, which relays, remembers nothing and decides nothing.

Each answer has a slot for every site. Of a site's good commitments the one that most of the others hold counts, and its
own word only if none of them holds any: who holds one has disclosed for it, and does for no other. Where a site gives
none itself, one counts only if more than half of those who answered hold it, as they do once the draw stands. So no one
site, with whatever messages are lost, has honest sites disclose for two lists. A site that holds another epoch, list or
result than most is left out of the job. The server can stop the draw, and so can a site; neither can have another.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from almoner.errors import FederationError, ProtocolError
from almoner.protection.certificates import pinned_certificate, public_key
from almoner.protection.draw import (
    COMMITMENT_BYTES,
    DISCLOSURE_BYTES,
    CertificateKeys,
    DrawTerms,
    Groups,
    assign,
    epoch_of,
    groups_digest,
    pack,
    unpack,
    verify_commitment,
    verify_disclosure,
)
from almoner.protection.draw_site import DrawTask
from almoner.protection.scheme import Answers, Conversation, Question
from almoner.protection.set_up import DIGEST_BYTES
from almoner.schema.consortium import Roster

logger = logging.getLogger(__name__)


def draw_groups(
    terms: DrawTerms, present: tuple[str, ...], roster: Roster, min_answers: int
) -> Conversation[tuple[Groups, tuple[str, ...]]]:
    """Have the sites draw their groups, or say how they were drawn; end with the groups, and who holds them.

    Args:
        terms: of any epoch.
        present: who takes part in the job, in roster order.
        min_answers: fewest sites with which the job makes sense.

    Raises:
        FederationError: too few answered, or a site whose part is not known anywhere is absent.
        ProtocolError: the roster does not pin a proper certificate for each of the sites.
    """
    keys: CertificateKeys = {site: public_key(pinned_certificate(roster, site), site) for site in terms.sites}

    answers = yield _question("draw-commit", present, b"", len(terms.sites) * COMMITMENT_BYTES, min_answers)
    held = {site: unpack(terms.sites, said, COMMITMENT_BYTES) for site, said in answers.items()}
    terms = replace(terms, epoch=_epoch_of_most(held))
    commitments = _good(
        terms,
        {site: _most_held(held, site) for site in terms.sites},
        "commitment",
        lambda site, said: verify_commitment(terms, site, said, keys[site]),
    )

    body = pack(terms.sites, commitments, COMMITMENT_BYTES)
    size = len(terms.sites) * DISCLOSURE_BYTES
    answers = yield _question("draw-reveal", tuple(answers), body, size, min_answers, terms.sites)
    slots = [unpack(terms.sites, said, DISCLOSURE_BYTES) for said in answers.values()]
    disclosures = _good(
        terms,
        {site: [parts[site] for parts in slots if site in parts] for site in terms.sites},
        "disclosure",
        lambda site, said: verify_disclosure(terms, site, said, commitments, keys[site]),
    )

    groups, body = assign(terms, commitments, disclosures), pack(terms.sites, disclosures, DISCLOSURE_BYTES)
    answers = yield _question("draw-settle", tuple(answers), body, DIGEST_BYTES, min_answers, terms.sites)
    return groups, _alike(answers, groups_digest(terms, groups), min_answers)


def _question(
    task: DrawTask, asked: tuple[str, ...], body: bytes, size: int, least: int, parts: tuple[str, ...] = ()
) -> Question:
    """Return a question of the draw; it is of no round, and a first draw needs everybody."""
    return Question(task, 0, parts, body, asked, least, dict.fromkeys(asked, size), len(asked))


def _epoch_of_most(held: dict[str, dict[str, bytes]]) -> int:
    """Return the epoch that most sites are in, by their own commitments."""
    epochs = Counter(epoch_of(parts[site]) for site, parts in held.items() if site in parts)
    return epochs.most_common(1)[0][0] if epochs else 1


def _most_held(held: dict[str, dict[str, bytes]], site: str) -> list[bytes]:
    """Return what may count as a site's commitment, the best first."""
    own = [held[site][site]] if site in held.get(site, {}) else []
    others = Counter(parts[site] for holder, parts in held.items() if holder != site and site in parts)
    return [said for said, count in others.most_common() if own or 2 * count > len(held)] + own


def _good(
    terms: DrawTerms, offered: dict[str, list[bytes]], what: str, check: Callable[[str, bytes], None]
) -> dict[str, bytes]:
    """Return of each site the first good part among those that are offered.

    Raises:
        FederationError: there is none of some site.
    """
    found: dict[str, bytes] = {}
    for site in terms.sites:
        for said in dict.fromkeys(offered[site]):
            try:
                check(site, said)
                found.setdefault(site, said)
            except ProtocolError as error:
                logger.warning("%s", error)
    if missing := [site for site in terms.sites if site not in found]:
        raise FederationError(
            f"study {terms.study}: its groups are not drawn yet, and there is no {what} of {', '.join(missing)} for "
            f"epoch {terms.epoch} → submit again when all sites of the study are up, with the same number of groups"
        )
    return found


def _alike(answers: Answers, digest: bytes, least: int) -> tuple[str, ...]:
    """Return who came to the same groups.

    Raises:
        FederationError: too few did.
    """
    holding = tuple(site for site, said in answers.items() if said == digest)
    if odd := [site for site in answers if site not in holding]:
        logger.warning("other groups stand at %s", ", ".join(odd))
    if len(holding) < least:
        raise FederationError(f"draw: {len(holding)} of at least {least} sites hold the same groups")
    return holding
