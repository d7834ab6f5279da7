"""The sum of one round: how the server writes it, and how a site reads and verifies it.

A total is a frame around the summed words ‖ the summed tag (8) ‖ the Merkle root (32) over the roll's entries.
"""

import io
from collections.abc import Sequence

import numpy as np

from almoner.errors import ProtocolError
from almoner.protection import message
from almoner.protection.set_up import JobTerms
from almoner.secagg.blocks import blocks
from almoner.secagg.contribution import Contribution, Roll
from almoner.secagg.masking import Mask, Masker, mask_tag
from almoner.secagg.merkle import ROOT_BYTES
from almoner.secagg.modular import packing_of
from almoner.secagg.packing import Int64
from almoner.secagg.session import Session, total_header
from almoner.secagg.tag import PRIME, RoundTag, decode_tag, encode_tag


def make_total(session: Session, roll: Roll, contributions: Sequence[Contribution], masks: Sequence[Mask]) -> bytes:
    """Add contributions and take masks off, block by block; nothing as long as a vector is held but the result.

    Args:
        contributions: of the roll's sites.
        masks: what is left of their masks, each as it was put on.
    """
    packing, negated = session.packing, [-mask for mask in masks]
    masker = Masker(negated, packing.dtype, packing.modulus)
    header = total_header(session.terms, len(contributions))
    out = io.BytesIO(bytes(message.HEADER_BYTES + header.payload_bytes))
    out.write(header.encode())
    for block in blocks(session.terms.dimension):
        place = packing.words(block)
        total = contributions[0].words[place].copy()
        for contribution in contributions[1:]:
            packing.add(total, contribution.words[place])
        masker.apply(total)
        out.write(total.data)
    tag = mask_tag(sum(contribution.tag for contribution in contributions), negated)
    out.write(encode_tag(tag) + roll.root)
    return out.getvalue()


def read_total(terms: JobTerms, count: int, data: bytes) -> Int64:
    """Return the sum that a total holds, int64[d], without looking at its tag: whoever sent it could have made it up.

    Args:
        terms: of the sites whose total it is.
        count: how many of them are in it.

    Raises:
        ProtocolError: the frame or a field's range is not that of a sum of so many.
    """
    packing = packing_of(len(terms.sites), terms.limit)
    payload = message.split(data, total_header(terms, count), "total")
    words = np.frombuffer(payload[: packing.num_bytes(terms.dimension)], dtype=packing.dtype)
    sums = np.empty(terms.dimension, dtype=np.int64)
    for block in blocks(terms.dimension):
        sums[block] = packing.unpack(words[packing.words(block)], block.stop - block.start, count)
    return sums


def open_total(session: Session, roll: Roll, tag: RoundTag, data: bytes) -> Int64:
    """Return the sum that a total holds.

    *Guarantee*: if no site gave K_tag to the server, it is the sum of what the sites of the roll put under their tags,
    except with probability d / 2^74 (see `tag.py`).

    Args:
        roll: U as this site acknowledged it.

    Returns:
        int64[d].

    Raises:
        ProtocolError: the frame, the root, a field's range or the tag is not that of this sum.
    """
    terms, packing, count = session.terms, session.packing, len(roll.sites)
    payload = message.split(data, total_header(terms, count), "open: total")
    words = np.frombuffer(payload[: session.words_bytes], dtype=packing.dtype)
    stated = decode_tag(bytes(payload[session.words_bytes : -ROOT_BYTES]), "open: the total's tag")
    if bytes(payload[-ROOT_BYTES:]) != roll.root:
        raise ProtocolError("open: the total's root is not that of the contributions this site acknowledged")
    running, sums = tag.running(packing.tag_bound(count)), np.empty(terms.dimension, dtype=np.int64)
    for block in blocks(terms.dimension):
        sums[block] = packing.unpack(words[packing.words(block)], block.stop - block.start, count)
        running.add(sums[block])
    if (running.value() + sum(tag.pad(site) for site in roll.sites)) % PRIME != stated:
        raise ProtocolError("open: the total's tag does not verify: the server did not add what the sites sent")
    return sums
