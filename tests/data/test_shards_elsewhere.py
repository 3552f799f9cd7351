"""Shards over URLs and commands: fetched whole, as far as they are needed, and never run unasked."""

import functools
import hashlib
import http.server
import os
import tempfile
import threading

import numpy as np
import pytest
from shard_case import PAIRS, ids_of, texts_of, write_shards
from shared_case import tiny_model

import kzoo

STEPS = tiny_model().preprocessor


class Quiet(http.server.SimpleHTTPRequestHandler):
    asked = []

    def log_message(self, *_):
        Quiet.asked.append(self.path)


@pytest.fixture
def served(tmp_path):
    """A folder of shards, and the address under which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    write_shards(folder, [5, 6, 7, 6])
    kzoo.data.write_index(folder)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Quiet.asked.clear()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_shards_over_http(served):
    folder, address = served
    pattern = f"{address}/data-{{0000..0003}}.tar"
    data = kzoo.data.shards(pattern, STEPS, 6, ids=True, index=f"{address}/index.json")
    assert Quiet.asked == ["/index.json"] and data.count == 24  # nothing is fetched before it is read
    local = kzoo.data.shards(folder, STEPS, 6, ids=True)
    assert [*map(list, ids_of(data, 1))] == [*map(list, ids_of(local, 1))]
    assert sum((texts_of(STEPS, batch) for batch in data.in_order()), []) == PAIRS["captions"]
    assert kzoo.data.shards(pattern, STEPS, 6).count == 24  # counted by a look at each


def test_fewer_shards_than_processes_that_fetch_them_are_said(served, recwarn):
    folder, address = served
    data = kzoo.data.shards(f"{address}/data-{{0000..0003}}.tar", STEPS, 6, index=folder / "index.json")
    data.of_part(0, 4)
    kzoo.data.shards(folder, STEPS, 6).of_part(0, 5)  # which fetch nothing
    assert not recwarn.list
    with pytest.warns(UserWarning, match="5 processes read 4 shards, so that some fetch the same"):
        assert len(data.of_part(0, 5)) == 4


def test_addresses_with_what_may_not_stand_in_one(served):
    folder, address = served
    (folder / "data-0000.tar").rename(folder / "my pairs é.tar")
    index = folder / "names.json"
    index.write_text('{"my pairs é.tar": 4}')
    for name in ("my pairs é.tar", "my%20pairs%20%C3%A9.tar"):
        assert kzoo.data.shards(f"{address}/{name}", STEPS, 2).count == 5
        assert kzoo.data.shards(f"{address}/{name}", STEPS, 2, index=index).count == 4  # as the index has it
    (folder / "my pairs é.tar").rename(folder / "data-0000.tar")


def test_what_was_fetched_lies_nowhere_or_in_the_cache(served, tmp_path):
    folder, address = served
    pattern, index = f"{address}/data-{{0000..0003}}.tar", folder / "index.json"
    before = sorted(os.listdir(tempfile.gettempdir()))
    list(kzoo.data.shards(pattern, STEPS, 6, index=index))
    assert sorted(os.listdir(tempfile.gettempdir())) == before
    (tmp_path / "cache").mkdir()
    Quiet.asked.clear()
    for _ in range(2):
        data = kzoo.data.shards(pattern, STEPS, 6, index=index, cache=tmp_path / "cache")
        assert len(list(data)) == 4
    assert sorted(Quiet.asked) == [f"/data-000{number}.tar" for number in range(4)]
    assert len(os.listdir(tmp_path / "cache")) == 4
    with pytest.raises(ValueError, match="cache is .*nowhere, which is no folder"):
        kzoo.data.shards(pattern, STEPS, cache=tmp_path / "nowhere")


def test_what_cannot_be_fetched_is_said_and_skipped(served):
    folder, address = served
    names = [f"{address}/data-000{number}.tar" for number in range(4)]
    (folder / "data-0002.tar").unlink()
    with (folder / "data-0003.tar").open("r+b") as file:
        file.seek(600)
        file.write(b"changed")
    data = kzoo.data.shards(names, STEPS, 6, index=folder / "index.json", skip_broken=True, ids=True)
    batches = ids_of(data)
    assert all(len(set(ids.tolist())) == 6 for ids in batches) and np.concatenate(batches).max() < 11
    assert sorted(data.broken)[0] == (
        "data-0002.tar: it cannot be fetched: curl ended with exit 22, the server does not give it: "
        "it is not there, or not for everybody."
    )
    expected = hashlib.sha256((folder / "data-0003.tar").read_bytes()).hexdigest()[:12]
    assert sorted(data.broken)[1].startswith(f"data-0003.tar: its sha256 is {expected}..., but ")
    with pytest.raises(ValueError, match="data-0002.tar: it cannot be fetched"):
        list(kzoo.data.shards(names[:3], STEPS, 6, index=folder / "index.json"))


def test_commands_are_run_when_they_are_allowed_and_never_else(tmp_path):
    pattern = write_shards(tmp_path, [4, 4])
    command = f"pipe:touch {tmp_path}/run; cat {tmp_path}/data-{{0000,0001}}.tar"
    for source in (command, [f"{tmp_path}/data-0000.tar", "PIPE:touch run"], [command]):
        with pytest.raises(ValueError, match="is a command, which a shell would run; it is not run unless you say"):
            kzoo.data.shards(source, STEPS, 4)
    with pytest.raises(ValueError, match="is a command"):
        kzoo.data.shards(pattern, STEPS, 4, index=f"pipe:touch {tmp_path}/run")
    with pytest.raises(ValueError, match="is a command"):
        kzoo.data.write_index(command, output=tmp_path / "index.json")
    assert not (tmp_path / "run").exists() and not os.path.exists("run")
    data = kzoo.data.shards(command, STEPS, 4, allow_pipes=True)
    assert data.count == 8 and (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="cannot be fetched: the command ended with exit 3[.]"):
        kzoo.data.shards("pipe:exit 3", STEPS, 4, allow_pipes=True)


def test_what_is_read_without_the_extra(tmp_path, monkeypatch):
    pattern = write_shards(tmp_path, [4])
    monkeypatch.setitem(__import__("sys").modules, "braceexpand", None)
    monkeypatch.setitem(__import__("sys").modules, "webdataset", None)
    monkeypatch.setitem(__import__("sys").modules, "webdataset.gopen", None)
    assert kzoo.data.shards(pattern, STEPS, 4).count == 4
    for source, package in {"data-{0..3}.tar": "braceexpand", "http://127.0.0.1/a.tar": "webdataset"}.items():
        with pytest.raises(ImportError, match=f"needs {package}.*pip install 'kzoo.shards.'"):
            kzoo.data.shards(source, STEPS, 4)
