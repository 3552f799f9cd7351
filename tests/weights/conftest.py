"""The cache of the hub's client, and a hub for it to ask."""

import pytest
from hub_server import TOKEN, Hub
from huggingface_hub import constants
from huggingface_hub.utils import close_session


@pytest.fixture
def cache(offline):
    """The empty cache of the hub's client."""
    return offline


@pytest.fixture
def server(cache, tmp_path_factory, monkeypatch):
    """A hub on this machine, which the client asks; nobody is logged in."""
    server = Hub()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path_factory.mktemp("nobody") / "token"))
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    close_session()  # the client reads proxies when it opens one
    yield server
    server.stop()
    close_session()


@pytest.fixture
def token(server, monkeypatch):
    """Logs in as "me"."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
