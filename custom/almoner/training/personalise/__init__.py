"""Models of each site's own, trained by the same noised steps as the shared one.

A site's records are touched by noised steps alone (`RoundTrainer.run_round`), each a Poisson-subsampled Gaussian
mechanism; all else is arithmetic on what they returned. So a method's ε is that of the number of noised steps that one
site takes, and nothing else counts. Of T noised steps in a job (rounds × local steps), with the same T for all:

==============  ==============  ==================================================================================
method          steps at a site why
==============  ==============  ==================================================================================
global          T               the job as it is
alone           T               nothing leaves; the model is used, so its steps are charged
fedprox         ≤ T             the pull to the round's start needs no data; fewer rounds of more local steps
mr_mtl          T               the steps that train the site's own model are the ones that leave: both models are
                                post-processing of them
fine_tune       T + k           k further steps on the last layer, at the finished global model
ditto           2T              the global and the own model stand at different weights: a step for each
per_fedavg      2T + k          a step to look ahead, a step from there, and k to adapt at the end
==============  ==============  ==================================================================================

Personal models are DP here as the global one is: they get deployed, and who sees their predictions sees the training
data through them. A model that never leaves its site, and whose predictions nobody else sees, releases nothing, and its
further steps could do without noise and charge; it would then not be DP towards anybody who does see predictions. No
method here does that.

What is claimed rests on a site's own noise. Under `mechanism: distributed_dp` a single update has only a share of the
noise, and a model made of one site's updates would not be (ε, δ)-DP: not for these methods.
"""
