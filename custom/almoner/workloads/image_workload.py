"""A learning task that a site may give a folder of medical images."""

from abc import abstractmethod
from pathlib import Path

from almoner.errors import PolicyViolation
from almoner.schema.images import ImageFolder
from almoner.training.units import UnitData
from almoner.workloads.base import Workload


class ImageWorkload(Workload):
    """A workload whose data may be a folder of images."""

    @abstractmethod
    def load_images(self, path: Path, images: ImageFolder) -> UnitData:
        """Load a site's folder, in general by `almoner.workloads.image_folders.load_image_folder`.

        One that makes several records of an image needs `max_records_per_unit` of the site, or one of them is used.

        Guarantee: as of `load`.

        Args:
            path: the folder.
            images: what the site declares of it.

        Raises:
            DataError: the folder has no list of labels. Local; never sent.
        """


def verify_takes(workload: Workload, images: ImageFolder | None) -> None:
    """Check that a workload can read what a site declares; no data is looked at.

    Raises:
        PolicyViolation: the data set is a folder of images, and the workload takes none.
    """
    if images is not None and not isinstance(workload, ImageWorkload):
        raise PolicyViolation(
            f"workload {workload.name}: takes no image folders → choose a data set without images in site_configs/"
        )
