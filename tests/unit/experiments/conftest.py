import torch

torch.set_num_threads(1)
"""Two spinning threads for tiny matrices take many times as long beside other busy processes."""
