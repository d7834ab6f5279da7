"""Rules about the task: study, purpose, workload, data set, releases."""

from datetime import UTC, datetime

from almoner.admission.grid import job_grid
from almoner.admission.rule import UNSET, Question, Verdict, broken, holds, listed, of_training
from almoner.errors import PolicyViolation
from almoner.schema.job import JobSpec
from almoner.schema.policy_allow import Pins
from almoner.schema.statistics import StatisticsSpec


def studies(asked: Question) -> Verdict:
    """The study must be admitted."""
    study, allowed = asked.spec.study, asked.site.policy.allow.studies
    if study in allowed:
        return holds(f"{study} is in {listed(allowed)}")
    return broken(f"{study} is not in {listed(allowed)}")


def purposes(asked: Question) -> Verdict:
    """Study and purpose must be one of those that the policy lists, and not be over."""
    spec, allowed = asked.spec, asked.site.policy.allow.purposes
    if allowed is None:
        return UNSET
    today = datetime.fromtimestamp(asked.site.now_unix_seconds, UTC).date()
    fitting = [grant for grant in allowed if grant.study == spec.study and grant.purpose in (None, spec.purpose)]
    if not fitting:
        known = listed(f"'{grant.purpose or 'any'}'" for grant in allowed if grant.study == spec.study)
        return broken(f"'{spec.purpose}' is no purpose of {spec.study} here; there are {known}", "set purpose")
    ends = [grant.until for grant in fitting]
    if None in ends:
        return holds(f"'{spec.purpose}' of {spec.study}, without an end")
    last = max(end for end in ends if end is not None)
    found = f"'{spec.purpose}' of {spec.study}, until {last}"
    return holds(found) if today <= last else broken(f"{found}; today is {today}")


@of_training
def public_data(asked: Question, spec: JobSpec) -> Verdict:
    """Training without privacy is for data that the site registered as public."""
    dataset = asked.site.config.datasets.get(asked.spec.dataset)
    if spec.privacy.mechanism != "none":
        return Verdict("unset", f"{spec.privacy.mechanism} protects what is not public")
    if dataset is None:
        return Verdict("unset", "the data set is not configured")
    if dataset.public is True:
        return holds(f"{spec.dataset} is registered public")
    return broken(f"{spec.dataset} is not registered public, and mechanism none protects nothing", "set a mechanism")


@of_training
def mechanisms(asked: Question, spec: JobSpec) -> Verdict:
    """How training is made private must be admitted; a policy that does not say admits no distributed noise."""
    mechanism, allowed = spec.privacy.mechanism, asked.site.policy.allow.admitted_mechanisms
    if mechanism in allowed:
        return holds(f"{mechanism} is in {listed(allowed)}")
    return broken(f"{mechanism} is not in {listed(allowed)}", "set privacy.mechanism")


@of_training
def workload_known(asked: Question, spec: JobSpec) -> Verdict:
    """The workload must be installed here."""
    name, known = spec.workload, listed(sorted(asked.site.workloads))
    if name in asked.site.workloads:
        return holds(f"{name} is installed")
    return broken(f"{name} is not installed; there are {known}", "set workload")


@of_training
def workloads(asked: Question, spec: JobSpec) -> Verdict:
    """The workload must be admitted."""
    name, allowed = spec.workload, asked.site.policy.allow.workloads
    if name not in asked.site.workloads:
        return Verdict("unset", "not installed")
    if name in allowed:
        return holds(f"{name} is in {listed(allowed)}")
    return broken(f"{name} is not in {listed(allowed)}", "set workload")


@of_training
def workload_unit(asked: Question, spec: JobSpec) -> Verdict:
    """The job's unit must be one that the workload groups records by; a name alone protects nothing."""
    facts, unit = asked.site.workloads.get(spec.workload), spec.privacy.unit
    if facts is None:
        return Verdict("unset", "not installed")
    found = f"unit is {unit}; {spec.workload} groups records by {listed(facts.units)}"
    return holds(found) if unit in facts.units else broken(found, "set privacy.unit")


@of_training
def workload_releases(asked: Question, spec: JobSpec) -> Verdict:
    """What is released counts records, and is noised for units that have one."""
    facts = asked.site.workloads.get(spec.workload)
    if facts is None or not spec.releases:
        return Verdict("unset", "nothing is released")
    if facts.one_record_per_unit:
        return holds("a unit has one record")
    return broken(f"{spec.workload} makes several records of a {spec.privacy.unit}", "leave releases empty")


def _pinned(name: str, pins: Pins | None, what: str, found: str | None) -> Verdict:
    """Compare a digest of the installed workload with those that the policy pins."""
    if pins is None or name not in pins or found is None:
        return UNSET
    text = f"{what} of {name} is {found[:16]}; pinned {'is' if len(pins[name]) == 1 else 'are'} "
    text += listed(pin[:16] for pin in pins[name])
    return holds(text) if found in pins[name] else broken(text)


