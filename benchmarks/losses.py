"""Time and memory of the losses, beside open_clip, lightly and pytorch-metric-learning where they have the same loss.

    KERAS_BACKEND=torch python benchmarks/losses.py
    KERAS_BACKEND=jax python benchmarks/losses.py InfoNCE NTXent --rows 4096 32768
    KERAS_BACKEND=tensorflow python benchmarks/losses.py --all

Prints for each loss and batch the median time of a value with its gradients, by how much that raises the peak of
memory, and both as ratios to the peer's: below 1 kzoo is the faster, or the smaller. Only the loss is run, on random
embeddings of width 256: compiled by `jit` or `tf.function`, eager on torch, where the peers always are. Each run is a
process of its own, warmed up, on all cores that it may use (`taskset` takes some away).

Above 8192 rows the losses over pairs compare 1024 at a time and stand alone, since peers hold every pair; other losses
are not run there. A peer takes part where it can be imported; where value or gradients are not its own, a line says so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import peer_losses
from load import give_back, resident
from peer_losses import DIM, HEAD, PROTOTYPES, QUEUE, lightly, metric_learning

VOCABULARY, LENGTH, PATCHES = 1000, 8, 8
WHOLE_TO, BLOCK_SIZE = 8192, 1024
DISAGREE = 1e-3


# What a loss reads: name -> function of a random generator and the rows of the batch. Arrays in FIXED get no gradient.
EMBEDDINGS = {name: lambda random, rows: random.normal(size=(rows, DIM)) for name in ("a", "b", "c", "key")}
TEACHERS = {name: EMBEDDINGS["a"] for name in ("teacher_a", "teacher_b", "a_momentum", "b_momentum")}
OTHERS = {
    "negatives": lambda random, rows: random.normal(size=(rows, 1, DIM)),
    "texts": lambda random, rows: random.normal(size=(rows, 2, DIM)),
    "caption_logits": lambda random, rows: random.normal(size=(rows, LENGTH, VOCABULARY)),
    "views": lambda random, rows: random.normal(size=(2, rows, DIM)),
    "student": lambda random, rows: random.normal(size=(2, rows, HEAD)),
    "student_patches": lambda random, rows: random.normal(size=(rows, PATCHES, HEAD)),
}
FIXED = TEACHERS | {
    "key": EMBEDDINGS["key"],
    "teacher_views": OTHERS["views"],
    "teacher": OTHERS["student"],
    "teacher_patches": OTHERS["student_patches"],
    "mask": lambda random, rows: np.ones((rows, PATCHES), "bool"),
    "labels": lambda random, rows: np.arange(rows, dtype="int32") // 4,
    "caption_labels": lambda random, rows: random.integers(1, VOCABULARY, (rows, LENGTH), dtype="int32"),
    "ids": lambda random, rows: np.arange(rows, dtype="int32"),
    "scores": lambda random, rows: random.uniform(size=rows),
    "positives": lambda random, rows: np.arange(rows)[:, None] // 4 == np.arange(rows)[None] // 4,
}
ARRAYS = EMBEDDINGS | OTHERS | FIXED


@dataclass
class Case:
    """A loss, as it is measured.

    Args:
        reads: names of its tensors, in their order.
        keywords: those given by keyword, as `its own name=name`.
        options: of its constructor.
        state: name of a weight -> its rows.
        peers: library -> function without arguments to their loss, a function of the same tensors.
        peers_to: rows up to which peers are run.
        blocks: whether it compares pairs, and need not hold them all.
    """

    reads: str
    keywords: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    state: dict = field(default_factory=dict)
    peers: dict = field(default_factory=dict)
    peers_to: int = WHOLE_TO
    blocks: bool = True


LABELS = {"labels": "labels"}
SCORES = {"scores": "scores"}
TEACHER = {"teacher_a": "teacher_a", "teacher_b": "teacher_b"}
ML = "pytorch_metric_learning"
CASES = {
    "InfoNCE": Case("a b", peers={"open_clip": peer_losses.open_clip_clip}),
    "SigmoidContrastive": Case("a b", peers={"open_clip": peer_losses.open_clip_siglip}),
    "CaptioningContrastive": Case("a b caption_logits caption_labels", peers={"open_clip": peer_losses.open_clip_coca}),
    "LogitDistillation": Case("a b", TEACHER, peers={"open_clip": peer_losses.open_clip_distillation}),
    "NTXent": Case(
        "a b", peers={"lightly": lightly("NTXentLoss", 0.1), ML: peer_losses.metric_learning_views("SupConLoss", 0.1)}
    ),
    "DecoupledContrastive": Case("a b", peers={"lightly": lightly("DCLLoss", 0.1)}),
    "QueueContrastive": Case(
        "a key",
        options={"queue_size": QUEUE, "dim": DIM},
        state={"queue": QUEUE},
        peers={"lightly": peer_losses.lightly_moco},
    ),
    "SupCon": Case("a", LABELS, peers={ML: metric_learning("SupConLoss", 0.1)}),
    "CircleLoss": Case("a", LABELS, peers={ML: metric_learning("CircleLoss")}),
    "Triplet": Case("a", LABELS, peers={ML: metric_learning("TripletMarginLoss", 0.2)}, peers_to=512),  # B^3 numbers
    "BarlowTwins": Case("a b", peers={"lightly": lightly("BarlowTwinsLoss")}, blocks=False),
    "VICReg": Case(
        "a b", peers={"lightly": lightly("VICRegLoss"), ML: peer_losses.metric_learning_vicreg}, blocks=False
    ),
    "SwAV": Case(
        "a b",
        options={"num_prototypes": PROTOTYPES, "dim": DIM},
        state={"prototypes": PROTOTYPES},
        peers={"lightly": peer_losses.lightly_swav},
        blocks=False,
    ),
    "DINO": Case("student teacher", options={"dim": HEAD}, peers={"lightly": peer_losses.lightly_dino}, blocks=False),
    "IBOT": Case(
        "student_patches teacher_patches",
        {"mask": "mask"},
        {"dim": HEAD},
        peers={"lightly": peer_losses.lightly_ibot},
        blocks=False,
    ),
    "AlignmentUniformity": Case("a b"),
    "AttractionRepulsion": Case("a b"),
    "CoSENT": Case("a b", SCORES),
    "ContinuouslyWeightedContrastive": Case("a b"),
    "ContrastiveMIM": Case("a b"),
    "DecoupledSoftmax": Case("a b", {"positives": "positives"}, blocks=False),
    "EmbeddingDistillation": Case("a b", TEACHER),
    "FocalSupCon": Case("a", LABELS),
    "GeodesicMixup": Case("a b"),
    "GramContrastive": Case("a b c"),
    "HardNegativeContrastive": Case("a b", {"negatives": "negatives"}),
    "ICNN": Case("a", LABELS),
    "IndividualTemperature": Case("a b", {"ids": "ids"}, {"dataset_size": 2**16}),
    "LeaveOneOutKNN": Case("a", LABELS),
    "MetricMix": Case("a", LABELS),
    "MixupContrastive": Case("a b"),
    "MomentumDistillation": Case("a b", {"a_momentum": "a_momentum", "b_momentum": "b_momentum"}),
    "MultiCaptionContrastive": Case("a texts"),
    "MultiViewDHEL": Case("a b c"),
    "MultiViewInfoNCE": Case("a b c"),
    "MultipleNegativesRanking": Case("a b"),
    "OneToK": Case("a texts"),
    "PearsonLoss": Case("a b", SCORES, blocks=False),
    "PreferenceRank": Case("a b", SCORES),
    "RankKL": Case("a b", SCORES, blocks=False),
    "SelfSoftTargetContrastive": Case("a b"),
    "SimCSE": Case("a b"),
    "SimDINO": Case("views teacher_views", blocks=False),
    "SoftContrastive": Case("a b", {"label_embeddings": "teacher_a"}),
    "Symile": Case("a b c"),
    "UnifiedContrastive": Case("a b", LABELS),
    "WeightedInfoNCE": Case("a b", {"weights": "positives"}, blocks=False),
}
USUAL = [name for name, case in CASES.items() if case.peers]


def kzoo_step(case, name, tensors, leaves, block_size):
    """A function to the value, and the gradients of the leaves and the loss's weights, compiled where there is a
    compiler."""
    import inspect

    import keras

    import kzoo.losses

    kind = getattr(kzoo.losses, name)
    loss = kind(**case.options | ({"block_size": block_size} if case.blocks else {}))
    for weight, rows in case.state.items():
        getattr(loss, weight).assign(peer_losses.table(rows))
    training = {"training": True} if "training" in inspect.signature(kind.call).parameters else {}

    def arguments(tensors):
        return [tensors[each] for each in case.reads.split()], training | {
            own: tensors[each] for own, each in case.keywords.items()
        }

    if keras.config.backend() == "jax":
        import jax

        def value_and_state(trained, weights, state, fixed):
            positional, keywords = arguments(fixed | trained)
            return loss.stateless_call(weights, state, *positional, **keywords)

        function = jax.value_and_grad(value_and_state, argnums=(0, 1), has_aux=True)
        tensors = jax.tree.map(jax.numpy.asarray, tensors)
        trained = {each: tensors.pop(each) for each in leaves}
        variables = ([each.value for each in part] for part in (loss.trainable_variables, loss.non_trainable_variables))
        inputs = (trained, *variables, tensors)
        compiled = jax.jit(function).lower(*inputs).compile()

        def step():
            (value, _), (of_leaves, of_weights) = jax.block_until_ready(compiled(*inputs))
            return value, [*(of_leaves[each] for each in leaves), *of_weights]

        return step
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tensors = {each: tf.constant(array) for each, array in tensors.items()}

        @tf.function
        def function(tensors):
            watched = [*(tensors[each] for each in leaves), *(each.value for each in loss.trainable_variables)]
            with tf.GradientTape() as tape:
                tape.watch(watched)
                positional, keywords = arguments(tensors)
                value = loss(*positional, **keywords)
            return value, tape.gradient(value, watched)

        return lambda: function(tensors)

    def call(tensors):
        positional, keywords = arguments(tensors)
        return loss(*positional, **keywords)

    return torch_step(call, tensors, leaves, [each.value for each in loss.trainable_variables])


def peer_step(peer, tensors, leaves):
    return torch_step(lambda tensors: peer(*tensors.values()), tensors, leaves, getattr(peer, "weights", []))


def torch_step(call, tensors, leaves, weights):
    import torch

    tensors = {each: torch.tensor(array) for each, array in tensors.items()}

    def step():
        trained = {each: tensors[each].detach().requires_grad_() for each in leaves}
        value = call(tensors | trained)
        return value, torch.autograd.grad(value, [*trained.values(), *weights])

    return step


def step_of(engine, name, rows, block_size):
    """The step of an engine on a random batch."""
    case, random = CASES[name], np.random.default_rng(0)
    names = [*case.reads.split(), *case.keywords.values()]
    tensors = {each: ARRAYS[each](random, rows) for each in names}
    tensors = {each: array.astype("float32") if array.dtype == "float64" else array for each, array in tensors.items()}
    leaves = [each for each in names if each not in FIXED]
    if engine == "kzoo":
        return kzoo_step(case, name, tensors, leaves, block_size)
    return peer_step(case.peers[engine](), tensors, leaves)


def measured(engine, name, rows, block_size):
    if engine != "kzoo":
        try:
            peer_losses.there(engine)
        except Exception as error:  # an import may raise anything
            return {"missing": " ".join(str(error).split())}
    step_of(engine, "InfoNCE" if engine == "kzoo" else name, 8, None)()  # imports, starts threads
    step = step_of(engine, name, rows, block_size)
    give_back()  # what the allocator keeps would hide some of what the step needs
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = resident()
    value, gradients = step()  # the first: TensorFlow keeps for the next ones what it took
    peak = resident(peak=True) - before
    to_numpy = (lambda x: x.detach().numpy()) if hasattr(value, "detach") else np.asarray
    says = [float(to_numpy(value)), *(float(np.linalg.norm(to_numpy(each))) for each in gradients)]
    del value, gradients
    seconds = []
    while len(seconds) < 3 or (len(seconds) < 15 and sum(seconds) < 1.0):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "bytes": peak, "says": says}


def run(*arguments, threads, script=__file__):
    """What `measured` of a script gives for arguments in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, script, "measure", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(name, rows, block_size, threads, missing):
    """Measures kzoo and the peers, and prints a line for each peer."""
    case = CASES[name]
    block_size = (block_size or (BLOCK_SIZE if rows > WHOLE_TO else None)) if case.blocks else None
    label = f"{name:<31} {rows:>6} {block_size or '-':>6} "
    ours = run("kzoo", name, rows, block_size, threads=threads)
    if "failed" in ours:
        print(f"{label} does not run: {ours['failed']}", flush=True)
        return
    label += f"{1e3 * ours['seconds']:>9.1f} {ours['bytes'] / 1e6:>8.1f}   "
    peers = [each for each in case.peers if each not in missing] if rows <= case.peers_to else []
    for peer in peers:
        theirs = run(peer, name, rows, None, threads=threads)
        if "missing" in theirs:
            missing.add(peer)
            print(f"{peer} cannot be imported and is left out: {theirs['missing']}", flush=True)
        elif "failed" in theirs:
            print(f"{label}{peer} does not run: {theirs['failed']}", flush=True)
        else:
            seconds, memory = theirs["seconds"], theirs["bytes"]
            ratios = f"{ours['seconds'] / seconds:>6.2f} {ours['bytes'] / max(memory, 1):>6.2f}"
            print(f"{label}{peer:<23} {1e3 * seconds:>9.1f} {memory / 1e6:>8.1f}   {ratios}", flush=True)
            if not np.allclose(ours["says"], theirs["says"], rtol=DISAGREE):
                print(f"  they disagree: value and lengths of gradients {ours['says']}, {theirs['says']}", flush=True)
    if not set(peers) - missing:
        print(label, flush=True)


