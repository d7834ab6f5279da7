"""The folder of declarations that a consortium keeps: who takes part, what is allowed, where data lies."""

from dataclasses import dataclass
from pathlib import Path

from almoner.errors import DocumentError
from almoner.schema.consortium import Consortium
from almoner.schema.documents import load_document
from almoner.schema.policy import ConsortiumPolicy, SitePolicy
from almoner.schema.site import SiteConfig


@dataclass(frozen=True)
class Declarations:
    """Every declaration of one consortium, already checked to name the same sites."""

    consortium: Consortium
    floor: ConsortiumPolicy
    policies: dict[str, SitePolicy]
    sites: dict[str, SiteConfig]

    def nominal_records(self, dataset: str, sites: tuple[str, ...]) -> dict[str, int]:
        """Return the declared public size of a data set at each of the sites that has it."""
        configs = {site: self.sites[site].datasets.get(dataset) for site in sites if site in self.sites}
        return {site: config.nominal_records for site, config in configs.items() if config is not None}


def load_declarations(root: Path) -> Declarations:
    """Read `provisioning/`, `policies/` and `site_configs/` below a folder.

    Raises:
        DocumentError: a file is missing or malformed, or a file names another site than its own name.
    """
    consortium = load_document(root / "provisioning" / "consortium.yaml", Consortium)
    floor_path = root / "policies" / "consortium.yaml"
    floor = load_document(floor_path, ConsortiumPolicy)
    if floor.consortium != consortium.name:
        raise DocumentError(f"{floor_path}: consortium: is {floor.consortium} → {consortium.name}, as in provisioning/")
    policies, sites = {}, {}
    for site in consortium.sites:
        policy_path, config_path = root / "policies" / f"{site}.yaml", root / "site_configs" / f"{site}.yaml"
        policies[site] = load_document(policy_path, SitePolicy)
        sites[site] = load_document(config_path, SiteConfig)
        for path, named in ((policy_path, policies[site].site), (config_path, sites[site].site)):
            if named != site:
                raise DocumentError(f"{path}: site: is {named} → {site}, the name of the file")
        accounts = [account.population for account in policies[site].accounts]
        for name, dataset in sites[site].datasets.items():
            if dataset.population not in accounts:
                raise DocumentError(
                    f"{config_path}: datasets.{name}.population: is {dataset.population}, but the site's policy has an "
                    f"account for {' and '.join(accounts)} alone → use that population, or give the policy its account"
                )
    return Declarations(consortium, floor, policies, sites)
