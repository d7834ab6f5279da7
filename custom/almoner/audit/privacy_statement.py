"""What a DP statement says in words, after the evaluation pyramid of NIST SP 800-226.

The figures are recomputed by whoever verifies; these sentences are the platform's own, and no proof of anything.
"""

from typing import Any

from almoner.schema.envelope import AnyJobSpec
from almoner.schema.job import JobSpec
from almoner.schema.statistics import StatisticsSpec

PUBLICATION = "NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees (March 2025)"

_TRUST = {
    "trusted_server": "the server sees what each site sends, and is trusted not to attack it",
    "semi_honest_server": "the server follows the protocol, and its operator uses no site's key, all of which he made",
    "active_server": "the server may do anything, with at most the stated number of sites at its side",
}

_ACCOUNT = "Rényi filter at one integer order for the account's life (arXiv:2008.11193)"
_BY_DISTRIBUTIONS = (
    f"{_ACCOUNT}; the job alone by privacy loss distributions (arXiv:2207.04380), or by its Rényi divergence where "
    "that is smaller or they would be too large"
)
_BY_RENYI = (
    f"{_ACCOUNT}; the job alone by its Rényi divergence too, converted to ε at the job's δ: there is no privacy loss "
    "distribution of "
)
_RELEASE = "; a released accuracy is two counts with integer Laplace noise, by OpenDP"
_OPENDP = "OpenDP's own"
_AES = "AES-128 in counter mode, keyed by the operating system, for noise and sampling in training"
_POISSON = "Poisson sampling of units, probabilities rounded down to multiples of 2^-53"
_NO_SAMPLING = "none: no unit is left out by chance"
_ROUNDED_UP = "charges are rounded up"

_PARAMETERS = (
    "ε of the account is the claim for everything a unit's records were ever used for at this site; ε of the job is "
    "that of its mechanisms alone, which are fixed in advance. The two do not add up"
)
_DATA = "no record leaves a site; what is public about the data is declared in the site's signed kit"

_TRAINING = {
    "dp_sgd": {
        "composition": _BY_DISTRIBUTIONS,
        "sampler": _POISSON,
        "random_generator": _AES,
        "arithmetic": f"clipped sums go onto a grid, noise is rounded to it and added as integers; {_ROUNDED_UP}",
    },
    "distributed_dp": {
        "composition": f"{_BY_RENYI}noise that is shared (arXiv:1908.10530, arXiv:2102.06387)",
        "sampler": _POISSON,
        "random_generator": _AES,
        "arithmetic": "clipped sums go onto a grid; each site adds its share of the noise, drawn as integers from the "
        f"discrete Gaussian (arXiv:2004.00010); sums are modulo a prime, and nothing saturates; {_ROUNDED_UP}",
    },
    "none": {
        "parameters": "no ε: the job trains without privacy, on data that its site registered as public",
        "composition": f"{_ACCOUNT}; the job alone is charged nothing",
        "sampler": "Poisson sampling of records",
        "random_generator": "AES-128 in counter mode, keyed by the operating system, for sampling in training",
        "arithmetic": "sums of gradients, each as a whole cut to a norm; no unit is clipped, and no noise is added",
    },
}

_STATISTICS = {
    "integer_laplace": {
        "composition": _BY_DISTRIBUTIONS,
        "arithmetic": f"records are added up as integers; integer Laplace noise from exact rationals; {_ROUNDED_UP}",
    },
    "discrete_gaussian": {
        "composition": f"{_BY_RENYI}ρ-zCDP",
        "arithmetic": "records are added up as integers; discrete Gaussian noise from exact rationals "
        f"(arXiv:2004.00010); {_ROUNDED_UP}",
    },
    "distributed": {
        "composition": f"{_BY_RENYI}ρ-zCDP of noise that is shared (arXiv:2102.06387)",
        "arithmetic": "records are added up as integers; each site adds its share of the noise, discrete Gaussian from "
        f"exact rationals (arXiv:2004.00010); sums are modulo a prime, and nothing saturates; {_ROUNDED_UP}",
    },
}

