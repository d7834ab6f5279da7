"""Secret sharing beside Flower's SecAgg+ (flwr 1.42.0), and its masks beside what AES and addition alone take.

- `mask_vs_limit`: adding a client's ten masks (n=10) over a bare loop of AES-CTR and addition on as many bytes; the
  loop takes the fastest of a few block sizes. `mask_vs_gcm_limit`: over the same loop with OpenSSL's GCM, whose
  keystream is AES-CTR too and comes faster where the processor has VAES.
- `client_speedup_vs_flower`, `server_speedup_vs_flower`: a client's, and the server's, part of one round of a million
  parameters: keys and shares, quantising, masking, giving shares back; reading, adding and unmasking.
- `client_round_speedup_vs_flower`: the client's part with what Flower's has nothing of: it acknowledges who is in the
  sum, and verifies and unpacks the sum (in Flower the server unpacks it).
- `upload_vs_float32`: bytes of a masked vector with its tag and signature over those of the update in float32.
- `round_overhead_s`: see `round_overhead.py`.
"""

import secrets
from collections import defaultdict

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from tests.benchmarks import round_overhead
from tests.benchmarks.one_core import median, on_one_core, ratio, timed
from tests.benchmarks.peers import HERE, Peer, peers_python
from tests.benchmarks.protected_models import make_update
from tests.benchmarks.protection_job import Costs, ProtectedJob

from almoner.protection.parties import Parties
from almoner.protection.scheme import VALUE_BOUND
from almoner.protection.stream import KEY_BYTES
from almoner.secagg.masking import Mask, Masker
from almoner.secagg.packing import Packing

FLOWER = HERE / "flower_peer.py"
DIMENSION = 1_000_000
SITES = (10, 50)
DROPS = (0, 2)
ROUNDS = {10: 11, 50: 3}
MASK_ROUNDS = 15
LIMIT_MODES = {"ctr": modes.CTR(bytes(16)), "gcm": modes.GCM(bytes(12))}
LIMIT_BLOCKS = (4096, 8192, 16384, 32768)
LIKE_FLOWERS = ("quantise", "begin", "protect", "reveal")
CLIENT_CALLS = (*LIKE_FLOWERS, "acknowledge", "open")
Words = npt.NDArray[np.uint64]


def bare_loop(words: Words, keys: list[bytes], mode: modes.CTR | modes.GCM, block_words: int) -> None:
    """Add AES-256 streams to words, block by block, and do nothing else."""
    streams = [Cipher(algorithms.AES(key), mode).encryptor() for key in keys]
    zeros, block = np.zeros(8 * block_words, dtype=np.uint8), np.empty(block_words, dtype=np.uint64)
    data = block.view(np.uint8)
    for start in range(0, words.size, block_words):
        part = words[start : start + block_words]
        for stream in streams:
            stream.update_into(zeros[: 8 * part.size], data)
            np.add(part, block[: part.size], out=part)


def our_masks(words: Words, keys: list[bytes]) -> None:
    """Add masks as a site does, half of them with a minus."""
    masks = [Mask(key, bytes(32), 1, 1 if index % 2 else -1) for index, key in enumerate(keys)]
    Masker(masks, words.dtype).apply(words)


def mask_vs_limit(dimension: int) -> dict[str, float]:
    """Return our masking time over that of the bare loops, and all of them."""
    words: Words = np.zeros(Packing(10, VALUE_BOUND).num_words(dimension), dtype=np.uint64)
    keys = [secrets.token_bytes(KEY_BYTES) for _ in range(10)]
    ours: list[float] = []
    bare: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(MASK_ROUNDS):
        ours.append(timed(lambda: our_masks(words, keys))[1])
        for name, mode in LIMIT_MODES.items():
            for block in LIMIT_BLOCKS:
                bare[name, block].append(timed(lambda mode=mode, block=block: bare_loop(words, keys, mode, block))[1])
    own = median(ours)
    ctr, gcm = (min(median(bare[name, block]) for block in LIMIT_BLOCKS) for name in LIMIT_MODES)
    return {
        "mask_vs_limit": round(own / ctr, 3),
        "mask_vs_gcm_limit": round(own / gcm, 3),
        "mask_s": own,
        "mask_limit_s": ctr,
        "mask_gcm_limit_s": gcm,
    }


