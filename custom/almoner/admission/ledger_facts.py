"""Reads the history of jobs out of a ledger's entries, new ones on top of those that were read before.

Only what the chain holds counts. An admission is known by its reservation; study, submitter and approval
come from the decision beside it. Entries of kinds that are not listed here change nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from almoner.admission.history import History, JoinedDataset, PastJob
from almoner.privacy.ledger_entries import Entry

_ENDS = ("settled", "abandoned", "reconciled")


class LedgerFacts:
    """Folds entries, oldest first, into a `History`."""

    def __init__(self) -> None:
        self._jobs: dict[str, PastJob] = {}
        self._policy_digest = ""
        self._approvals: dict[str, str] = {}
        self._populations: frozenset[str] = frozenset()
        self._joined: dict[str, JoinedDataset] = {}

    def read(self, entries: Iterable[Entry]) -> None:
        """Take up further entries."""
        for entry in entries:
            payload = json.loads(entry.payload)
            when = datetime.fromisoformat(entry.time).timestamp()
            if entry.kind == "reserved":
                self._reserved(payload, when)
            elif entry.kind == "decision":
                self._decided(payload)
            elif entry.kind == "started":
                self._change(payload["job_id"], started=True)
            elif entry.kind == "committed":
                job_id = payload["receipt"]["job_id"]
                self._change(job_id, committed=self._jobs[job_id].committed + 1)
            elif entry.kind == "released":
                self._change(payload["job_id"], released=self._jobs[payload["job_id"]].released + 1)
            elif entry.kind in _ENDS:
                job = self._jobs[payload["job_id"]]
                left = max(0.0, job.charge - payload.get("refund", 0.0))
                ended = when if job.ended_unix_seconds is None else job.ended_unix_seconds
                self._change(job.job_id, ended_unix_seconds=ended, charge=left)
            elif entry.kind == "policy":
                self._policy_digest = payload["new"]
            elif entry.kind == "approval":
                self._approvals[payload["job_digest"]] = payload["approval_digest"]
            elif entry.kind == "account-opened":
                self._populations |= {payload["account"]["population"]}
            elif entry.kind == "disjoint":
                self._joined = {name: JoinedDataset(**found) for name, found in payload["datasets"].items()}

    def history(self) -> History:
        """Return what was read so far."""
        return History(
            tuple(self._jobs.values()),
            self._policy_digest,
            MappingProxyType(dict(self._approvals)),
            self._populations,
            MappingProxyType(self._joined),
        )

    def _reserved(self, payload: dict[str, Any], when: float) -> None:
        """Add a job."""
        self._jobs[payload["job_id"]] = PastJob(
            job_id=payload["job_id"],
            population=payload["population"],
            reserved_unix_seconds=when,
            charge=sum(step["charge"] for step in payload["steps"]),
            planned=len(payload["steps"]),
        )

    def _decided(self, payload: dict[str, Any]) -> None:
        """Say whose a job is; a refusal has no reservation of its own."""
        if payload.get("verdict") == "admitted" and payload.get("job_id") in self._jobs:
            self._change(
                payload["job_id"],
                study=payload.get("study"),
                submitter=payload.get("submitter"),
                approval_digest=payload.get("approval_digest", ""),
            )

    def _change(self, job_id: str, **what: Any) -> None:
        """Replace a job by one with changed fields."""
        self._jobs[job_id] = replace(self._jobs[job_id], **what)