@of_training
def workload_digest(asked: Question, spec: JobSpec) -> Verdict:
    """The installed workload must be a version that the policy pins; one of another package must be pinned."""
    facts, pins = asked.site.workloads.get(spec.workload), asked.site.policy.allow.workload_digests or {}
    if facts is not None and facts.origin and spec.workload not in pins:
        return broken(f"{spec.workload} comes from {facts.origin}, and the policy pins no digest of it")
    return _pinned(spec.workload, pins, "the code", facts.digest if facts else None)


@of_training
def workload_package(asked: Question, spec: JobSpec) -> Verdict:
    """The job must have been exported with the package that is installed here: all sites train the same code."""
    facts, named = asked.site.workloads.get(spec.workload), asked.request.envelope.workload_package
    if facts is None:
        return Verdict("unset", "not installed")
    if not facts.package and not named:
        return Verdict("unset", "comes with almoner")
    found = f"exported with package {named[:16] or 'none'}, {facts.package[:16] or 'none'} is installed"
    return holds(found) if named == facts.package else broken(found, "export it with the package that the sites have")


@of_training
def initial_weights(asked: Question, spec: JobSpec) -> Verdict:
    """Training must start from weights that the policy pins; they come from the site's own code."""
    facts = asked.site.workloads.get(spec.workload)
    found = facts.initial_weights if facts else None
    return _pinned(spec.workload, asked.site.policy.allow.initial_weights, "the first weights", found)


def dataset_known(asked: Question) -> Verdict:
    """The data set must be configured here."""
    name, known = asked.spec.dataset, listed(sorted(asked.site.config.datasets))
    if name in asked.site.config.datasets:
        return holds(f"{name} is configured")
    return broken(f"{name} is not a data set here; there are {known}", "set dataset")


def datasets(asked: Question) -> Verdict:
    """The data set must be admitted, where the policy lists them."""
    name, allowed = asked.spec.dataset, asked.site.policy.allow.datasets
    if allowed is None:
        return UNSET
    if name in allowed:
        return holds(f"{name} is in {listed(allowed)}")
    return broken(f"{name} is not in {listed(allowed)}", "set dataset")


def dataset_records(asked: Question) -> Verdict:
    """What counts records is noised for, or compares, units of one record."""
    dataset = asked.site.config.datasets.get(asked.spec.dataset)
    if isinstance(asked.spec, JobSpec) and not asked.spec.releases:
        return Verdict("unset", "no records are counted")
    if dataset is None:
        return Verdict("unset", "the data set is not configured")
    if dataset.max_records_per_unit is None:
        return holds("a unit has one record")
    found = f"a unit has up to {dataset.max_records_per_unit} records here"
    return broken(found, "leave releases empty" if isinstance(asked.spec, JobSpec) else "ask of data with one each")


def dataset_sizes(asked: Question) -> Verdict:
    """The roster must say how large the data set is at each site of the job."""
    missing = sorted(set(asked.request.envelope.sites) - set(asked.site.nominal_records))
    if missing:
        return broken(f"the roster has no size of {asked.spec.dataset} at {listed(missing)}", "leave them out")
    return holds(f"the roster has its size at all {len(asked.request.envelope.sites)} sites")


def min_nominal_records(asked: Question) -> Verdict:
    """The site's data set must be declared to be large enough."""
    least, dataset = asked.site.policy.require.min_nominal_records, asked.site.config.datasets.get(asked.spec.dataset)
    if least is None or dataset is None:
        return UNSET
    found = f"{dataset.nominal_records} records are declared, at least {least} are needed"
    return holds(found) if dataset.nominal_records >= least else broken(found)


@of_training
def grid(asked: Question, spec: JobSpec) -> Verdict:
    """One round's update with its noise must fit the integers that are sent, and their total the modulus."""
    facts = asked.site.workloads.get(spec.workload)
    sizes = [asked.site.nominal_records.get(site) for site in asked.request.envelope.sites]
    known = [size for size in sizes if size is not None]
    if facts is None or not known or len(known) < len(sizes) or not spec.rounds:
        return Verdict("unset", "nothing to send")
    try:
        found = job_grid(spec, asked.cost.noise_multiplier, known, facts.dimension)
    except PolicyViolation as error:
        finding, _, remedy = str(error).partition(" → ")
        return broken(finding.removeprefix("update grid: "), remedy)
    if spec.privacy.mechanism == "distributed_dp":
        return holds(f"fits the modulus in steps of {found.step:g}")
    return holds(f"fits ±{found.limit} in steps of {found.step:g}")


def releases(asked: Question) -> Verdict:
    """Nothing may be released besides the model but what the policy lists."""
    allowed = asked.site.policy.allow.releases
    if isinstance(asked.spec, StatisticsSpec):
        return Verdict("unset", "statistics have a rule of their own")
    if allowed is None:
        return UNSET
    wanted = [release.kind for release in asked.spec.releases]
    strays = [kind for kind in wanted if kind not in allowed]
    if strays:
        return broken(f"{', '.join(strays)} is not in {listed(allowed)}", "leave it out of releases")
    return holds(f"{listed(wanted)} of {listed(allowed)}")
