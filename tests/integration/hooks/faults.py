"""Test-only: faults of one site in training tasks, each in the jobs whose name says so ("unfiltered-unsealed").

ALMONER_TEST_FAULTS=<site> names the site.

    unfiltered  no result filter runs, as with a privacy scope without filters
    unsealed    the executor returns its update in a plain Shareable, as a stock executor does
    failing     the job's own code fails
    uncaught    the executor itself fails

`is_marked` tells whether bytes contain an update that any executor of this process has made.
"""

import os

SITE = os.environ.get("ALMONER_TEST_FAULTS", "")
UPDATES = []


def is_on(fault, context):
    return context.site.policy.site == SITE and fault in context.envelope.spec.name.split("-")


def is_marked(payload):
    sent = bytes(payload) if isinstance(payload, (bytes, bytearray, memoryview)) else b""
    return any(update in sent for update in UPDATES)


def wrap_client_runner(module):
    apply_filters = module.apply_filters

    def maybe_filtered(name, data, fl_ctx, filters, task, *args, **kwargs):
        from almoner.flare.components.job_kinds import job_context

        if task == "train" and name == "task_result_filters" and is_on("unfiltered", job_context(fl_ctx)):
            return data
        return apply_filters(name, data, fl_ctx, filters, task, *args, **kwargs)

    module.apply_filters = maybe_filtered


def wrap_site_job(module):
    answer = module.SiteJob.answer

    def maybe_failing(self, header, body):
        sealed = answer(self, header, body)
        if header.kind == "train" and is_on("failing", self._context):
            raise RuntimeError("a failure after the data was touched")
        return sealed

    module.SiteJob.answer = maybe_failing


def wrap_executor(module):
    execute = module.AlmonerExecutor.execute

    def maybe_stock(self, task, shareable, fl_ctx, abort_signal):
        from nvflare.apis.shareable import Shareable

        result = execute(self, task, shareable, fl_ctx, abort_signal)
        if task != "train":
            return result
        context, sealed = module.job_context(fl_ctx), result["almoner_sealed"]
        if sealed.kind.name == "UPDATE":
            UPDATES.append(sealed.body.tobytes())
        if is_on("uncaught", context):
            raise ZeroDivisionError("a failure after the data was touched")
        if is_on("unsealed", context):
            result = Shareable()
            result["update"] = sealed.body.tobytes()  # an array goes by reference, whose download the gate refuses
        return result

    module.AlmonerExecutor.execute = maybe_stock


WRAPPERS = {
    "nvflare.private.fed.client.client_runner": wrap_client_runner,
    "almoner.flare.phases.site_job": wrap_site_job,
    "almoner.flare.components.executor": wrap_executor,
}
