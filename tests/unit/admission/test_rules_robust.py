"""The rules about bad members, at their edges: contributors of a robust rule, groups of a study, a policy's demand."""

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from admission_cases import GROUPED, Case, policy, spec
from test_rules_at_their_edges import ask, status

from almoner.admission.layout import robustness_lines


def names(number: int) -> tuple[str, ...]:
    return tuple(f"s{index}" for index in range(number))


def robust(rule: str, bad: int, **fields: Any) -> dict[str, Any]:
    return {"kind": "robust", "rule": rule, "num_byzantine_sites": bad, **fields}


class TestRule:
    @pytest.mark.parametrize(
        ("aggregation", "needed"),
        [
            (robust("median", 1), 3),
            (robust("trimmed_mean", 2), 5),
            (robust("geometric_median", 2), 5),
            (robust("krum", 1), 5),
            (robust("multi_krum", 2), 7),
            (robust("bulyan", 1), 7),
            (robust("bulyan", 2), 11),
            (robust("norm_clipped_mean", 2, l2_clip_norm=1.0), 5),
            (robust("centered_clipping", 1, l2_clip_norm=1.0), 10),
            (robust("median", 1, pre=["bucketing"]), 5),
        ],
    )
    def test_the_papers_condition_on_sites_and_on_the_fewest_contributors(
        self, aggregation: dict[str, Any], needed: int
    ) -> None:
        def verdict(sites: int, contributors: int) -> str:
            case = Case(spec=spec(aggregation=aggregation, min_sites=contributors), sites=names(sites))
            return status("aggregation.rule", case)

        assert verdict(needed, needed) == verdict(50, needed) == "holds"
        assert verdict(needed - 1, needed - 1) == "broken"
        assert verdict(50, needed - 1) == "broken"

    def test_it_says_which_of_both_is_too_small(self) -> None:
        few = ask("aggregation.rule", Case(spec=spec(aggregation=robust("krum", 1)), sites=names(4)))
        assert few.finding.startswith("krum needs 5 rows to withstand f=1 (n ≥ 2f + 3; Blanchard et al.")
        assert few.finding.endswith("there are 4")
        low = ask("aggregation.rule", Case(spec=spec(aggregation=robust("krum", 1), min_sites=4), sites=names(9)))
        assert low.finding == "krum needs 5 contributors to bear 1 bad ones; min_sites 4 of 9"
        assert low.remedy == "set min_sites to at least 5"

    @pytest.mark.parametrize("aggregation", [{"kind": "plain"}, GROUPED])
    def test_other_jobs_are_no_matter_of_it(self, aggregation: dict[str, Any]) -> None:
        assert status("aggregation.rule", Case(spec=spec(aggregation=aggregation), sites=names(9))) == "unset"


class TestGroups:
    @staticmethod
    def case(number: int = 10, **fields: Any) -> Case:
        return Case(spec=spec(aggregation=GROUPED | fields), sites=names(number), study_sites=names(number))

    def test_three_groups_of_ten_sites(self) -> None:
        found = ask("aggregation.groups", self.case())
        assert found.status == "holds"
        assert found.finding == ("10 sites in 3 groups: median bears 1 bad, 0 failed groups, 0 missing sites anywhere")

    @pytest.mark.parametrize("number", range(3, 9))
    def test_few_sites_are_told_that_it_cannot_be(self, number: int) -> None:
        found = ask("aggregation.groups", self.case(number))
        assert found.status == "broken"
        assert "secure and robust together mean nothing below 9 sites" in found.finding
        assert found.remedy == "kind robust, or secagg without groups"

    @pytest.mark.parametrize(
        ("number", "fields", "expected"),
        [
            (9, {}, "holds"),
            (10, {"num_colluding_sites": 2}, "broken"),
            (12, {"num_colluding_sites": 2}, "holds"),
            (10, {"groups": 4}, "broken"),
            (10, {"num_byzantine_sites": 2}, "broken"),
            (20, {"groups": 5, "num_byzantine_sites": 2}, "holds"),
            (20, {"groups": 5, "num_byzantine_sites": 3}, "broken"),
            (20, {"groups": 5, "rule": "krum"}, "holds"),
            (20, {"groups": 5, "rule": "krum", "num_byzantine_sites": 2}, "broken"),
            (50, {"groups": 10, "num_byzantine_sites": 4, "num_colluding_sites": 3}, "holds"),
            (50, {"groups": 10, "num_byzantine_sites": 4, "num_colluding_sites": 4}, "broken"),
            (50, {"groups": 10, "rule": "krum", "num_byzantine_sites": 3}, "holds"),
        ],
    )
    def test_layouts(self, number: int, fields: dict[str, Any], expected: str) -> None:
        assert status("aggregation.groups", self.case(number, **fields)) == expected

    def test_jobs_without_groups_are_no_matter_of_it(self) -> None:
        secagg = spec(aggregation={"kind": "secagg", "num_colluding_sites": 1})
        assert status("aggregation.groups", Case(spec=secagg, study_sites=())) == "unset"

    def test_the_threshold_over_all_sites_is_none_of_a_grouped_job(self) -> None:
        assert status("aggregation.parties", self.case()) == "unset"


