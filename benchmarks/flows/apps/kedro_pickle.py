"""A dataset on disk without the package of datasets, which brings much more."""

import pickle
from pathlib import Path

from kedro.io import AbstractDataset


class PickleDataset(AbstractDataset):
    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def _load(self):
        return pickle.loads(self._path.read_bytes())

    def _save(self, data) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(pickle.dumps(data))

    def _exists(self) -> bool:
        return self._path.exists()

    def _describe(self):
        return {"path": str(self._path)}
