"""The rendering is a function of the envelope alone, and holds no component that takes an argument."""

import json
import time
from pathlib import Path

import pytest
from flare_cases import ENCRYPTED, RELEASE_ONLY, SITES, SPEC, envelope

from almoner import __version__
from almoner.flare.door import render
from almoner.flare.door.render import new_envelope, render_app, render_job, render_meta
from almoner.flare.job.wire import TASKS
from almoner.flare.site.tree import read_tree, tree_digest
from almoner.provision import names
from almoner.schema.documents import parse_document
from almoner.schema.envelope import JobEnvelope
from almoner.schema.job import JobSpec


@pytest.mark.parametrize("spec", [SPEC, ENCRYPTED, RELEASE_ONLY])
def test_a_site_renders_the_same_bytes_from_the_envelope_it_reads(spec: JobSpec) -> None:
    made = envelope(spec)
    files = render_job(made)
    read = parse_document(files[f"app/config/{names.JOB_FILE}"].decode(), JobEnvelope, "x")
    assert read == made
    assert render_job(read) == files


def test_rendering_asks_no_clock_and_no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    before = render_job(envelope())
    monkeypatch.setattr(render.time, "time", lambda: 0.0)
    monkeypatch.setattr(render.secrets, "token_hex", lambda size: "")
    assert render_job(envelope()) == before


def test_every_field_of_the_envelope_is_in_the_bytes() -> None:
    base = tree_digest(render_app(envelope()))
    others = [
        envelope(nonce="f" * 32),
        envelope(sites=SITES[:3]),
        envelope(expires_unix_seconds=1_900_000_001),
        envelope(almoner_version="0.1.1"),
        envelope(ENCRYPTED),
        envelope(SPEC.model_copy(update={"purpose": "another"})),
        envelope(SPEC.model_copy(update={"privacy": SPEC.privacy.model_copy(update={"target_epsilon": 1.1})})),
    ]
    digests = [tree_digest(render_app(other)) for other in others]
    assert len({base, *digests}) == 1 + len(others)


def test_the_job_names_our_components_without_arguments_and_no_filters() -> None:
    files = {path: json.loads(content) for path, content in render_job(envelope()).items()}
    client, server = files["app/config/config_fed_client.json"], files["app/config/config_fed_server.json"]
    assert client["executors"] == [
        {
            "tasks": list(TASKS),
            "executor": {"path": names.EXECUTOR, "args": {}},
        }
    ]
    assert server["workflows"] == [{"id": "almoner", "path": names.CONTROLLER, "args": {}}]
    for config in (client, server):
        assert config["components"] == config["task_data_filters"] == config["task_result_filters"] == []


def test_no_text_of_the_job_is_where_flare_expands_it() -> None:
    files = render_job(envelope(SPEC.model_copy(update={"purpose": "a very telling purpose"})))
    assert [path for path, content in files.items() if b"telling" in content] == [f"app/config/{names.JOB_FILE}"]


def test_meta_names_the_sites_and_asks_for_no_resources() -> None:
    assert render_meta(envelope()) == {
        "name": "small",
        "resource_spec": {},
        "min_clients": 2,
        "deploy_map": {"app": ["server", *SITES]},
    }


def test_new_envelopes_are_fresh_and_expire() -> None:
    first, second = new_envelope(SPEC, SITES), new_envelope(SPEC, SITES, lifetime_seconds=3600)
    assert first.nonce != second.nonce
    assert len(first.nonce) == 32
    assert first.almoner_version == __version__
    assert 3000 < second.expires_unix_seconds - time.time() <= 3600


class TestTree:
    def write(self, folder: Path, files: dict[str, bytes]) -> Path:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    def test_a_deployed_folder_has_the_digest_of_its_rendering(self, tmp_path: Path) -> None:
        files = render_app(envelope())
        assert read_tree(self.write(tmp_path / "app", files)) == files
        assert tree_digest(read_tree(tmp_path / "app")) == tree_digest(files)

    def test_any_change_of_the_folder_changes_the_digest(self, tmp_path: Path) -> None:
        files = render_app(envelope())
        name = f"config/{names.JOB_FILE}"
        admitted = tree_digest(files)

        def added(folder: Path) -> None:
            (folder / "custom").mkdir()
            (folder / "custom" / "x.py").touch()

        changes = (
            added,
            lambda folder: (folder / name).write_bytes(files[name] + b"\n"),
            lambda folder: (folder / name).unlink(),
            lambda folder: (folder / name).rename(folder / "config" / "other.json"),
            lambda folder: (folder / "config").rename(folder / "conf"),
            lambda folder: (folder / "link").symlink_to("/etc"),
            lambda folder: (folder / "link").symlink_to("nowhere"),
        )
        for number, change in enumerate(changes):
            folder = self.write(tmp_path / str(number), files)
            change(folder)
            assert tree_digest(read_tree(folder)) != admitted, number

    def test_a_link_to_the_same_content_changes_the_digest(self, tmp_path: Path) -> None:
        files = render_app(envelope())
        folder = self.write(tmp_path / "app", files)
        path = folder / "config" / names.JOB_FILE
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        assert path.read_bytes() == files[f"config/{names.JOB_FILE}"]
        assert tree_digest(read_tree(folder)) != tree_digest(files)
