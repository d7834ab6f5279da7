"""Writes `unet_shapes.json`: the shapes of a MONAI UNet's tensors, in their order.

    python -m pip install --no-deps --target build/monai monai==1.6.1
    PYTHONPATH=build/monai .venv/bin/python tests/benchmarks/unet_shapes.py

MONAI is needed for this alone, so the file is kept and the benchmarks read it. The network is a 3D segmentation
UNet of 1,058,063 parameters in 49 tensors, all float32.
"""

import json
from pathlib import Path

FILE = Path(__file__).with_name("unet_shapes.json")


def main() -> None:
    """Build the network and write its shapes."""
    from monai.networks.nets import UNet

    network = UNet(
        spatial_dims=3, in_channels=1, out_channels=2, channels=(16, 32, 64, 114), strides=(2, 2, 2), num_res_units=2
    )
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(shape)}" for name, shape in shapes.items())
    FILE.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
