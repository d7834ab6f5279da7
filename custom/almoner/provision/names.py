"""File names and class paths that kits and running sites must agree on."""

SCOPE = "almoner"
"""The one privacy scope of every site; its filters are the only way out."""

POLICY_FILE = "almoner_policy.yaml"
FLOOR_FILE = "almoner_floor.yaml"
SITE_FILE = "almoner_site.yaml"
ROSTER_FILE = "almoner_roster.json"
KIT_FILE = "almoner_kit.json"
MANIFEST_FILE = "almoner_manifest.json"
MANIFEST_SIGNATURE_FILE = "almoner_manifest.sig"
APPROVAL_FILE = "almoner_roster_approval.json"

JOB_FILE = "almoner_job.json"
"""The envelope inside a job's `config` folder; FLARE's own configurators never load it."""

EXECUTOR = "almoner.flare.executor.AlmonerExecutor"
CONTROLLER = "almoner.flare.controller.AlmonerController"
DEPLOYER = "almoner.flare.deployer.PolicyAppDeployer"
LAUNCHER = "almoner.flare.launcher.AuthorisedLauncher"
SERVER_LAUNCHER = "almoner.flare.launcher.ServerLauncher"
JOB_MANAGER = "almoner.flare.job_manager.FinalStatusJobManager"
APP_VALIDATOR = "almoner.flare.app_validator.FileListValidator"
RESULT_FILTERS = (
    "almoner.flare.filters.BudgetFilter",
    "almoner.flare.filters.ProtectionFilter",
    "almoner.flare.filters.EgressFilter",
)
"""In the order in which a result passes them."""
