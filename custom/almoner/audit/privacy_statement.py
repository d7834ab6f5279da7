"""What a DP statement says in words, after the evaluation pyramid of NIST SP 800-226.

The figures are recomputed by whoever verifies; these sentences are the platform's own, and no proof of anything.
"""

from typing import Any

PUBLICATION = "NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees (March 2025)"

_TRUST = {
    "trusted_server": "the server sees each site's noised update, and is trusted not to attack it",
    "semi_honest_server": "the server follows the protocol, and its operator uses no site's key, all of which he made",
    "active_server": "the server may do anything, with at most the stated number of sites at its side",
}

_STATED = {
    "parameters": "ε of the account is the claim for everything a unit's records were ever used for at this site; ε of "
    "the job is that of its mechanisms alone, which are fixed in advance. The two do not add up",
    "composition": "Rényi filter at one integer order for the account's life (arXiv:2008.11193); the job alone by "
    "privacy loss distributions (arXiv:2207.04380)",
    "sampler": "Poisson sampling of units, probabilities rounded down to multiples of 2^-53",
    "random_generator": "AES-128 in counter mode, keyed by the operating system, for noise and sampling in training; "
    "OpenDP's own for released statistics",
    "arithmetic": "clipped sums go onto a grid, noise is rounded to it and added as integers; charges are rounded up",
    "data_exposure": "no record leaves a site; what is public about the data is declared in the site's signed kit",
}

_SIDE_CHANNELS = [
    "timing: each step does a fixed number of padded passes, but takes the time that the machine takes; when an answer "
    "leaves is not hidden",
    "floating point: noise is added as integers on a grid; gradients themselves are computed in float32 at the site",
    "errors and refusals: one fixed reply for every failure; refusals depend on public parameters and the ledger alone",
    "power, caches and other users of the site's machine: not covered",
]

_NOT_COVERED = [
    "what the site's staff, or whoever can write its files, do with the records",
    "inference about groups larger than the unit, and facts that hold whether or not a unit is in the data",
    "units known to several sites: each site's ε is about its own records; for a unit at m sites the charges add up",
    "whether ε is small enough for the purpose: the consortium's decision, which no tool can make",
]


def stated_about_privacy(trust_model: str | None) -> dict[str, Any]:
    """Return the words of a DP statement."""
    return {
        "after": PUBLICATION,
        **_STATED,
        "trust_model": _TRUST.get(trust_model or "", "the job was not admitted here"),
        "side_channels": _SIDE_CHANNELS,
        "not_covered": _NOT_COVERED,
    }
