"""The states that a site passes in secret sharing, each with exactly what may still be used in it."""

from dataclasses import dataclass

from almoner.protection.hidden import Hidden
from almoner.secagg.contribution import Roll
from almoner.secagg.dealing import Dealt, Holding, RoundSecrets
from almoner.secagg.offers import Ring


@dataclass(frozen=True, repr=False, eq=False)
class SetUp(Hidden):
    """The sites are agreeing on keys."""


@dataclass(frozen=True, repr=False, eq=False)
class Ready(Hidden):
    """Between rounds; `dealt` is what this site offered for the next one."""

    number: int
    dealt: Dealt | None


@dataclass(frozen=True, repr=False, eq=False)
class Begun(Hidden):
    """The ring is known; `secrets` is None outside it."""

    ring: Ring
    holdings: dict[str, Holding]
    secrets: RoundSecrets | None


@dataclass(frozen=True, repr=False, eq=False)
class Contributed(Hidden):
    """This site sent its values, and sends no others."""

    ring: Ring
    holdings: dict[str, Holding]


@dataclass(frozen=True, repr=False, eq=False)
class Acknowledged(Hidden):
    """This site signed a roll, and signs no other."""

    ring: Ring
    holdings: dict[str, Holding]
    roll: Roll


@dataclass(frozen=True, repr=False, eq=False)
class Revealed(Hidden):
    """This site gave its shares; `dealt` is what it offered for the next round."""

    ring: Ring
    roll: Roll
    dealt: Dealt


@dataclass(frozen=True, repr=False, eq=False)
class Ended(Hidden):
    """Nothing is held."""


@dataclass(frozen=True, repr=False, eq=False)
class Opened(Hidden):
    """The last sum that was verified, so that the same total opens again."""

    asked: bytes
    roll: Roll


State = SetUp | Ready | Begun | Contributed | Acknowledged | Revealed | Ended
