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

ATTESTATION_FILE = "attestation__p_resources.json"
"""In a kit's `local/` only where the consortium asks for attestation; FLARE loads it in parent processes alone."""

JOB_FILE = "almoner_job.json"
"""The envelope inside a job's `config` folder; FLARE's own configurators never load it."""

EXECUTOR = "almoner.flare.components.executor.AlmonerExecutor"
CONTROLLER = "almoner.flare.components.controller.AlmonerController"
DEPLOYER = "almoner.flare.door.deployer.PolicyAppDeployer"
LAUNCHER = "almoner.flare.processes.launcher.AuthorisedLauncher"
SERVER_LAUNCHER = "almoner.flare.processes.launcher.ServerLauncher"
JOB_MANAGER = "almoner.flare.processes.job_manager.FinalStatusJobManager"
APP_VALIDATOR = "almoner.flare.door.app_validator.FileListValidator"
ATTESTATION, ATTESTATION_ID = "almoner.flare.gates.attestation.Attestation", "attestation"
RESULT_FILTERS = (
    "almoner.flare.components.filters.BudgetFilter",
    "almoner.flare.components.filters.ProtectionFilter",
    "almoner.flare.components.filters.EgressFilter",
)
"""In the order in which a result passes them."""
