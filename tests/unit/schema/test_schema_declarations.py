"""The folder of declarations: every file must name the site that it is named after."""

import shutil
from pathlib import Path

import pytest
from schema_cases import edit

from almoner.errors import DocumentError
from almoner.schema.declarations import (
    Declarations,
    declarations_of_study,
    declared_consortia,
    load_all_declarations,
    load_declarations,
)


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A copy of the checkout's declarations, to be damaged."""
    for folder in ("provisioning", "policies", "site_configs"):
        shutil.copytree(root / folder, tmp_path / folder)
    return tmp_path


def refused(folder: Path, name: str | None = None) -> str:
    with pytest.raises(DocumentError) as caught:
        load_declarations(folder, name)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_the_checkouts_declarations_are_good(declarations: Declarations) -> None:
    assert set(declarations.policies) == set(declarations.sites) == set(declarations.consortium.sites)


@pytest.mark.parametrize(
    ("file", "old", "new", "part"),
    [
        (
            "policies/hungary.yaml",
            "site: hungary",
            "site: cleveland",
            "site: is cleveland → hungary, the name of the file",
        ),
        (
            "site_configs/hungary.yaml",
            "site: hungary",
            "site: austria",
            "site: is austria → hungary, the name of the file",
        ),
        (
            "policies/consortium.yaml",
            "consortium: heart-consortium",
            "consortium: other",
            "consortium: is other → heart-",
        ),
        (
            "site_configs/hungary.yaml",
            "population: hungary-cardiology",
            "population: elsewhere",
            "datasets.cardiology.population: is elsewhere, but the site's policy has an account for hungary-",
        ),
        ("policies/hungary.yaml", "epsilon_cap: 3.0", "epsilon_cap: .nan", "accounts.0.epsilon_cap: "),
    ],
)
def test_files_that_disagree(copy: Path, file: str, old: str, new: str, part: str) -> None:
    path = copy / file
    path.write_text(edit(path.read_text(), old, new))
    message = refused(copy)
    assert message.startswith(str(path))
    assert part in message


def test_a_data_set_belongs_to_one_of_the_policys_populations(copy: Path) -> None:
    policy, config = copy / "policies" / "hungary.yaml", copy / "site_configs" / "hungary.yaml"
    account = policy.read_text().partition("accounts:\n")[2].partition("limits:")[0]
    second = account.replace("hungary-cardiology", "registry")
    policy.write_text(edit(policy.read_text(), account, account + second))
    config.write_text(edit(config.read_text(), "population: hungary-cardiology", "population: registry"))
    assert load_declarations(copy).sites["hungary"].population_of("cardiology") == "registry"
    config.write_text(edit(config.read_text(), "population: registry", "population: elsewhere"))
    assert "an account for hungary-cardiology and registry alone" in refused(copy)


@pytest.mark.parametrize(
    "file",
    [
        "provisioning/consortium.yaml",
        "policies/consortium.yaml",
        "policies/hungary.yaml",
        "site_configs/va-long-beach.yaml",
    ],
)
def test_files_that_are_missing(copy: Path, file: str) -> None:
    (copy / file).unlink()
    first = file == "provisioning/consortium.yaml"
    said = "there is none → run this in a checkout, or name one by --root" if first else "cannot be read: No such file"
    assert refused(copy).startswith(f"{copy / file}: {said}")


def test_sizes_are_those_of_the_sites_that_have_the_data(declarations: Declarations) -> None:
    sizes = declarations.nominal_records("cardiology", ("hungary", "cleveland", "nowhere"))
    assert list(sizes.items()) == [("hungary", 183), ("cleveland", 212)]
    assert declarations.nominal_records("no-such", ("hungary",)) == {}


class TestSeveralConsortia:
    def test_each_has_its_own_files(self, root: Path) -> None:
        banks = load_declarations(root, "banks")
        assert (banks.declared, banks.consortium.name) == ("banks", "bank-consortium")
        assert banks.policy_path(root, "bank-01") == root / "policies" / "banks" / "bank-01.yaml"
        assert load_declarations(root, "consortium") == load_declarations(root)
        found = [each.declared for each in load_all_declarations(root)]
        assert found[0] == "consortium"
        assert "banks" in found

    def test_a_job_finds_its_own_by_the_study(self, root: Path) -> None:
        assert declarations_of_study(root, "cardiology").declared == "consortium"
        assert declarations_of_study(root, "credit").declared == "banks"
        with pytest.raises(DocumentError) as caught:
            declarations_of_study(root, "oncology")
        assert str(caught.value).startswith(
            f"{root / 'provisioning'}: no consortium has study 'oncology' → one of cardiology, "
        )

    @pytest.mark.parametrize("name", ["bank", "../provisioning/banks", "", "README"])
    def test_an_unknown_name(self, root: Path, name: str) -> None:
        start = f"{root / 'provisioning'}: declares no consortium '{name}' → one of consortium, "
        assert refused(root, name).startswith(start)

    @pytest.mark.parametrize(
        ("old", "new", "what"),
        [
            ("  credit: {", "  cardiology: {", "studies: cardiology"),
            ("name: bank-consortium", "name: heart-consortium", "name: heart-consortium"),
            ("sites: [bank-01,", "sites: [hungary, bank-01,", "sites: hungary"),
        ],
    )
    def test_two_may_not_share_a_study_a_name_or_a_site(self, copy: Path, old: str, new: str, what: str) -> None:
        path, other = copy / "provisioning" / "banks.yaml", copy / "provisioning" / "consortium.yaml"
        path.write_text(edit(path.read_text(), old, new))
        for name in (None, "banks"):
            assert refused(copy, name) == f"{path}: {what} is in {other} too → rename one of them"

    def test_the_folders_of_examples_and_tests_are_no_consortiums(self, copy: Path) -> None:
        path = copy / "provisioning" / "tests.yaml"
        (copy / "provisioning" / "banks.yaml").rename(path)
        assert refused(copy) == f"{path}: policies/tests/ is not a consortium's → give the file another name"

    def test_what_is_wrong_in_one_does_not_stop_the_others_jobs(self, copy: Path) -> None:
        (copy / "policies" / "banks" / "bank-07.yaml").unlink()
        assert declarations_of_study(copy, "cardiology").declared == "consortium"
        assert refused(copy, "banks").startswith(str(copy / "policies" / "banks" / "bank-07.yaml"))

    def test_without_others_there_is_the_default_one(self, copy: Path) -> None:
        for path in (copy / "provisioning").glob("*.yaml"):
            if path.stem != "consortium":
                path.unlink()
        assert list(declared_consortia(copy)) == ["consortium"]
