"""How sites are split into groups for secure aggregation with a robust rule, and what such a layout bears.

Each group is a secure aggregation of its own, and a rule combines the groups' means. All c colluding sites may sit in
one group, so each group's threshold takes the full c. All f Byzantine sites may sit in different groups, so the rule
must bear f of the m groups. Who is in which group is not decided here.
"""

from dataclasses import dataclass

from almoner.errors import PolicyViolation
from almoner.protection.parties import MIN_SITES, Parties
from almoner.robust.conditions import min_rows
from almoner.schema.aggregation import GroupRuleKind

MIN_GROUPS = 3
"""Of two groups that disagree, nothing tells which one is bad."""


def group_sizes(num_sites: int, num_groups: int) -> tuple[int, ...]:
    """Return the sizes of so many groups, the larger ones first; they differ by one at most."""
    size, larger = divmod(num_sites, num_groups)
    return (size + 1,) * larger + (size,) * (num_groups - larger)


def max_groups(num_sites: int, num_colluding_sites: int) -> int:
    """Return the most groups that so many sites make: each needs two honest members beside all c colluding ones."""
    return num_sites // max(MIN_SITES, num_colluding_sites + 2)


@dataclass(frozen=True)
class GroupLayout:
    """Sizes of the groups, and what they bear.

    *Guarantee*: with at most f Byzantine sites and `failed_groups_borne` failed groups, more than half of the m groups
    are honest, and the rule's own condition holds for the groups left, where the server shows every site the sums that
    it was sent. With at most c sites at its side, the server learns of a group, each round, nothing but one sum of at
    least two honest members, under the noise of each.

    *Price*: the server and every site see each group's mean, so a colluding server learns sums over fewer sites than
    without groups. Of a group that bears drops, a server that leaves one member out of a round and another out of the
    next learns sums over different members; their difference is of two rounds' updates, each with noise of its own,
    and that noise is all that protects then. One site with bad values spoils its group's mean. One that breaks the
    protocol (words that are no values, a bad tag) fails its group, as do more silent sites than its `drops`: the honest
    members are out too, and where `failed_groups_borne` is 0 the job ends, and says which group it was.

    Args:
        num_sites: n, all sites of the study.
        num_groups: m.
        num_colluding_sites: c, sites at the server's side; a matter of privacy.
        num_byzantine_sites: f, sites that may send any values; a matter of robustness. It may exceed c.
        rule: what combines the means of the groups.

    Raises:
        PolicyViolation: no such layout protects and bears what it says.
    """

    num_sites: int
    num_groups: int
    num_colluding_sites: int
    num_byzantine_sites: int
    rule: GroupRuleKind

    def __post_init__(self) -> None:
        n, m, c = self.num_sites, self.num_groups, self.num_colluding_sites
        if m < 1 or c < 1 or self.num_byzantine_sites < 1:
            raise PolicyViolation("groups, num_colluding_sites and num_byzantine_sites → at least 1 each")
        if n < MIN_GROUPS * MIN_SITES:
            raise PolicyViolation(
                f"{n} sites make at most {n // MIN_SITES} groups of {MIN_SITES}, and a rule needs {MIN_GROUPS} to tell "
                f"a bad one: secure and robust together mean nothing below {MIN_GROUPS * MIN_SITES} sites "
                "→ kind robust, or secagg without groups"
            )
        most = max_groups(n, c)
        if m > most:
            remedy = f"at most {most} groups, or " if most >= MIN_GROUPS else ""
            raise PolicyViolation(
                f"{m} groups of {n} sites have {n // m} each: all c={c} colluding sites may sit in one group, which "
                f"then takes {max(MIN_SITES, c + 2)} → {remedy}a smaller num_colluding_sites"
            )
        if m < (needed := min_rows(self.rule, self.num_byzantine_sites)):
            remedy = f"at least {needed} groups, or " if needed <= most else ""
            raise PolicyViolation(
                f"{self.rule} needs {needed} groups to bear f={self.num_byzantine_sites} bad ones, there are {m}; "
                f"{n} sites with c={c} make at most {most} → {remedy}a smaller num_byzantine_sites"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sites of each group, the larger ones first; they differ by one at most."""
        return group_sizes(self.num_sites, self.num_groups)

    @property
    def parties(self) -> tuple[Parties, ...]:
        """Each group as the parties of its own secure aggregation, in the order of `sizes`."""
        return tuple(Parties(size, self.num_colluding_sites) for size in self.sizes)

    @property
    def drops(self) -> tuple[int, ...]:
        """How many sites of each group may drop out before it fails, in the order of `sizes`."""
        return tuple(group.num_sites - group.threshold for group in self.parties)

    @property
    def failed_groups_borne(self) -> int:
        """How many groups may fail."""
        return max(failed for failed in range(self.num_groups) if self.bears(failed))

    @property
    def drops_borne(self) -> int:
        """How many sites may drop out, wherever they sit."""
        cheapest = sorted(spare + 1 for spare in self.drops)
        return sum(cheapest[: self.failed_groups_borne + 1]) - 1

    @property
    def min_in_sum(self) -> int:
        """Of how many sites, at the least, the server sees the sum."""
        return min(group.threshold for group in self.parties)

    @property
    def min_honest_in_sum(self) -> int:
        """Of how many honest sites, at the least, a server with c colluding ones sees the sum."""
        return self.min_in_sum - self.num_colluding_sites

    def bears(self, num_failed: int) -> bool:
        """Say whether a round counts in which so many groups failed, with f Byzantine sites among the others."""
        bad, left = num_failed + self.num_byzantine_sites, self.num_groups - num_failed
        return 2 * bad < self.num_groups and left >= min_rows(self.rule, self.num_byzantine_sites)

    def describe(self, min_sites: int) -> tuple[str, ...]:
        """Return what the layout is, what it bears, and its price, a line each, as `almoner job plan` prints them.

        Args:
            min_sites: the job's; with fewer contributors it ends, whatever the layout bears.
        """
        m, f, c = self.num_groups, self.num_byzantine_sites, self.num_colluding_sites
        total = self.num_sites - min_sites
        fatal = min(self.drops_borne, total) + 1
        drops = dict(zip(self.sizes, self.drops, strict=True))
        sizes = " and ".join(f"{self.sizes.count(size)} of {size}" for size in drops)
        spare = ", ".join(f"{spare} in a group of {size}" for size, spare in drops.items())
        others = ", and by leaving members out sums over others in other rounds" if any(self.drops) else ""
        return (
            f"groups: {self.num_sites} sites in {m} groups ({sizes}), drawn once for the study by its sites, in "
            f"its first grouped job: all later ones must have {m}",
            f"attackers: bears {_sites(f)} that may send any values: each spoils its group, and {self.rule} bears {f} "
            f"bad of {m} groups; one that breaks the protocol (false words, a bad tag) fails its group, which "
            + ("is borne as below" if self.failed_groups_borne and total >= self.sizes[0] else "ends the job"),
            f"drops: bears {spare}; bears {self.failed_groups_borne} failed groups; min_sites {min_sites} bears "
            f"{total} missing in all: {_sites(fatal)} missing, honest or not, can end the job",
            f"price: the server and every site see each group's mean; a server with {_sites(c)} at its side sees the "
            f"sum of as few as {self.min_honest_in_sum} others{others}, under their noise; sites take other groups' "
            "sums on its word; one bad or missing site can take its group with it",
        )


def _sites(number: int) -> str:
    """Return a number of sites in words."""
    return f"{number} site{'s' * (number != 1)}"
