"""The one set of BFV parameters: fixed here, never read from a message.

Ring degree N = 4096, one 60-bit ciphertext modulus q, a 46-bit batching plaintext modulus t. The
Homomorphic Encryption Standard (ePrint 2019/939) allows 109 bits of modulus at N = 4096 for 128-bit
security; SEAL refuses parameters that are weaker (TC128), and so does `context`.

Noise: a fresh symmetric ciphertext has at most 21 in a coefficient, and rounding adds at most 1, so 50
addends reach 1,100. Decryption is exact below q/(2t) = 8,192.
"""

from functools import lru_cache
from hashlib import sha256
from typing import Any

import tenseal.sealapi as seal

from almoner.encryption.packing import FIELD_BITS, SLOTS
from almoner.errors import ProtocolError
from almoner.protection.scheme import VALUE_BOUND

POLY_MODULUS_DEGREE = SLOTS
COEFF_MODULUS_BITS = (60,)
PLAIN_MODULUS_BITS = 46


@lru_cache(maxsize=1)
def context() -> Any:
    """Return SEAL's context of the parameters; holds no key and no randomness.

    Raises:
        ProtocolError: this build of SEAL does not accept the parameters.
    """
    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(POLY_MODULUS_DEGREE)
    parameters.set_coeff_modulus(seal.CoeffModulus.Create(POLY_MODULUS_DEGREE, list(COEFF_MODULUS_BITS)))
    parameters.set_plain_modulus(seal.PlainModulus.Batching(POLY_MODULUS_DEGREE, PLAIN_MODULUS_BITS))
    made = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
    if not made.parameters_set():
        raise ProtocolError(f"SEAL refuses the BFV parameters ({made.parameters_error_name()}): reinstall tenseal")
    return made


@lru_cache(maxsize=1)
def parameters_id() -> bytes:
    """Return 16 bytes that name the moduli and the packing; messages and keys carry them."""
    chosen = context().first_context_data().parms()
    moduli = ",".join(str(modulus.value()) for modulus in chosen.coeff_modulus())
    text = (
        f"almoner bfv v1 n={POLY_MODULUS_DEGREE} q={moduli} t={chosen.plain_modulus().value()} "
        f"fields=2x{FIELD_BITS} offset={VALUE_BOUND}"
    )
    return sha256(text.encode()).digest()[:16]
