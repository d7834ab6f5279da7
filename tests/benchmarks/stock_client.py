"""The training script of the stock FLARE job: returns the model that it was sent, so that training takes no time.

FLARE ships it to the sites with the job and runs it in the job's process, through its Client API.
"""

import nvflare.client as flare

flare.init()
while flare.is_running():
    model = flare.receive()
    if model is None:
        break
    flare.send(flare.FLModel(params=model.params, params_type=model.params_type, meta={"NUM_STEPS_CURRENT_ROUND": 1}))