_ALIGNMENT = {
    "parameters": f"{_PARAMETERS}. It covers the size of the intersection, if that is released; no ε covers which "
    "records sites have in common",
    "composition": _BY_DISTRIBUTIONS,
    "sampler": "none; of a list that is over the cap, what is left out is chosen by a keyed hash",
    "random_generator": f"{_OPENDP} for the released size; the operating system's for keys, salts and fillings",
    "arithmetic": f"identifiers are compared as blinded curve points; integer Laplace noise on the size; {_ROUNDED_UP}",
    "data_exposure": "no record leaves a site but as a blinded identifier; each site learns which of its own all "
    "others have, and the leader of three or more which of its own each other has",
}

_TRAINING_CHANNELS = [
    "timing: each step does a fixed number of padded passes, but takes the time that the machine takes; when an answer "
    "leaves is not hidden",
    "floating point: noise is added as integers on a grid; gradients themselves are computed in float32 at the site",
]
_OPEN_CHANNELS = ["timing, floating point: nothing that leaves is protected, by whatever way it leaves"]
_OTHER_CHANNELS = [
    "timing: how long reading and drawing noise take is not covered; when an answer leaves is not hidden",
    "floating point: what leaves, and its noise, are integers; the scale of the noise alone is not",
]
_SIDE_CHANNELS = [
    "errors and refusals: one fixed reply for every failure; refusals depend on public parameters and the ledger alone",
    "power, caches and other users of the site's machine: not covered",
]

_NOT_COVERED = [
    "what the site's staff, or whoever can write its files, do with the records",
    "inference about groups larger than the unit, and facts that hold whether or not a unit is in the data",
    "units known to several sites: each site's ε is about its own records; for a unit at m sites the charges add up",
    "whether ε is small enough for the purpose: the consortium's decision, which no tool can make",
]


def stated_about_privacy(spec: AnyJobSpec | None, trust_model: str | None) -> dict[str, Any]:
    """Return the words of a DP statement, those that hold for a job of this kind and mechanism.

    Args:
        spec: of the job; None if it was not admitted here.
        trust_model: what the job asks its sites to believe about the server; None if it was not admitted here.
    """
    noised = _TRAINING_CHANNELS if isinstance(spec, JobSpec) else _OTHER_CHANNELS
    channels = _OPEN_CHANNELS if isinstance(spec, JobSpec) and spec.privacy.mechanism == "none" else noised
    return {
        "after": PUBLICATION,
        "parameters": _PARAMETERS,
        "data_exposure": _DATA,
        **_of_job(spec),
        "trust_model": _TRUST.get(trust_model or "", "the job was not admitted here"),
        "side_channels": [*channels, *_SIDE_CHANNELS],
        "not_covered": _NOT_COVERED,
    }


def _of_job(spec: AnyJobSpec | None) -> dict[str, str]:
    """Return what is said of the mechanisms of a job; one that is not admitted has none."""
    if spec is None:
        nothing = dict.fromkeys(("sampler", "random_generator", "arithmetic"), "the job was not admitted here")
        return {"composition": _ACCOUNT, **nothing}
    if isinstance(spec, JobSpec):
        return _of_training(spec)
    if isinstance(spec, StatisticsSpec):
        noise = "distributed" if spec.trust.kind == "distributed" else spec.privacy.mechanism
        return {**_STATISTICS[noise], "sampler": _NO_SAMPLING, "random_generator": _OPENDP}
    return _ALIGNMENT


def _of_training(spec: JobSpec) -> dict[str, str]:
    """Return what is said of a training job, with its releases if it has any."""
    said = _TRAINING[spec.privacy.mechanism]
    if not spec.releases:
        return said
    generator = f"{said['random_generator']}; {_OPENDP} for the released accuracy"
    return {**said, "random_generator": generator, "arithmetic": said["arithmetic"] + _RELEASE}
