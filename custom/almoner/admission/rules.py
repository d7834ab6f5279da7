"""All rules of admission, in the order in which refusals list them.

Every rule is always asked, so that a submitter reads everything to mend at once. No rule sees data: verdicts
and texts depend on declared parameters and on the ledger alone.
"""

from almoner.admission import rules_history as history
from almoner.admission import rules_privacy as privacy
from almoner.admission import rules_psi as psi
from almoner.admission import rules_robust as robust
from almoner.admission import rules_statistics as statistics
from almoner.admission import rules_submission as submission
from almoner.admission import rules_task as task
from almoner.admission.rule import Rule

RULES: tuple[Rule, ...] = (
    Rule("budget.remaining", "accounts.0.epsilon_cap", "ε for life: the account has room", history.budget_remaining),
    Rule("submitter.role", "allow.submitters", "role and organisation of the signer", submission.submitter_role),
    Rule("submitter.user", "allow.submitters", "the signer by name", submission.submitter_user),
    Rule("envelope.sites", "", "the job is for this site", submission.envelope_sites),
    Rule("envelope.replayed", "", "an exported job is good for one submission", submission.envelope_replayed),
    Rule("envelope.expired", "", "a job is good until the time that its submitter signed", submission.envelope_expired),
    Rule(
        "envelope.validity",
        "limits.max_validity_days",
        "for how long an exported job is good",
        submission.envelope_validity,
    ),
    Rule("envelope.version", "", "exported by the release that the site runs", submission.envelope_version),
    Rule("allow.windows", "allow.windows", "hours of the week", submission.windows),
    Rule("allow.studies", "allow.studies", "the study", task.studies),
    Rule("study.session", "", "the study that FLARE's server names is the job's", submission.study_session),
    Rule("allow.purposes", "allow.purposes", "the purpose, and until when", task.purposes),
    Rule("workload.known", "", "the workload is installed", task.workload_known),
    Rule("allow.workloads", "allow.workloads", "the workload is admitted", task.workloads),
    Rule("workload.unit", "", "the workload groups records by the unit", task.workload_unit),
    Rule("workload.releases", "", "what is released is noised for units of one record", task.workload_releases),
    Rule("workload.package", "", "exported with the package that the site has", task.workload_package),
    Rule("workload.digest", "allow.workload_digests", "the workload's version", task.workload_digest),
    Rule("workload.weights", "allow.initial_weights", "the weights that training starts from", task.initial_weights),
    Rule("dataset.known", "", "the data set is configured", task.dataset_known),
    Rule("allow.datasets", "allow.datasets", "the data set is admitted", task.datasets),
    Rule("dataset.records", "", "records are counted where a unit has one alone", task.dataset_records),
    Rule("dataset.sizes", "", "the data set's size is declared at every site", task.dataset_sizes),
    Rule("data.public", "", "training without privacy is for public data alone", task.public_data),
    Rule("allow.mechanisms", "allow.mechanisms", "how training is made private", task.mechanisms),
    Rule("allow.releases", "allow.releases", "what else than the model is released", task.releases),
    Rule("allow.statistics", "allow.statistics", "statistics, and under which trust model", statistics.allowed),
    Rule("statistics.cells", "allow.statistics.max_cells", "how many numbers a request tells", statistics.cells),
    Rule("statistics.columns", "", "columns, bounds and categories as the site declares them", statistics.columns),
    Rule("statistics.range", "", "sums with their noise fit the modulus of secure aggregation", statistics.wraps),
    Rule("allow.psi", "allow.psi", "private set intersection, and how long the lists may be", psi.allowed),
    Rule("psi.sites", "", "an alignment is between the sites that it names", psi.sites),
    Rule("psi.size", "", "the site's declared size fits into a list", psi.size),
    Rule("psi.identifier", "", "the site declared a column for each part of the identifier", psi.identifier),
    Rule("job.grid", "", "an update with its noise fits the integers that are sent", task.grid),
    Rule("aggregation.parties", "", "enough sites for those that may collude", privacy.parties),
    Rule("aggregation.rule", "", "enough contributors for the bad ones that the rule bears", robust.rule),
    Rule("aggregation.groups", "", "groups that can be, fixed for the study", robust.groups),
    Rule("account.unit", "accounts.0.privacy_unit", "unit of privacy", privacy.account_unit),
    Rule("account.delta", "accounts.0.delta", "δ", privacy.account_delta),
    Rule("account.disjoint", "accounts", "no unit is in two accounts", history.account_disjoint),
    Rule("limits.epsilon_per_job", "limits.epsilon_per_job", "ε of one job", privacy.epsilon_per_job),
    Rule("limits.min_noise", "limits.min_noise_multiplier", "least noise", privacy.min_noise),
    Rule("limits.sampling", "limits.max_sampling_prob", "largest sampling probability", privacy.sampling),
    Rule("limits.max_rounds", "limits.max_rounds", "most rounds", privacy.max_rounds),
    Rule("limits.max_steps", "limits.max_steps", "most steps, rounds times local steps", privacy.max_steps),
    Rule("quota.month", "quotas.budget_share_per_month", "share of a month", history.share_per_month),
    Rule("quota.study", "quotas.budget_share_per_study", "share of a study", history.share_per_study),
    Rule("quota.submitter", "quotas.budget_share_per_submitter", "share of a person", history.share_per_submitter),
    Rule("rate.study", "quotas.jobs_per_day_per_study", "jobs of a study a day", history.jobs_per_day_per_study),
    Rule(
        "rate.submitter",
        "quotas.jobs_per_day_per_submitter",
        "jobs of a person a day",
        history.jobs_per_day_per_submitter,
    ),
    Rule("pause.study", "quotas.pause", "a study whose jobs die waits", history.pause_study),
    Rule("pause.submitter", "quotas.pause", "a person whose jobs die waits", history.pause_submitter),
    Rule("require.min_sites", "require.min_sites", "contributors of a round", privacy.min_sites),
    Rule("require.sites_per_sum", "require.min_sites_per_sum", "contributors of a group's sum", robust.sites_per_sum),
    Rule("require.protection", "require.protection", "protection of updates", privacy.protection),
    Rule("require.colluding", "require.min_colluding_sites", "sites that may help the server", privacy.colluding),
    Rule("require.byzantine", "require.min_byzantine_sites", "sites that may send anything", robust.byzantine),
    Rule("require.trust", "require.trust_models", "what is believed of the server", privacy.trust_model),
    Rule("require.cohort", "require.min_nominal_records", "declared size of the data set", task.min_nominal_records),
    Rule("require.approval", "require.manual_approval", "the data officer's signature", history.manual_approval),
)

DOOR_RULES: dict[str, str] = {
    "job.unreadable": "the upload is a readable, signed job",
    "submitter.certificate": "the signer's certificate is of the consortium, valid, and not revoked",
    "render.identical": "every file is what the site renders from the spec",
    "meta.job_id": "the job id is a new UUID",
    "meta.scope": "the job names no other privacy scope",
    "meta.launch": "the job brings no resources, launcher or code",
    "meta.name": "FLARE's meta data name the job as its spec does",
    "meta.deploy_map": "server and all sites of the job run the same, one app",
    "meta.min_clients": "FLARE waits for as many sites as the spec says",
    "budget.reserve": "the charge still fits when it is reserved",
}
"""Rules that only the site's door can check, on the upload itself; no policy changes them."""
