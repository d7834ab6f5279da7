"""Writes secagg.json. Imports nothing of almoner: hashlib, hmac, and AES in ECB mode from cryptography alone."""

import hashlib
import hmac
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

FIELD = 2**256 - 189
TAG_FIELD = 2**61 - 1
TRANSCRIPT = bytes(range(32))
RING_DIGEST = bytes(range(100, 132))
SITES = ["ada", "bob", "cyd"]
NUMBER = 7


def statement(label: bytes, number: int, site: str, *parts: bytes) -> bytes:
    """SHA-256 over length-prefixed fields: what every signature and key of a job is bound to."""
    data = b"almoner-statement-1"
    for part in (label, TRANSCRIPT, number.to_bytes(8, "big"), site.encode(), *parts):
        data += len(part).to_bytes(8, "big") + part
    return hashlib.sha256(data).digest()


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256 and salt T, one block of output."""
    extracted = hmac.digest(TRANSCRIPT, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def counter_stream(key: bytes, length: int) -> bytes:
    """SP 800-38A, 6.5: the cipher of 2, 3, 4, ... as 128-bit big-endian numbers; GCM keeps 1 for its tag."""
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = [ecb.update(counter.to_bytes(16, "big")) for counter in range(2, 2 + -(-length // 16))]
    return b"".join(blocks)[:length]


def shamir() -> list[dict[str, object]]:
    """Shares by evaluating the polynomial term by term; the secret by solving nothing: it is the first coefficient."""
    cases = []
    for name, threshold, indices in (
        ("3 of 5", 3, [1, 2, 3, 4, 5]),
        ("1 of 1", 1, [1]),
        ("4 of 5", 4, [2, 3, 50, 254, 255]),
    ):
        coefficients = [
            int.from_bytes(hashlib.sha256(f"{name} {k}".encode()).digest(), "big") % FIELD for k in range(threshold)
        ]
        shares = {x: sum(c * x**k for k, c in enumerate(coefficients)) % FIELD for x in indices}
        cases.append(
            {
                "name": name,
                "coefficients": [c.to_bytes(32, "big").hex() for c in coefficients],
                "shares": {str(x): share.to_bytes(32, "big").hex() for x, share in shares.items()},
            }
        )
    extremes = {x: (FIELD - 1 + (FIELD - 1) * x) % FIELD for x in (1, 2)}
    cases.append(
        {
            "name": "largest coefficients",
            "coefficients": [(FIELD - 1).to_bytes(32, "big").hex()] * 2,
            "shares": {str(x): share.to_bytes(32, "big").hex() for x, share in extremes.items()},
        }
    )
    return cases


def masks() -> list[dict[str, object]]:
    """Derived secrets, the first bytes of their streams, and the pads over tags."""
    secret = bytes(range(200, 232))
    alice = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
    bob = X25519PrivateKey.from_private_bytes(bytes(range(33, 65)))
    bob_public = bob.public_key().public_bytes_raw()
    shared = alice.exchange(X25519PublicKey.from_public_bytes(bob_public))
    made = {
        "self": hkdf(secret, statement(b"almoner-secagg-self-mask-1", NUMBER, "bob", RING_DIGEST)),
        "pair": hkdf(shared, statement(b"almoner-secagg-pair-mask-1", NUMBER, "ada", RING_DIGEST, b"cyd")),
    }
    return [
        {
            "name": name,
            "stream": counter_stream(hkdf(key, statement(b"almoner-secagg-mask-of-words-1", NUMBER, "")), 80).hex(),
            "tag_pad": int.from_bytes(hkdf(key, statement(b"almoner-secagg-mask-of-tag-1", NUMBER, "")), "big")
            % TAG_FIELD,
        }
        for name, key in made.items()
    ]


def tags() -> dict[str, object]:
    """A tag over two rows and a bit, in Python integers."""
    key = bytes(range(50, 82))
    data = counter_stream(hkdf(key, statement(b"almoner-secagg-tag-vector-1", NUMBER, "")), 8 * 8193)
    words = [int.from_bytes(data[8 * k : 8 * k + 8], "little") >> 3 for k in range(8193)]
    step, row = words[0] % TAG_FIELD, words[1:]
    values = [(k * 7919 + 13) % 65535 - 32767 for k in range(2 * 8192 + 5)]
    tag = sum(value * row[k % 8192] * pow(step, k // 8192, TAG_FIELD) for k, value in enumerate(values)) % TAG_FIELD
    pad = int.from_bytes(hkdf(key, statement(b"almoner-secagg-tag-pad-1", NUMBER, "bob")), "big") % TAG_FIELD
    return {"num_values": len(values), "tag": tag, "pad": pad}


def merkle() -> dict[str, object]:
    """RFC 9162, 2.1.1 and 2.1.3.1, over the leaves of the test suite of Certificate Transparency."""
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    data = [bytes.fromhex(leaf) for leaf in leaves]

    def head(entries: list[bytes]) -> bytes:
        if not entries:
            return hashlib.sha256(b"").digest()
        if len(entries) == 1:
            return hashlib.sha256(b"\x00" + entries[0]).digest()
        k = max(2**power for power in range(10) if 2**power < len(entries))
        return hashlib.sha256(b"\x01" + head(entries[:k]) + head(entries[k:])).digest()

    def path(m: int, entries: list[bytes]) -> list[bytes]:
        if len(entries) == 1:
            return []
        k = max(2**power for power in range(10) if 2**power < len(entries))
        if m < k:
            return [*path(m, entries[:k]), head(entries[k:])]
        return [*path(m - k, entries[k:]), head(entries[:k])]

    return {
        "leaves": leaves,
        "roots": [head(data[:size]).hex() for size in range(9)],
        "paths": {
            f"{m} of {size}": [h.hex() for h in path(m, data[:size])] for size in range(1, 9) for m in range(size)
        },
    }


def vectors() -> dict[str, object]:
    return {"shamir": shamir(), "masks": masks(), "tag": tags(), "merkle": merkle()}


if __name__ == "__main__":
    text = json.dumps(vectors(), indent=1) + "\n"
    sys.stdout.write(text) if "--print" in sys.argv else Path(__file__).with_name("secagg.json").write_text(text)
