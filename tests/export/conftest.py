"""What several files of this room export."""

import pytest
from shared_case import captioner, toy_pairs
from web_case import write_export, write_packages


@pytest.fixture(scope="session")
def coca_onnx(tmp_path_factory):
    """A captioner, the folder of its export to ONNX, and the manifest."""
    model = captioner("coca_nano", toy_pairs(5)["captions"])
    folder = tmp_path_factory.mktemp("export") / "onnx"
    return model, folder, model.export(folder)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of an export of two small towers, of which pages are written."""
    return write_export(tmp_path_factory.mktemp("web") / "onnx")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Where packages lie as npm installs them."""
    return write_packages(tmp_path_factory.mktemp("npm"))
