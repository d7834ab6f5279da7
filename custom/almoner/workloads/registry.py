"""The workloads that a site has installed. Text from a job picks one by name; it never imports code.

A workload's module is imported when the workload is first used: the parent process of a site decides about
jobs by name, and needs no torch for it. What it must know of a model stands here, or in the declaration of the
package that adds it; the job process compares that with the model before it reads data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from almoner.errors import PolicyViolation
from almoner.workloads.installed import source_digest
from almoner.workloads.package_files import WorkloadPackage
from almoner.workloads.package_import import import_from
from almoner.workloads.packages import AddedWorkload, added_workloads

if TYPE_CHECKING:
    from almoner.workloads.base import Workload


@dataclass(frozen=True)
class InstalledWorkload:
    """What is known of a workload without importing it.

    Args:
        module: the module and `class_name` the class in it.
        sources: the files that make its data adapter, its model and its loss; see `workload_digest`.
        dimension: the number of the model's parameters.
        units: what one unit of its `UnitData` may be called; the adapter groups records by just this.
        initial_weights: SHA-256 of the first weights as little-endian float64.
        one_record_per_unit: whether its `UnitData` has one record a unit, so that counts of records may be released.
        package: what it comes from, None for Almoner's own.
    """

    module: str
    class_name: str
    sources: tuple[str, ...]
    dimension: int
    units: tuple[str, ...]
    initial_weights: str
    one_record_per_unit: bool = True
    package: WorkloadPackage | None = None


IMAGE_SOURCES = (
    "workloads/image_workload.py",
    "workloads/image_folders.py",
    "workloads/image_reading.py",
    "workloads/nifti_files.py",
    "workloads/dicom_files.py",
    "data/image_labels.py",
    "data/bounded_files.py",
    "data/records.py",
    "data/split.py",
)
"""The files that read folders of medical images: part of the sources of each workload that takes them."""

WORKLOADS = {
    "heart_disease": InstalledWorkload(
        module="almoner.workloads.heart_disease",
        class_name="HeartDisease",
        sources=(
            "workloads/heart_disease.py",
            "workloads/base.py",
            "workloads/metrics.py",
            "workloads/site_table.py",
            "workloads/yes_or_no.py",
            "data/heart_disease.py",
            "data/records.py",
            "data/split.py",
        ),
        dimension=17,
        units=("patient",),
        initial_weights="b707241545a346265aab1ffb32ff64b55bf8f8dc1b56a46ef33ce3d15db11d33",
    ),
    "bank_credit": InstalledWorkload(
        module="almoner.workloads.bank_credit",
        class_name="BankCredit",
        sources=(
            "workloads/bank_credit.py",
            "workloads/base.py",
            "workloads/metrics.py",
            "workloads/site_table.py",
            "workloads/yes_or_no.py",
            "data/give_me_some_credit.py",
            "data/records.py",
            "data/split.py",
        ),
        dimension=225,
        units=("account",),
        initial_weights="860fa3ecd7cb319d6a7ad625c3ebd580b1ca4272b1f427d08cb23c1316822408",
    ),
    "digits_scattering": InstalledWorkload(
        module="almoner.workloads.digits_scattering",
        class_name="DigitsScattering",
        sources=(
            "workloads/digits_scattering.py",
            "workloads/base.py",
            "workloads/scattering.py",
            "workloads/strokes.py",
            "workloads/site_images.py",
            "workloads/site_arrays.py",
            "data/mnist.py",
            "data/archive.py",
            "data/split.py",
        ),
        dimension=39700,
        units=("image",),
        initial_weights="1972a1a694c0f30187d97a2d6e8170e5270fc478f2e936b2f838a03faff1260d",
    ),
    "digits_cnn": InstalledWorkload(
        module="almoner.workloads.digits_cnn",
        class_name="DigitsCnn",
        sources=(
            "workloads/digits_cnn.py",
            "workloads/base.py",
            "workloads/first_weights.py",
            "workloads/site_images.py",
            "workloads/site_arrays.py",
            "data/mnist.py",
            "data/archive.py",
            "data/split.py",
        ),
        dimension=26010,
        units=("image",),
        initial_weights="41029718a29d7736031c929c69e516cc45e4e5da5e82496516b38f7deab73a77",
    ),
    "brain_mri": InstalledWorkload(
        module="almoner.workloads.brain_mri",
        class_name="BrainMri",
        sources=(
            "workloads/brain_mri.py",
            "workloads/base.py",
            "workloads/first_weights.py",
            "workloads/scattering.py",
            "workloads/site_arrays.py",
            "data/brain_mri.py",
            "data/archive.py",
            "data/split.py",
            *IMAGE_SOURCES,
        ),
        dimension=6817,
        units=("image_group",),
        initial_weights="5647f56892b48f4983dfe2a7747b886a847d98107af61ae203d6218ffb66674b",
        one_record_per_unit=False,
    ),
    "next_word": InstalledWorkload(
        module="almoner.workloads.next_word",
        class_name="NextWord",
        sources=(
            "workloads/next_word.py",
            "workloads/next_word_text.py",
            "workloads/next_word_vocabulary.py",
            "workloads/base.py",
            "data/shakespeare.py",
            "data/archive.py",
            "data/records.py",
            "data/split.py",
        ),
        dimension=240_704,
        units=("speaker",),
        initial_weights="6d352c5c08695a0a0e7081cacff48f74e6ed7cda55e2c792957c54e86d09624e",
        one_record_per_unit=False,
    ),
    "predictive_maintenance": InstalledWorkload(
        module="almoner.workloads.predictive_maintenance",
        class_name="PredictiveMaintenance",
        sources=(
            "workloads/predictive_maintenance.py",
            "workloads/base.py",
            "workloads/first_weights.py",
            "workloads/metrics.py",
            "workloads/site_table.py",
            "workloads/yes_or_no.py",
            "data/hard_drives.py",
            "data/inert_pickle.py",
            "data/pickled_table.py",
            "data/records.py",
            "data/split.py",
        ),
        dimension=577,
        units=("drive",),
        initial_weights="03f52c88fcf68e1e8f658d5527f29bcea17a1963bddb9996747d52bfa4f68685",
    ),
    "lung_nodules_3d": InstalledWorkload(
        module="almoner.workloads.lung_nodules_3d",
        class_name="LungNodules3d",
        sources=(
            "workloads/lung_nodules_3d.py",
            "workloads/base.py",
            "workloads/first_weights.py",
            "workloads/metrics.py",
            "workloads/site_arrays.py",
            "data/lung_nodules.py",
            "data/lung_contours.py",
            "data/archive.py",
            "data/split.py",
            *IMAGE_SOURCES,
        ),
        dimension=4889,
        units=("patient",),
        initial_weights="14c179dfd6cd074b8a2d8e454a848b14fdd548cea00b165fde54e93a08d2e5c5",
        one_record_per_unit=False,
    ),
}


@lru_cache(maxsize=64)
def workload_digest(name: str) -> str:
    """Return the digest of the sources of one of Almoner's own workloads: its version, which a policy may pin."""
    return source_digest(WORKLOADS[name].sources)


