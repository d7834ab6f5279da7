"""Measures the memory of a training step, in a process of its own: `training_memory.py MODEL`."""

import json
import sys

import torch
from tests.benchmarks.memory_probe import growth
from tests.benchmarks.training_peers import MODELS, own_step


def main() -> None:
    """Take two steps, and print the growth of the second, in which nothing is loaded for the first time."""
    torch.set_num_threads(1)
    step = own_step(MODELS[sys.argv[1]]())
    step()
    print(json.dumps({"own": growth(step)[1]}))


if __name__ == "__main__":
    main()
