"""The only place that imports nvflare.

`start` is what a kit's `start.sh` runs. Below it, from top to bottom, each may import what stands lower:

    commands                            what commands call: sessions, planning, exporting, a federation on this machine
    processes, kits                     processes and how jobs start in them; startup kits
    components                          what a job's FLARE configuration names: controller, executor, filters
    gates                               who may say what to which process
    training, statistics, alignment     the three kinds of jobs, at the server and at a site
    phases                              what all kinds have in common
    evidence                            log, ledger heads, what a pack is read from
    results, door                       what a job leaves; how it comes into a site
    job                                 messages, egress, protections
    site                                what a site stands on and keeps
"""