@dataclass(frozen=True)
class Inventory:
    """All workloads that are installed, as they are on disk now.

    Args:
        usable: by name.
        refused: what packages add but cannot be used → why, in one line.
    """

    usable: dict[str, InstalledWorkload]
    refused: dict[str, str]


def inventory() -> Inventory:
    """Return all installed workloads; nothing of a package is imported."""
    added = added_workloads(WORKLOADS)
    return Inventory(WORKLOADS | {name: of_package(found) for name, found in added.usable.items()}, added.refused)


def package_of(name: str) -> str:
    """Return the digest of the package that a workload comes from; "" for Almoner's own, and for unknown ones."""
    known = None if name in WORKLOADS or not name else inventory().usable.get(name)
    return "" if known is None or known.package is None else known.package.digest


def registered(name: str, package: str | None = None) -> InstalledWorkload:
    """Return what is known of a workload; nothing is imported.

    Args:
        package: digest of the package that it must come from, "" for Almoner itself; None for any.

    Raises:
        PolicyViolation: it is not installed, or comes from something else; the text lists those that are installed.
    """
    found = Inventory(WORKLOADS, {}) if name in WORKLOADS else inventory()
    if name in found.refused:
        raise PolicyViolation(found.refused[name])
    if name not in found.usable:
        raise PolicyViolation(f"workload '{name}': not installed → installed are {', '.join(sorted(found.usable))}")
    known = found.usable[name]
    here = "" if known.package is None else known.package.digest
    if package is not None and here != package:
        raise PolicyViolation(
            f"workload '{name}': the job is for package {package[:16] or 'none'}, {here[:16] or 'none'} is installed "
            "→ install the one that the job was exported with"
        )
    return known


def workload(name: str, package: str | None = None) -> Workload:
    """Return the workload of a name, after importing its module.

    Guarantee: what is imported of a package are the bytes whose digest was compared.

    Args:
        package: as in `registered`; a job process gives the one that its job was admitted with.

    Raises:
        PolicyViolation: as `registered`, or the package has no such class.
    """
    known = registered(name, package)
    module = import_module(known.module) if known.package is None else import_from(known.package, known.module)
    found: type[Workload] | None = getattr(module, known.class_name, None)
    if found is None:
        raise PolicyViolation(
            f"workload '{name}': {known.module} has no class {known.class_name} → correct the package"
        )
    return found()


def of_package(added: AddedWorkload) -> InstalledWorkload:
    """Return a package's workload as the registry has its own."""
    said = added.declaration
    return InstalledWorkload(
        module=added.module,
        class_name=added.class_name,
        sources=(),
        dimension=said.dimension,
        units=said.units,
        initial_weights=said.initial_weights,
        one_record_per_unit=said.one_record_per_unit,
        package=added.package,
    )
