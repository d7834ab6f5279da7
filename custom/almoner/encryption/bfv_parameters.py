"""The one set of BFV parameters: fixed here, never read from a message.

Ring degree N = 4096, one 60-bit ciphertext modulus q, a 44-bit prime plaintext modulus t. The Homomorphic Encryption
Standard (ePrint 2019/939) allows 109 bits of modulus at N = 4096 for 128-bit security; SEAL refuses parameters that
are weaker (TC128), and so does `context`. t exceeds every sum of 50 packed slots, and is prime for the tags.

Noise: a fresh symmetric ciphertext has at most 21 in a coefficient, and rounding adds at most 1, so 50 addends reach
1,100. Decryption is exact below q/(2t) = 32,768: never fewer than 4.9 bits are left, and typically 8.
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
COEFF_MODULUS = 1_152_921_504_606_830_593
"""q."""

PLAIN_MODULUS = 17_592_186_028_033
"""t."""


@lru_cache(maxsize=1)
def context() -> Any:
    """Return SEAL's context of the parameters; holds no key and no randomness.

    Raises:
        ProtocolError: this build of SEAL does not accept the parameters.
    """
    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(POLY_MODULUS_DEGREE)
    parameters.set_coeff_modulus(seal.CoeffModulus.Create(POLY_MODULUS_DEGREE, list(COEFF_MODULUS_BITS)))
    parameters.set_plain_modulus(PLAIN_MODULUS)
    made = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
    if not made.parameters_set():
        raise ProtocolError(f"SEAL refuses the BFV parameters ({made.parameters_error_name()}): reinstall tenseal")
    if [modulus.value() for modulus in parameters.coeff_modulus()] != [COEFF_MODULUS]:
        raise ProtocolError("SEAL chose another ciphertext modulus: install tenseal 0.3.18 from PyPI")
    return made


@lru_cache(maxsize=1)
def parameters_id() -> bytes:
    """Return 16 bytes that name the moduli and the packing; messages and keys carry them."""
    text = (
        f"almoner bfv v2 n={POLY_MODULUS_DEGREE} q={COEFF_MODULUS} t={PLAIN_MODULUS} "
        f"fields=2x{FIELD_BITS} offset={VALUE_BOUND} coefficients count tags=2"
    )
    return sha256(text.encode()).digest()[:16]
