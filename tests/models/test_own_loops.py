"""A training loop of one's own over several devices: no loss of pairs is computed on a part of a batch in silence."""

import os
import re
import subprocess
import sys

import keras
import pytest
import torch
from shared_case import TESTS, batch_of, numpy

from kzoo import keras_contact
from kzoo.losses import InfoNCE
from kzoo.losses.base import Loss, weighted_mean

pytestmark = pytest.mark.every_backend
PAIR = ("image_embeddings", "text_embeddings")
REFUSED = "InfoNCE is given what a model made on one of 2 devices .* gather the embeddings of all devices"


class SquaredDistance(Loss):
    """Of the two embeddings of each pair, which is compared with no other."""

    def call(self, a, b, sample_weight=None):
        return weighted_mean(keras.ops.sum(keras.ops.square(a - b), axis=-1), sample_weight)


@pytest.fixture
def process_group(tmp_path):
    """A group of this process alone, by gloo."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("unused", [False, True])
def test_processes_of_torch(model, process_group, monkeypatch, unused):
    if keras.config.backend() != "torch":
        return
    batch = batch_of(model, 4)
    parallel = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=unused)
    outputs, scale = parallel(batch, training=True), 0.0 if unused else 0.0 * model.similarity.scale
    alone = InfoNCE(0.1)(*(outputs[name] for name in PAIR))  # a group of one has the whole batch
    (alone + scale).backward()
    assert any(each.grad is not None for each in model.parameters())
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *_: 2)
    a, b = (parallel(batch, training=True)[name] for name in PAIR)
    for loss in (InfoNCE(0.1), InfoNCE(0.1) + 2.0 * SquaredDistance()):
        with pytest.raises(NotImplementedError, match=REFUSED):
            loss.from_tensors({PAIR[0]: a, PAIR[1]: b})
    assert SquaredDistance()(a, b) > 0.0
    gathered = torch.cat([a, a]), torch.cat([b, b])
    assert float(numpy(InfoNCE(0.1)(*gathered))) > float(numpy(alone))
    with torch.no_grad():  # each process may evaluate for itself
        outputs = parallel(batch, training=False)
        assert float(numpy(InfoNCE(0.1)(*(outputs[name] for name in PAIR)))) == pytest.approx(float(numpy(alone)))


def test_replicas_of_tensorflow():
    if keras.config.backend() != "tensorflow":
        return
    script = f"""
import sys

sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "models")!r}]
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from shared_case import batch_of, tiny_model
from test_own_loops import PAIR, SquaredDistance

from kzoo import keras_contact
from kzoo.losses import InfoNCE

model = tiny_model(depth=1)
batch = batch_of(model, 4)

def step(loss, gather):
    found = model(batch, training=True)
    pair = [found[name] for name in PAIR]
    if gather:
        pair = [tf.distribute.get_replica_context().all_gather(each, axis=0) for each in pair]
    return loss(*pair)

two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one = tf.distribute.OneDeviceStrategy("CPU:0")
one.run(step, (InfoNCE(0.1), False))
two.run(step, (SquaredDistance(), False))
two.run(step, (InfoNCE(0.1), True))
try:
    two.run(step, (InfoNCE(0.1), False))
except NotImplementedError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ))
    assert run.returncode == 0, run.stderr
    assert re.search(REFUSED, run.stdout), run.stdout


def test_copies_in_threads(model):
    keras_contact.untracked(model, "_is_replica", True)  # as torch.nn.DataParallel marks them
    with pytest.raises(NotImplementedError, match="a process for each GPU by torchrun"):
        model(batch_of(model, 2))