def _client(rounds: list[Costs], calls: tuple[str, ...]) -> float:
    """Return the median seconds of a site that sent its vector, some calls of a round added."""
    return median(sum(parts) for costs in rounds for parts in zip(*(costs.sites[call] for call in calls), strict=False))


def compare(num_sites: int) -> dict[int, dict[str, object]]:
    """Return the figures by number of drops; both sides run round by round in turn, the first ones are warm-ups."""
    threshold = Parties(num_sites, 1).threshold
    job = ProtectedJob("secagg", num_sites, DIMENSION)
    updates = {name: make_update(DIMENSION, seed) for seed, name in enumerate(job.names)}
    figures: dict[int, dict[str, object]] = {}
    with Peer(peers_python(), "-I", FLOWER, DIMENSION, num_sites, threshold) as flower:
        for drops in DROPS:
            job.round(updates, job.names[:drops])
            flower.ask(drops=drops)
            ours, theirs = [], []
            for _ in range(ROUNDS[num_sites]):
                ours.append(job.round(updates, job.names[:drops]))
                theirs.append(flower.ask(drops=drops))
            figures[drops] = _figures(ours, theirs)
    figures[0]["upload_vs_float32"] = round(job.message_bytes / (4 * DIMENSION), 4)
    figures[0]["upload_vs_float32_flower"] = round(theirs[0]["upload_bytes"] / (4 * DIMENSION), 2)
    figures[0]["set_up_client_s"] = median(map(sum, zip(*job.set_up_costs.sites.values(), strict=True)))
    figures[0]["set_up_server_s"] = round(sum(job.set_up_costs.server), 6)
    return figures


def _figures(ours: list[Costs], theirs: list[dict[str, dict[str, float]]]) -> dict[str, object]:
    """Return ratios and seconds of one number of drops."""
    client, whole = _client(ours, LIKE_FLOWERS), _client(ours, CLIENT_CALLS)
    server = median(sum(costs.server) for costs in ours)
    client_flower = median(sum(answer["client"].values()) for answer in theirs)
    server_flower = median(sum(answer["server"].values()) for answer in theirs)
    return {
        "client_speedup_vs_flower": ratio(client, client_flower),
        "server_speedup_vs_flower": ratio(server, server_flower),
        "client_round_speedup_vs_flower": ratio(whole, client_flower),
        "client_s": client,
        "client_s_flower": client_flower,
        "server_s": server,
        "server_s_flower": server_flower,
        "client_calls_s": {
            call: median(spent for costs in ours for spent in costs.sites[call]) for call in CLIENT_CALLS
        },
        "client_stages_s_flower": {
            stage: median(answer["client"][stage] for answer in theirs) for stage in theirs[0]["client"]
        },
    }


def measure() -> dict[str, object]:
    """Measure all; figures by name, and under each name by n and drops, or by dimension."""
    figures: dict[str, dict[str, object]] = defaultdict(dict)
    for dimension in (DIMENSION, 10 * DIMENSION):
        for name, value in mask_vs_limit(dimension).items():
            figures[name][f"d{dimension // 1_000_000}M"] = value
    for num_sites in SITES:
        for drops, found in compare(num_sites).items():
            for name, value in found.items():
                figures[name][f"n{num_sites}_drops{drops}"] = value
    return dict(figures)


def run() -> dict[str, object]:
    """Measure in a process of its own, then a federation with and without it."""
    return on_one_core(__name__) | round_overhead.in_own_process()
