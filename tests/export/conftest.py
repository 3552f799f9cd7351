"""What several files of this room export."""

import pytest
from shared_case import captioner, toy_pairs


@pytest.fixture(scope="session")
def coca_onnx(tmp_path_factory):
    """A captioner, the folder of its export to ONNX, and the manifest."""
    model = captioner("coca_nano", toy_pairs(5)["captions"])
    folder = tmp_path_factory.mktemp("export") / "onnx"
    return model, folder, model.export(folder)
