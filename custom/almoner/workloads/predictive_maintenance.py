"""Which drives in the racks are about to fail: a small MLP on what a drive says of itself on one day.

What is known when the prediction is made: the drive's model, its temperature, and whether its three error counters are
above 0. The source has each drive once, and does not say on which day these were read. The counters only make sense as
read late: of drives with pending sectors six in ten failed. So this is a screening ("does this drive look like those
that failed?"), not a forecast with a known lead time; how early it would have warned, this source cannot tell.

The days that a drive had run are **not** used, though they would raise the AUC from 0.93 to 0.95. They are counted to
the failure or else to the end of the study, so they are half of the outcome: at maker-a the median survivor had run
264 days, the median failed drive 86. The target has a limit of the same kind: it says "failed while it was watched",
and a drive that was watched for a month had less time to fail than one that was watched for two years.

Nothing is fitted to data. Temperature is clamped and scaled by numbers that stand in this file, and so do the models:
names from makers' catalogues. Of any other model nothing is known but temperature and counters.
"""

from collections import OrderedDict
from pathlib import Path

import torch

from almoner.data.hard_drives import COLUMNS
from almoner.training.units import UnitData
from almoner.workloads.first_weights import draw_first_weights
from almoner.workloads.site_table import finite_number
from almoner.workloads.yes_or_no import YesOrNo, load_answers

COUNTERS = ("reallocated", "read_errors", "pending")

COOL, HOT = 15.0, 45.0
"""Between which temperatures, in °C, drives are meant to run."""

MODELS = (
    "HGST",
    "Hitachi",
    "SAMSUNG",
    "ST1500DL001",
    "ST1500DL003",
    "ST1500DM003",
    "ST2000DL001",
    "ST2000DL003",
    "ST2000DM001",
    "ST2000VN000",
    "ST250LM004",
    "ST250LT007",
    "ST3000DM001",
    "ST31500341AS",
    "ST31500541AS",
    "ST3160316AS",
    "ST3160318AS",
    "ST32000542AS",
    "ST320005XXXX",
    "ST320LT007",
    "ST33000651AS",
    "ST3500320AS",
    "ST4000DM000",
    "ST4000DX000",
    "ST500LM012",
    "ST6000DX000",
    "ST9250315AS",
    "ST9320325AS",
    "TOSHIBA",
    "WDC",
)
"""Models, or makers where the source names no model, in the source's list."""

TARGET = "failed"
HIDDEN = 16
_WEIGHTS_OF = b"almoner/predictive_maintenance/first weights/1"


class PredictiveMaintenance(YesOrNo):
    """Failure of a hard drive, yes or no, from its model, temperature and error counters; a unit is a drive."""

    name = "predictive_maintenance"

    def build_model(self) -> torch.nn.Module:
        """Build one hidden layer of bounded units (tanh, arXiv:2007.14191); `draw_first_weights` draws its weights."""
        layers = OrderedDict(
            hidden=torch.nn.Linear(NUM_FEATURES, HIDDEN),
            tanh=torch.nn.Tanh(),
            output=torch.nn.Linear(HIDDEN, 1),
            log_odds=torch.nn.Flatten(0),
        )
        model = torch.nn.Sequential(layers)
        draw_first_weights(model, _WEIGHTS_OF)
        return model

    def load(self, path: Path) -> UnitData:
        """Load a site's `drives.csv`; see the base class for what this guarantees."""
        return load_answers(path, COLUMNS, TARGET, NUM_FEATURES, encode)


def encode(values: dict[str, str]) -> list[float]:
    """Encode one record's raw fields; total: every text has an encoding.

    Args:
        values: raw text by column name.

    Returns:
        NUM_FEATURES numbers, each in [-2, 2]: the temperature, the counters (1 or 0), and 1 in the place of the model.
    """
    temperature = finite_number(values["temperature"])
    middle = (COOL + HOT) / 2
    clamped = middle if temperature is None else min(max(temperature, COOL), HOT)
    counters = [float((finite_number(values[name]) or 0.0) > 0) for name in COUNTERS]
    return [4 * (clamped - middle) / (HOT - COOL), *counters, *(float(values["model"] == name) for name in MODELS)]


NUM_FEATURES = len(encode(dict.fromkeys(COLUMNS, "")))
