"""What an alignment of two lists of 50,000 takes, in processor seconds of one site, without FLARE's messaging.

- `normalise_s`: from the file's text to identifiers; the south's list, which has the odder spellings.
- `blind_s`, `exchange_s`: the two steps on the curve, 0.1 ms an entry; both sites do them at the same time.
- `compare_s`, `learn_s`: the leader's and the member's last step.
- `sent_bytes`: what a member sends in all, a function of the cap.
"""

import time

from tests.unit.psi.psi_cases import TASKS, Network, terms

from almoner.data.patient_lists import NUM_PATIENTS, NUM_SHARED, SITES, render_list
from almoner.psi.normalise import identifier, normalise
from almoner.schema.site import DateOrder

ORDERS: dict[str, DateOrder] = {"north-hospital": "day_month_year", "south-hospital": "month_day_year"}


def identifiers(site: str) -> list[bytes | None]:
    """Return the identifiers of a hospital's list."""
    found: list[bytes | None] = []
    for line in render_list(site, NUM_PATIENTS, NUM_SHARED).decode().splitlines()[1:]:
        _, token, born = line.split(",")
        forms = {"token": normalise(token, "text", None), "born": normalise(born, "date", ORDERS[site])}
        found.append(identifier(forms))
    return found


def run() -> dict[str, object]:
    """Align the two lists once; both sites in this one process, so that a step's time is that of both, halved."""
    start = time.process_time()
    made = {site: render_list(site, NUM_PATIENTS, NUM_SHARED) for site in SITES}
    rendered = time.process_time() - start
    start = time.process_time()
    lists = dict(zip(("ada", "bob"), (identifiers(site) for site in made), strict=True))
    figures: dict[str, object] = {"normalise_s": round((time.process_time() - start - rendered) / 2, 2)}
    network = Network(terms(cap=NUM_PATIENTS))
    for task in TASKS:
        start = time.process_time()
        network.step(task, lists)
        both = 1 if task in ("compare", "learn") else 2
        figures[f"{task}_s"] = round((time.process_time() - start) / both, 2)
    sent = sum(len(said) for (_, site), said in network.said.items() if site == "bob")
    kept = network.machines["bob"].alignment
    return {**figures, "identifiers": NUM_PATIENTS, "in_common": kept.num_common, "sent_bytes": sent}