def answer(measured, main):
    """What a script does that is called by `run`, or by a person."""
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measured(*json.loads(sys.argv[2]))))
    else:
        main()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("losses", nargs="*", metavar="loss", help=", ".join(CASES))
    parser.add_argument("--rows", type=int, nargs="+", default=[512, 4096], help="rows of the batch")
    parser.add_argument("--block-size", type=int, help="rows compared at a time in every batch")
    parser.add_argument("--all", action="store_true", help="every loss, and 32768 rows too")
    options = parser.parse_args()
    if unknown := set(options.losses) - set(CASES):
        parser.error(f"{', '.join(sorted(unknown))} is not measured; choose among {', '.join(CASES)}")
    names = list(CASES) if options.all else options.losses or USUAL
    sizes = [512, 4096, 32768] if options.all else options.rows
    threads = len(os.sched_getaffinity(0))
    backend = os.environ.get("KERAS_BACKEND", "the default backend")
    print(f"kzoo on {backend}, {threads} threads: value and gradients, milliseconds and peak, and both as kzoo / peer")
    columns = f"{'ms':>9} {'MB':>8}"
    print(f"{'':<31} {'rows':>6} {'block':>6} {columns}   {'peer':<23} {columns}   {'time':>6} {'peak':>6}")
    missing = set()
    for name in names:
        for rows in sizes:
            if rows <= WHOLE_TO or CASES[name].blocks:
                compare(name, rows, options.block_size, threads, missing)


if __name__ == "__main__":
    answer(measured, main)
