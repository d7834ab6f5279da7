"""The attacks by name."""

from collections.abc import Callable
from dataclasses import dataclass

from almoner.errors import PolicyViolation
from almoner.redteam.poisoning.adaptive import Adaptive
from almoner.redteam.poisoning.attack import Attack, Vector
from almoner.redteam.poisoning.backdoor import ModelReplacement
from almoner.redteam.poisoning.crude import GaussianNoise, LabelFlip, SignFlip
from almoner.redteam.poisoning.hidden import InnerProduct, LittleIsEnough, MinMax, MinSum
from almoner.redteam.poisoning.mimic import Mimic

HomeTraining = Callable[[Vector], Vector]
"""The colluders' own training on records with a backdoor: weights -> weights."""


@dataclass(frozen=True, slots=True)
class KnownAttack:
    """One row of the matrix.

    Args:
        make: makes the attack for one run.
        heading: its short name in tables.
        text: what it sends, in one line.
    """

    make: Callable[[HomeTraining], Attack]
    heading: str
    text: str


ATTACKS: dict[str, KnownAttack] = {
    "model_replacement": KnownAttack(ModelReplacement, "replace", "a backdoored model, scaled up"),
    "sign_flip": KnownAttack(lambda train: SignFlip(), "sign", "its own update turned round and scaled"),
    "gaussian": KnownAttack(lambda train: GaussianNoise(), "gauss", "noise up to the grid's limit"),
    "label_flip": KnownAttack(lambda train: LabelFlip(), "labels", "an honest update on flipped labels"),
    "little_is_enough": KnownAttack(lambda train: LittleIsEnough(), "alie", "the honest mean, shifted a little"),
    "inner_product": KnownAttack(lambda train: InnerProduct(None), "ipm", "the honest mean turned round and scaled"),
    "inner_product_small": KnownAttack(lambda train: InnerProduct(0.5), "ipm/2", "half the honest mean turned round"),
    "min_max": KnownAttack(lambda train: MinMax(), "minmax", "as far off as the widest honest pair allows"),
    "min_sum": KnownAttack(lambda train: MinSum(), "minsum", "as far off as the sum of honest distances allows"),
    "mimic": KnownAttack(lambda train: Mimic(), "mimic", "a copy of the honest site that stands out most"),
    "adaptive": KnownAttack(lambda train: Adaptive(), "adapt", "what turns the actual rule furthest"),
}
"""Name -> attack."""

NO_ATTACK = "none"

BACKDOORS = frozenset({"model_replacement"})
"""The attacks that plant a backdoor; of the others only the AUC counts."""


def make_attack(name: str, train: HomeTraining) -> Attack:
    """Return an attack for one run.

    Raises:
        PolicyViolation: when there is none of this name.
    """
    if name not in ATTACKS:
        raise PolicyViolation(f"attack '{name}': unknown → one of {', '.join(ATTACKS)}")
    return ATTACKS[name].make(train)
