"""The losses of open_clip, lightly and pytorch-metric-learning, as functions of the tensors that kzoo's losses read.

Read by `benchmarks/losses.py`. Each function here builds one, of embeddings of any length, with kzoo's defaults.
"""

import importlib
import importlib.util
from pathlib import Path

import numpy as np

MODULES = {
    "open_clip": "open_clip",
    "lightly": "lightly.loss",
    "pytorch_metric_learning": "pytorch_metric_learning.losses",
}
DIM = 256  # of the embeddings
HEAD, PROTOTYPES, QUEUE = 2048, 3000, 16384  # columns of the teachers' heads; rows of SwAV's and MoCo's tables


def table(count):
    """Rows that stand for a loss's own state, the same on both sides."""
    rows = np.random.default_rng(1).normal(size=(count, DIM)).astype("float32")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def there(peer):
    """Stops where a peer cannot be imported."""
    open_clip() if peer == "open_clip" else importlib.import_module(MODULES[peer])


def open_clip():
    """The losses of open_clip, from their own file: the package as a whole wants torchvision, which they do not."""
    found = importlib.util.find_spec(MODULES["open_clip"])
    if found is None:
        raise ModuleNotFoundError("No module named 'open_clip'")
    spec = importlib.util.spec_from_file_location("open_clip_loss", Path(found.origin).parent / "loss.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def open_clip_clip():
    loss = open_clip().ClipLoss()
    return lambda a, b: loss(unit(a), unit(b), 1 / 0.07)


def open_clip_siglip():
    loss = open_clip().SigLipLoss()
    return lambda a, b: loss(unit(a), unit(b), 10.0, -10.0)


def open_clip_coca():
    loss = open_clip().CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0)
    return lambda a, b, logits, labels: sum(loss(unit(a), unit(b), logits, labels.long(), 1 / 0.07))


def open_clip_distillation():
    loss = open_clip().DistillClipLoss()

    def value(a, b, teacher_a, teacher_b):
        student = loss.get_logits(unit(a), unit(b), 1 / 0.07)
        teacher = loss.get_logits(unit(teacher_a), unit(teacher_b), 1 / 0.07)
        return sum(map(loss.dist_loss, teacher, student)) / 2

    return value


def lightly_moco():
    import torch
    from lightly.loss import NTXentLoss

    loss = NTXentLoss(0.07, memory_bank_size=(QUEUE, DIM))
    loss.memory_bank.bank = torch.tensor(table(QUEUE))
    return loss


def lightly_swav():
    import torch
    from lightly.loss import SwaVLoss

    loss, prototypes = SwaVLoss(), torch.nn.Parameter(torch.tensor(table(PROTOTYPES)))

    def value(a, b):
        columns = unit(prototypes).T
        return loss([unit(a) @ columns, unit(b) @ columns], [])[0]

    value.weights = [prototypes]
    return value


def lightly_dino():
    from lightly.loss import DINOLoss

    loss = DINOLoss(HEAD)
    return lambda student, teacher: loss(list(teacher), list(student))


def lightly_ibot():
    from lightly.loss import IBOTPatchLoss

    loss = IBOTPatchLoss(HEAD)
    return lambda student, teacher, mask: loss(teacher.flatten(0, 1), student.flatten(0, 1), mask[:, None])


def lightly(name, *options):
    return lambda: getattr(importlib.import_module(MODULES["lightly"]), name)(*options)


def metric_learning(name, *options):
    return lambda: getattr(importlib.import_module(MODULES["pytorch_metric_learning"]), name)(*options)


def metric_learning_views(name, *options):
    """A loss of theirs of two views: each row of one belongs to that of the other alone."""

    def build():
        from pytorch_metric_learning.losses import SelfSupervisedLoss

        return SelfSupervisedLoss(metric_learning(name, *options)())

    return build


def metric_learning_vicreg():
    loss = metric_learning("VICRegLoss")()
    return lambda a, b: loss(a, ref_emb=b)


def unit(x):
    from torch.nn.functional import normalize

    return normalize(x, dim=-1)
