"""The folder of declarations that consortia keep: who takes part, what is allowed, where data lies.

The default consortium is `provisioning/consortium.yaml`, with `policies/` and `site_configs/`. Another one, NAME, is
`provisioning/NAME.yaml`, with `policies/NAME/` and `site_configs/NAME/`. No two of them share a name, a study or a
site: a job says only its study, and all that a site spends is in one ledger.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from almoner.errors import DocumentError
from almoner.schema.consortium import Consortium
from almoner.schema.documents import load_document
from almoner.schema.envelope import AnyJobSpec
from almoner.schema.policy import ConsortiumPolicy, SitePolicy
from almoner.schema.psi import PsiSpec
from almoner.schema.site import SiteConfig

DEFAULT = "consortium"
"""The declared name of the default consortium."""

NO_CONSORTIUM = frozenset({"examples", "tests"})
"""Folders of `policies/` that are no consortium's."""


@dataclass(frozen=True)
class Declarations:
    """Every declaration of one consortium, already checked to name the same sites.

    Args:
        declared: the consortium's declared name: that of its file in `provisioning/`.
    """

    consortium: Consortium
    floor: ConsortiumPolicy
    policies: dict[str, SitePolicy]
    sites: dict[str, SiteConfig]
    declared: str = DEFAULT

    def policy_path(self, root: Path, site: str) -> Path:
        """Return where a site's policy is, below the folder of declarations."""
        return _folder(root, "policies", self.declared) / f"{site}.yaml"

    def nominal_records(self, dataset: str, sites: tuple[str, ...]) -> dict[str, int]:
        """Return the declared public size of a data set at each of the sites that has it."""
        configs = {site: self.sites[site].datasets.get(dataset) for site in sites if site in self.sites}
        return {site: config.nominal_records for site, config in configs.items() if config is not None}


def load_declarations(root: Path, name: str | None = None) -> Declarations:
    """Read one consortium's declarations below a folder.

    Args:
        root: the folder with `provisioning/`, `policies/` and `site_configs/`.
        name: the consortium's declared name; the default one if None.

    Raises:
        DocumentError: a file is missing or malformed, a file names another site than its own name, there is no such
            consortium, or it shares a name, a study or a site with another.
    """
    consortia, declared = declared_consortia(root), DEFAULT if name is None else name
    if declared not in consortia:
        known = ", ".join(consortia)
        raise DocumentError(f"{root / 'provisioning'}: declares no consortium '{declared}' → one of {known}")
    return _load(root, declared, consortia[declared])


def load_all_declarations(root: Path) -> tuple[Declarations, ...]:
    """Read the declarations of all consortia, the default one first; see `load_declarations`."""
    return tuple(_load(root, name, consortium) for name, consortium in declared_consortia(root).items())


def declarations_of_study(root: Path, study: str) -> Declarations:
    """Read the declarations of the consortium that has a study.

    Raises:
        DocumentError: as `load_declarations`, or none has it.
    """
    consortia = declared_consortia(root)
    for name, consortium in consortia.items():
        if study in consortium.studies:
            return _load(root, name, consortium)
    known = ", ".join(study for consortium in consortia.values() for study in consortium.studies)
    raise DocumentError(f"{root / 'provisioning'}: no consortium has study '{study}' → one of {known}")


def job_sites(spec: AnyJobSpec, declarations: Declarations) -> tuple[str, ...]:
    """Return the sites that a job goes to: those of its study that have its data set; of an alignment, those it names.

    Raises:
        DocumentError: there are fewer than the job's min_sites.
    """
    study = declarations.consortium.sites_of_study(spec.study)
    sites = tuple(declarations.nominal_records(spec.dataset, study))
    if isinstance(spec, PsiSpec):
        sites = tuple(site for site in sites if site in spec.sites)
    if len(sites) < spec.min_sites:
        raise DocumentError(
            f"job {spec.name}: study {spec.study} has {len(sites)} sites with data set {spec.dataset}, "
            f"the job wants min_sites={spec.min_sites} → correct study or dataset, or lower min_sites"
        )
    return sites


def declared_consortia(root: Path) -> dict[str, Consortium]:
    """Read who takes part in each declared consortium, by declared name, the default one first.

    Raises:
        DocumentError: a file is missing or malformed, or two consortia share a name, a study or a site.
    """
    others = sorted(path.stem for path in (root / "provisioning").glob("*.yaml"))
    consortia, owners = {}, dict[tuple[str, str], Path]()
    for declared in (DEFAULT, *(name for name in others if name != DEFAULT)):
        path = root / "provisioning" / f"{declared}.yaml"
        if not path.exists():
            raise DocumentError(f"{path}: there is none → run this in a checkout, or name one by --root")
        consortia[declared] = load_document(path, Consortium)
        if declared in NO_CONSORTIUM:
            raise DocumentError(f"{path}: policies/{declared}/ is not a consortium's → give the file another name")
        for field, value in _unshared(consortia[declared]):
            if (owner := owners.setdefault((field, value), path)) != path:
                raise DocumentError(f"{path}: {field}: {value} is in {owner} too → rename one of them")
    return consortia


def _unshared(consortium: Consortium) -> Iterator[tuple[str, str]]:
    """Yield what no other consortium may have, with its field."""
    yield "name", consortium.name
    yield from (("studies", study) for study in consortium.studies)
    yield from (("sites", site) for site in consortium.sites)


def _folder(root: Path, kind: str, declared: str) -> Path:
    """Return a consortium's part of `policies/` or `site_configs/`."""
    return root / kind if declared == DEFAULT else root / kind / declared


def _load(root: Path, declared: str, consortium: Consortium) -> Declarations:
    """Read a consortium's policies and site configurations."""
    policy_folder, config_folder = (_folder(root, kind, declared) for kind in ("policies", "site_configs"))
    floor_path = policy_folder / "consortium.yaml"
    floor = load_document(floor_path, ConsortiumPolicy)
    if floor.consortium != consortium.name:
        raise DocumentError(f"{floor_path}: consortium: is {floor.consortium} → {consortium.name}, as in provisioning/")
    policies, sites = {}, {}
    for site in consortium.sites:
        policy_path, config_path = policy_folder / f"{site}.yaml", config_folder / f"{site}.yaml"
        policies[site] = load_document(policy_path, SitePolicy)
        sites[site] = load_document(config_path, SiteConfig)
        for path, named in ((policy_path, policies[site].site), (config_path, sites[site].site)):
            if named != site:
                raise DocumentError(f"{path}: site: is {named} → {site}, the name of the file")
        _check_populations(policies[site], sites[site], config_path)
    return Declarations(consortium, floor, policies, sites, declared)


def _check_populations(policy: SitePolicy, config: SiteConfig, path: Path) -> None:
    """Refuse a data set of a population that has no account."""
    accounts = [account.population for account in policy.accounts]
    for name, dataset in config.datasets.items():
        if dataset.population not in accounts:
            raise DocumentError(
                f"{path}: datasets.{name}.population: is {dataset.population}, but the site's policy has an "
                f"account for {' and '.join(accounts)} alone → use that population, or give the policy its account"
            )
