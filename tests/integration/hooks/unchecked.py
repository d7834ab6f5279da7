"""Test-only: FLARE's own way with a submitted app, where our checks of it are taken out.

ALMONER_TEST_UNCHECKED=1: the server's look at an app, the sites' `train.deploy` and their deployer are FLARE's; a
site's job process starts without the ledger's word, its folder stays, and a site's start leaves what it finds.
The gates stay in.
"""

import os

ON = bool(os.environ.get("ALMONER_TEST_UNCHECKED"))


def wrap_app_validator(module):
    from nvflare.private.fed.app.default_app_validator import DefaultAppValidator

    module.FileListValidator.validate = lambda self, app_folder: DefaultAppValidator("server").validate(app_folder)


def wrap_deployer(module):
    from nvflare.private.fed.utils.app_deployer import AppDeployer

    module.PolicyAppDeployer.deploy = AppDeployer.deploy


def wrap_deploy_processor(module):
    from nvflare.private.fed.client.training_cmds import DeployProcessor

    module.BoundedDeployProcessor = DeployProcessor


def wrap_launcher(module):
    def launch_unasked(self, job_meta, fl_ctx):
        job_args = fl_ctx.get_prop(module.FLContextKey.JOB_PROCESS_ARGS)
        line = module._command_line(job_args, module.get_client_job_args(include_exe_module=False))
        return module.fork_job("client", line, module.get_credential_env(job_args))

    module.AuthorisedLauncher.launch_job = launch_unasked


def wrap_job_folder(module):
    module.remove_leftovers = lambda kit, home: None


WRAPPERS = {
    "almoner.flare.door.app_validator": wrap_app_validator,
    "almoner.flare.door.deployer": wrap_deployer,
    "almoner.flare.gates.deploy_processor": wrap_deploy_processor,
    "almoner.flare.processes.launcher": wrap_launcher,
    "almoner.flare.site.job_folder": wrap_job_folder,
}