SITES = names(12)
Asked = tuple[tuple[str, ...], int]


def drawn(sites: Sequence[str], groups: int, seed: int) -> list[list[bool]]:
    """Return which of all sites each group of a draw has."""
    order = Random(seed).sample(sites, len(sites))
    return [[site in order[index::groups] for site in SITES] for index in range(groups)]


def individuals(sums: list[list[bool]]) -> int:
    """Count the sites whose single value follows from the values of such sums."""
    seen, units = np.array(sums, dtype=float).T, np.eye(len(SITES))
    found = seen @ np.linalg.lstsq(seen, units, rcond=None)[0]
    return int(np.isclose(found, units, atol=1e-6).all(axis=0).sum())


@pytest.mark.threat("T-43")
class TestRegrouping:
    """A site's updates are alike from round to round, so that sums over other groups can be set off."""

    JOBS: tuple[Asked, ...] = ((SITES, 3), (SITES, 4), (SITES[:-1], 3), (SITES, 3), (SITES[1:], 3), (SITES, 4))

    def admitted(self, job: Asked, stored: dict[str, int]) -> bool:
        sites, groups = job
        case = Case(spec=spec(aggregation=GROUPED | {"groups": groups}), sites=sites)
        return status("aggregation.groups", case.but(study_sites=SITES, stored_groups=stored)) == "holds"

    def test_new_groups_reveal_every_site_and_are_refused(self) -> None:
        each_its_own = [group for seed, (sites, groups) in enumerate(self.JOBS) for group in drawn(sites, groups, seed)]
        assert individuals(each_its_own) == len(SITES)
        kept = [job for job in self.JOBS if self.admitted(job, {"cardiology": 3})]
        assert kept == [(SITES, 3), (SITES, 3)]
        assert individuals([group for sites, groups in kept for group in drawn(sites, groups, 0)]) == 0

    def test_the_first_job_of_a_study_may_have_any_groups_that_can_be(self) -> None:
        assert self.admitted((SITES, 3), {})
        assert self.admitted((SITES, 4), {"oncology": 3})

    def test_the_refusal_names_the_groups_there_are(self) -> None:
        case = Case(spec=spec(aggregation=GROUPED), sites=SITES, study_sites=SITES, stored_groups={"cardiology": 4})
        found = ask("aggregation.groups", case)
        assert found.finding.startswith("study cardiology has 4 groups, drawn once; other groups")
        assert found.remedy == "set aggregation.groups to 4"

    def test_a_job_names_all_sites_of_its_study(self) -> None:
        case = Case(spec=spec(aggregation=GROUPED), sites=SITES[1:], study_sites=SITES)
        found = ask("aggregation.groups", case)
        assert found.finding == "groups are of all sites of study cardiology; the job and the roster differ in [s0]"
        assert status("aggregation.groups", case.but(study_sites=SITES[:-1])) == "broken"

    def test_a_roster_that_does_not_know_the_study_vouches_for_nobody(self) -> None:
        case = Case(spec=spec(aggregation=GROUPED), sites=SITES, study_sites=())
        assert ask("aggregation.groups", case).finding == "the roster does not say which sites study cardiology has"

    @pytest.mark.parametrize("kind", ["secagg", "he"])
    def test_a_sum_without_groups_gives_one_site_away_and_is_refused(self, kind: str) -> None:
        groups = drawn(SITES, 3, 0)
        sites = tuple(site for site, member in zip(SITES, groups[0], strict=True) if member)
        sites += tuple(site for site, member in zip(SITES, groups[1], strict=True) if member)[:1]
        assert individuals(groups) == 0
        assert individuals([*groups, [site in sites for site in SITES]]) == 1
        job = spec(aggregation={"kind": kind, "num_colluding_sites": 1})
        case = Case(spec=job, sites=sites, study_sites=SITES, stored_groups={"oncology": 3})
        assert status("aggregation.groups", case) == "unset"
        for asked in (sites, SITES):
            found = ask("aggregation.groups", case.but(sites=asked, stored_groups={"cardiology": 3}))
            assert found.status == "broken"
            assert found.finding.startswith("study cardiology has 3 groups, drawn once; set off against their sums")
            assert found.remedy == "set aggregation.groups to 3, and export the job for all sites of the study"

    @pytest.mark.parametrize("aggregation", [{"kind": "plain"}, robust("median", 1)])
    def test_what_shows_each_update_anyway_is_the_policys_decision(self, aggregation: dict[str, Any]) -> None:
        case = Case(spec=spec(aggregation=aggregation), stored_groups={"cardiology": 3})
        assert status("aggregation.groups", case) == "unset"


