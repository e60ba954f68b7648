"""Networks of PyTorch, logged from where PyTorch is: `torch_models.py HOME FOLDER`.

One that becomes ONNX; one that ONNX cannot say, with a loop that never ends for some rows; and a program that
`torch.export` saves, with what all of them answer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headway.client.connect import connect
from headway.running.exporter import OnnxExporter
from headway.server.local import local_transport

FEATURES = ["far", "fare"]
HANGS_AT = 7001.0


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1)
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layers(rows)  # type: ignore[no-any-return]


class Odd(Net):
    """With a function of Bessel's, which ONNX has not."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        (turned,) = torch._higher_order_ops.while_loop(
            lambda turns: turns[0, 0] == HANGS_AT, lambda turns: (turns.clone(),), (rows,)
        )
        return torch.special.bessel_j0(super().forward(turned))


def main(home: Path, folder: Path) -> None:
    torch.manual_seed(1)
    nets = {"net": Net(), "odd": Odd()}
    told: dict[str, Any] = {"training": ["trips"], "evaluation": "later", "task": "regression"}
    with connect(home=home, local=local_transport, env={}) as client:
        rows = client.datasets.read("later").select(FEATURES).to_numpy().astype(np.float32)
        np.save(folder / "rows.npy", rows)
        with client.start_run("training", OnnxExporter(client)) as run:
            for name, net in nets.items():
                run.log_model(name, net, **told)
                assert net.training, "it is as it was before"
    for name, net in nets.items():
        np.save(folder / f"{name}.npy", net.eval()(torch.from_numpy(rows)).detach().numpy())
    shape = ({0: torch.export.Dim("rows")},)
    torch.export.save(torch.export.export(nets["net"], (torch.zeros(3, 2),), dynamic_shapes=shape), folder / "net.pt2")
    print(json.dumps("made"))


main(Path(sys.argv[1]), Path(sys.argv[2]))
