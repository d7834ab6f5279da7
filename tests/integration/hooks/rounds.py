"""Test-only: what happens in a job's rounds at a site, written down, made repeatable, and held at a point.

ALMONER_TEST_ROUNDS=<folder>: at each site,

    the noise comes from a fixed seed for each site, so that jobs with different protections can be compared;
    each round's update, before its protection, and each verified total are written to <job>.<site>.jsonl;
    so is every task that was answered with something else than the refusal;
    a job named "hold-<task>" stops at the site "hungary" for good in round 2, a request for statistics in its one
    round: at "train" when the update is made and charged but not sent, at "acknowledge" and "reveal" before the
    answer. It leaves the file <job>.held then. A job named "fail-<task>" fails there instead.
"""

import json
import os
import threading
import zlib

FOLDER = os.environ.get("ALMONER_TEST_ROUNDS", "")
HELD, HELD_ROUNDS = "hungary", {"training": 2, "statistics": 1}


def write(context, record):
    with open(os.path.join(FOLDER, f"{context.job_id}.{context.site.policy.site}.jsonl"), "a") as file:
        file.write(json.dumps(record) + "\n")


def hold(context, task, number):
    spec = context.envelope.spec
    if (context.site.policy.site, number) != (HELD, HELD_ROUNDS.get(spec.kind)):
        return
    if spec.name == f"fail-{task}":
        raise RuntimeError("a failure after the data was touched")
    if spec.name == f"hold-{task}":
        with open(os.path.join(FOLDER, f"{context.job_id}.held"), "w"):
            threading.Event().wait()


def wrap_local_work(module):
    from almoner.training.noise import UnsafeSeededRandom

    start = module.LocalWork.__init__

    def seeded(self, context, model):
        start(self, context, model)
        module.SecureRandom = lambda: UnsafeSeededRandom(zlib.crc32(context.site.policy.site.encode()))

    module.LocalWork.__init__ = seeded


def wrap_site_job(module):
    answer = module.SiteJob.answer

    def held(self, header, body):
        if header.kind in ("acknowledge", "reveal"):
            hold(self._context, header.kind, header.round)
        sealed = answer(self, header, body)
        write(self._context, {"task": header.kind, "round": header.round})
        if header.kind == "train":
            write(self._context, {"update": sealed.body.tolist(), "round": header.round})
            hold(self._context, "train", header.round)
        return sealed

    module.SiteJob.answer = held


def wrap_joint_model(module):
    step, apply = module.Descent.apply, module.JointModel.apply
    totals = []

    def kept(self, total, total_nominal):
        totals.append(total.tolist())
        step(self, total, total_nominal)

    def written(self, number, sites, total):
        apply(self, number, sites, total)
        write(self._context, {"total": totals.pop(), "round": number, "sites": list(sites)})

    module.Descent.apply, module.JointModel.apply = kept, written


WRAPPERS = {
    "almoner.flare.training.local_work": wrap_local_work,
    "almoner.flare.phases.site_job": wrap_site_job,
    "almoner.flare.training.joint_model": wrap_joint_model,
}
