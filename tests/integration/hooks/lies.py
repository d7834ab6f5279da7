"""Test-only: a server that lies to the sites of a job with secret sharing, each lie in the job named after it.

ALMONER_TEST_LIES=1 at the server. Everything else of the server is its own, and so is all of the sites.

    swapped-keys   shows the others a set-up message of "hungary" with keys that the server drew and signed
    split-ring     shows "hungary" the ring without "va-long-beach", the others the whole one, and goes on with one roll
    split-roll     shows two sites the roll of all, the two others the roll without "hungary"; takes all four
                   acknowledgements for t on one roll
    no-roll        asks for the shares of a roll without "hungary" that nobody has acknowledged
    smaller-ring   announces the ring again without "hungary" once the updates for the whole one are there
    between-rounds tells no lie: it stops for good between rounds 1 and 2, and leaves the file 2.held in the folder
                   ALMONER_TEST_ROUNDS
"""

import os
import threading

ON = bool(os.environ.get("ALMONER_TEST_LIES"))
VICTIM, OTHER = "hungary", "va-long-beach"


def rings(server, number):
    """Return the ring of all offers, and a function that makes one without a site."""
    from almoner.secagg.offers import make_ring
    from almoner.secagg.view import absorb

    session = server._held()
    view = absorb(server._view, absorb(server._told, b"")) if server._told else server._view

    def without(site=None):
        offers = {name: offer for name, offer in server._offers.items() if name != site}
        return make_ring(session, number, offers, view)

    return without


def collect(server, ring, sites, **announced):
    from almoner.secagg.offers import announce
    from almoner.secagg.session import contribution_bytes

    size = contribution_bytes(server._terms)
    question = server._question("train", ring.number, ring.sites, announce(ring.offers), sites, size)
    return (yield anyway(question))


def anyway(question):
    """Return a question that no lack of answers ends the job over."""
    from dataclasses import replace

    return replace(question, min_answers=0)


def roll_of(server, ring, answers, rings_by_site):
    """Return the roll of what sites answered, each read for the ring that it was shown."""
    from almoner.secagg.contribution import make_roll, read_contribution

    session = server._held()
    found = {site: read_contribution(said, session, rings_by_site[site], site).entry for site, said in answers.items()}
    return make_roll(session, ring, found)


def acknowledge(server, ring, roll, sites):
    from almoner.protection.set_up import ED25519_BYTES

    return (yield anyway(server._question("acknowledge", ring.number, roll.sites, roll.body, sites, ED25519_BYTES)))


def reveal(server, ring, signatures, sites):
    from almoner.secagg.offers import offer_bytes
    from almoner.secagg.reveal import reveal_bytes

    number = len(server._terms.sites)
    size = reveal_bytes(number) + offer_bytes(number)
    body = b"".join(signatures.values())
    return (yield anyway(server._question("reveal", ring.number, tuple(signatures), body, sites, size)))


def split_ring(server, number, sites):
    ring = rings(server, number)
    whole, smaller = ring(), ring(OTHER)
    rest = tuple(site for site in sites if site != VICTIM)
    first = yield from collect(server, smaller, (VICTIM,))
    second = yield from collect(server, whole, rest)
    shown = {**dict.fromkeys(rest, whole), VICTIM: smaller}
    answers = {site: {**first, **second}[site] for site in sites}
    roll = roll_of(server, whole, answers, shown)
    signatures = yield from acknowledge(server, whole, roll, sites)
    yield from reveal(server, whole, signatures, sites)


def split_roll(server, number, sites):
    ring = rings(server, number)()
    answers = yield from collect(server, ring, sites)
    whole = roll_of(server, ring, answers, dict.fromkeys(sites, ring))
    fewer = {site: said for site, said in answers.items() if site != VICTIM}
    smaller = roll_of(server, ring, fewer, dict.fromkeys(sites, ring))
    signatures = yield from acknowledge(server, ring, whole, sites[:2])
    signatures |= yield from acknowledge(server, ring, smaller, sites[2:])
    yield from reveal(server, ring, {site: signatures[site] for site in sites}, sites)


def no_roll(server, number, sites):
    ring = rings(server, number)()
    yield from collect(server, ring, sites)
    yield from reveal(server, ring, {}, sites)


def smaller_ring(server, number, sites):
    ring = rings(server, number)
    yield from collect(server, ring(), sites)
    rest = tuple(site for site in sites if site != VICTIM)
    answers = yield from collect(server, ring(VICTIM), rest)
    smaller = ring(VICTIM)
    roll = roll_of(server, smaller, answers, dict.fromkeys(rest, smaller))
    yield from acknowledge(server, smaller, roll, rest)


def between_rounds(server, number, sites):
    with open(os.path.join(os.environ["ALMONER_TEST_ROUNDS"], f"{number}.held"), "w"):
        threading.Event().wait()
    yield from ()


ROUNDS = {
    "split-ring": split_ring,
    "split-roll": split_roll,
    "no-roll": no_roll,
    "smaller-ring": smaller_ring,
    "between-rounds": between_rounds,
}


def swapping(conversation, terms):
    """Put keys of the server's own into the victim's set-up message, in what the others are shown."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    from almoner.protection.set_up import SET_UP_BYTES, JobKeys, make_set_up

    form = serialization.PrivateFormat.PKCS8
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    forged = make_set_up(terms, VICTIM, JobKeys.generate(), pem)
    question = next(conversation)
    while True:
        if question.task == "confirm":
            place = question.contributors.index(VICTIM) * SET_UP_BYTES
            body = question.body[:place] + forged + question.body[place + SET_UP_BYTES :]
            question = anyway(question)
            object.__setattr__(question, "body", body)
        question = conversation.send((yield question))


def wrap_protections(module):
    from almoner.errors import FederationError

    honest = module.server_protection

    def lying(envelope, *args):
        server, name = honest(envelope, *args), envelope.spec.name
        set_up, round_ = server.set_up, server.round

        def lying_round(number, sites):
            if number < 2:
                return (yield from round_(number, sites))
            yield from ROUNDS[name](server, number, sites)
            raise FederationError(f"the lie {name} was told to its end")

        if name in ROUNDS:
            server.round = lying_round
        elif name == "swapped-keys":
            server.set_up = lambda sites: swapping(set_up(sites), server._terms)
        return server

    module.server_protection = lying


WRAPPERS = {"almoner.flare.job.protections": wrap_protections}
