"""What MLflow's scoring client sends, and the Parquet that its server takes beside that, as pandas writes it."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pandas as pd
import requests
from mlflow.pyfunc.scoring_server import CONTENT_TYPE_CSV, CONTENT_TYPE_PARQUET
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

host, _, port = sys.argv[1].partition(":")
client = ScoringServerClient(host, port)
client.ping()
frame = pd.DataFrame({"temp": np.array([20, 70], np.float32), "carrier": ["AA", "UA"]}, index=[7, 8])
written = {name: io.BytesIO() for name in ("snappy", "zstd", "categories")}
frame.to_parquet(written["snappy"], engine="pyarrow")
frame.to_parquet(written["zstd"], engine="pyarrow", compression="zstd", index=True)
frame.astype({"carrier": "category"}).to_parquet(written["categories"], engine="pyarrow")


def sent(body: bytes, media: str) -> list[dict[str, object]]:
    answer = requests.post(f"http://{sys.argv[1]}/invocations", data=body, headers={"Content-Type": media}, timeout=30)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["predictions"]
    return found


said = {
    "version": client.get_version(),
    "frame": client.invoke(frame).get_predictions().to_dict("records"),
    "array": client.invoke(frame.to_numpy(object)).get_predictions().to_dict("records"),
    "csv": sent(frame.to_csv(index=False).encode(), CONTENT_TYPE_CSV),
}
said |= {name: sent(body.getvalue(), CONTENT_TYPE_PARQUET) for name, body in written.items()}
print(json.dumps(said))
