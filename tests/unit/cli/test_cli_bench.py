"""`almoner bench pipeline` on the four hospitals' public data, shortened: one run, and what it measured."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from cli_cases import Shell

from almoner.experiments.pipeline.layers import variants_of
from almoner.experiments.traffic import site_traffic
from almoner.schema.documents import load_document
from almoner.schema.job import JobSpec
from almoner.workloads.registry import workload

SIGNED, ENTRY, TAG, ROOT = 64, 96, 8, 32
"""Bytes of a signature, of an entry of the roll, of a tag, of a root."""


def test_each_layer_is_run_and_its_bytes_are_those_of_the_protocol(
    root: Path, tmp_path: Path, almoner: Shell, request: pytest.FixtureRequest
) -> None:
    job, cache = root / "jobs" / "heart_disease.yaml", Path(request.config.cache.mkdir("almoner-data"))
    options = ("--root", root, "--cache", cache, "--out", tmp_path, "--rounds", 2, "--seeds", 1, "--share", 0.3)
    outcome = almoner("bench", "pipeline", job, *options)
    assert outcome.code == 0
    assert "3 of 3 runs, 0:00 left" in outcome.err
    [folder] = tmp_path.iterdir()
    facts = json.loads((folder / "metrics.json").read_text())
    layers = {layer["layer"]: layer for layer in facts["layers"]}
    assert list(layers) == ["plain", "dp", "he", "secagg", "commitments", "groups"]
    assert len(facts["sites"]) == 12
    _bytes_are_those_computed(layers, load_document(job, JobSpec), facts["sites"])
    _models_are_alike(layers)
    _commitments_are_a_part(layers)
    with (folder / "pipeline.csv").open() as file:
        assert [row["layer"] for row in csv.DictReader(file)] == list(layers)
    assert (folder / "pipeline.png").read_bytes().startswith(b"\x89PNG")
    assert f"{layers['groups']['figures']['accuracy']['mean']:.4f}" in outcome.out


def _bytes_are_those_computed(layers: dict[str, Any], spec: JobSpec, sizes: dict[str, int]) -> None:
    """Counted bytes of a round are those that `traffic` computes from the protocols' own lengths."""
    variants = variants_of(spec, len(sizes))
    dimension = workload(spec.workload).dimension
    jobs = {"plain": variants.plain, "dp": variants.dp, "he": variants.he, "commitments": variants.secagg}
    for name, variant in jobs.items():
        traffic = site_traffic(variant, sizes, dimension, spec.training.update_limit)
        measured = layers[name]["round_sent_bytes"], layers[name]["round_received_bytes"]
        assert measured == (traffic.round_upload, traffic.round_download)
        if name != "he":  # its dealer sends the key beside
            assert layers[name]["set_up_sent_bytes"] == traffic.set_up_upload


def _models_are_alike(layers: dict[str, Any]) -> None:
    """Encryption and secret sharing open the sums that are there in clear; DP and groups make other models."""
    figures = {name: layer["figures"] for name, layer in layers.items()}
    assert figures["dp"] == figures["he"] == figures["secagg"] == figures["commitments"]
    assert figures["plain"] != figures["dp"] != figures["groups"]


def _commitments_are_a_part(layers: dict[str, Any]) -> None:
    without, whole = layers["secagg"], layers["commitments"]
    num_sites = 12
    assert whole["round_sent_bytes"] - without["round_sent_bytes"] == TAG + SIGNED
    assert whole["round_received_bytes"] - without["round_received_bytes"] == num_sites * ENTRY + TAG + ROOT
    for side in ("site", "server"):
        assert 0 < without[f"round_{side}_seconds"] < whole[f"round_{side}_seconds"]
    assert whole["figures"] == without["figures"]


def test_a_job_without_privacy_has_no_layers(root: Path, almoner: Shell) -> None:
    outcome = almoner("bench", "pipeline", root / "jobs" / "next_word.yaml", "--root", root)
    assert outcome.code == 2
    assert outcome.err.startswith("error: job next-word: trains without privacy")


def test_data_that_is_not_public_is_refused(root: Path, tmp_path: Path, almoner: Shell) -> None:
    for name in ("provisioning", "policies", "site_configs", "jobs"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "site_configs").unlink()
    (tmp_path / "site_configs").mkdir()
    for path in (root / "site_configs").glob("*.yaml"):
        (tmp_path / "site_configs" / path.name).write_text(path.read_text().replace("public: true", "public: false"))
    outcome = almoner("bench", "pipeline", tmp_path / "jobs" / "heart_disease.yaml", "--root", tmp_path)
    assert outcome.code == 2
    assert "not registered public" in outcome.err