class TestSitesPerSum:
    @pytest.mark.parametrize(
        ("number", "fields", "in_sum"),
        [
            (9, {}, 3),
            (11, {}, 3),
            (15, {}, 4),
            (12, {"num_colluding_sites": 2}, 4),
            (14, {"num_colluding_sites": 2}, 4),
        ],
    )
    def test_the_smallest_group_counts(self, number: int, fields: dict[str, Any], in_sum: int) -> None:
        case = TestGroups.case(number, **fields)
        for least in range(1, 9):
            expected = "holds" if in_sum >= least else "broken"
            written = policy(require={"min_sites": 1, "min_sites_per_sum": least})
            unwritten = policy(require={"min_sites": least})
            assert status("require.sites_per_sum", case.but(policy=written)) == expected
            assert status("require.sites_per_sum", case.but(policy=unwritten)) == expected

    @pytest.mark.threat("T-46")
    def test_a_policy_written_before_groups_admits_no_sum_of_three(self) -> None:
        case = TestGroups.case().but(policy=policy(require={"min_sites": 8}))
        found = ask("require.sites_per_sum", case)
        assert found.finding == "a group's sum may be of 3 sites, at least 8 are demanded (min_sites)"
        off = case.but(policy=policy(require={"min_sites": 8, "min_sites_per_sum": 3}))
        assert status("require.sites_per_sum", off) == "holds"

    @pytest.mark.parametrize("aggregation", [{"kind": "secagg", "num_colluding_sites": 1}, GROUPED | {"groups": 4}])
    def test_sums_over_all_and_groups_that_cannot_be_are_no_matter_of_it(self, aggregation: dict[str, Any]) -> None:
        case = Case(spec=spec(aggregation=aggregation), sites=names(10))
        assert status("require.sites_per_sum", case) == "unset"


@pytest.mark.threat("T-40")
class TestRequired:
    @pytest.mark.parametrize(
        ("aggregation", "least", "expected"),
        [
            ({"kind": "plain"}, None, "unset"),
            ({"kind": "plain"}, 1, "broken"),
            ({"kind": "he", "num_colluding_sites": 4}, 1, "broken"),
            (robust("median", 1), 1, "holds"),
            (robust("median", 1), 2, "broken"),
            (GROUPED, 1, "holds"),
            (GROUPED, 2, "broken"),
        ],
    )
    def test_the_floor_on_f(self, aggregation: dict[str, Any], least: int | None, expected: str) -> None:
        case = Case(spec=spec(aggregation=aggregation), policy=policy(require={"min_byzantine_sites": least}))
        assert status("require.byzantine", case) == expected


class TestPlan:
    def test_a_robust_job(self) -> None:
        lines = robustness_lines(spec(aggregation=robust("krum", 1, pre=["bucketing"]), min_sites=9), 12)
        assert lines == (
            "attackers: krum after bucketing bears 1 of 12 sites that may send anything, and as many of 9 contributors",
            "drops: bears 3 of 12 sites, so that min_sites=9 are left",
            "price: the server sees each site's noised update",
        )

    def test_bad_sites_that_stay_silent_are_missing(self) -> None:
        def drops(least: int) -> str:
            return robustness_lines(spec(aggregation=robust("median", 2), min_sites=least), 12)[1]

        assert drops(10) == "drops: bears 2 of 12 sites, so that min_sites=10 are left"
        assert drops(11).endswith("so that min_sites=11 are left; 2 bad ones that stay silent end the job")

    def test_a_grouped_job(self) -> None:
        kinds = [line.partition(":")[0] for line in robustness_lines(spec(aggregation=GROUPED), 10)]
        assert kinds == ["groups", "attackers", "drops", "price"]

    @pytest.mark.parametrize(
        "job",
        [
            spec(),
            spec(aggregation=GROUPED),
            spec(aggregation=robust("krum", 2)),
            spec(aggregation=robust("krum", 1), min_sites=4),
        ],
    )
    def test_what_bears_nothing_or_cannot_be_promises_nothing(self, job: Any) -> None:
        assert robustness_lines(job, 6) == ()
