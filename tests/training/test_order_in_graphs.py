"""On TensorFlow a step is a graph, whose optimizer drops edges: what reads a variable must still come before, or after,
what assigns it, or a step is right now and then."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.encoders import VisionTransformer
from kzoo.layers import FeatureAugmenter, Head, Projector
from kzoo.losses import NTXent, QueueContrastive, SwAV
from kzoo.training import EMATeacher, MetaStep

pytestmark = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow alone has graphs")
BATCH = {name: np.full((4, 8, 8, 3), 9.0, "float32") for name in ("view_1", "view_2")}
AUGMENTED = ("view_1_augmented", "view_2_augmented")
CHANGES = ("AssignSubVariableOp", "ResourceApplyAdam")  # decay and step


def model(teacher=None):
    tower = VisionTransformer(8, 4, width=12, depth=1, num_heads=2, dropout=0.1)
    heads = [Head(FeatureAugmenter(6), "*_features", "*_augmented", name="augmenter")]
    return kzoo.SelfSupervised(tower, Projector((5,)), *([teacher] if teacher else []), heads=heads)


def optimized(compiled, *passes):
    """The graph of a train step as TensorFlow runs it: nodes, and names in the order of the program."""
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2
    from tensorflow.python.grappler import tf_optimizer

    batch = {name: tf.constant(each) for name, each in BATCH.items()}
    graph = tf.function(lambda: compiled.train_step((batch,))).get_concrete_function().graph
    meta = tf.compat.v1.train.export_meta_graph(graph_def=graph.as_graph_def(), graph=graph)
    for each in (*graph.outputs, *graph.control_outputs):
        meta.collection_def["train_op"].node_list.value.append(each.name)
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1
    config.graph_options.rewrite_options.optimizers.extend([*passes, "dependency"])
    nodes = {node.name: node for node in tf_optimizer.OptimizeGraph(config, meta).node}
    return nodes, [each.name for each in graph.get_operations() if each.name in nodes]


def ancestors(nodes, name):
    found, left = set(), [name]
    while left:
        for each in nodes[left.pop()].input:
            each = each.lstrip("^").split(":")[0]
            if each in nodes and each not in found:
                found.add(each)
                left.append(each)
    return found


@pytest.mark.parametrize(
    ("options", "teacher"),
    [
        ({"loss": NTXent()}, None),
        ({"loss": NTXent() + NTXent(inputs=AUGMENTED), "gradients": MetaStep("augmenter", learning_rate=0.5)}, None),
        ({"loss": SwAV(num_prototypes=5, dim=5, queue_size=10, seed=0), "gradients": "sam"}, None),
        ({"loss": QueueContrastive(dim=5, queue_size=8)}, EMATeacher(0.9)),
    ],
    ids=["plain", "meta_step", "sam", "queue_teacher"],
)
def test_reads_and_assignments_are_in_order(options, teacher):
    compiled = model(teacher)
    compiled.compile(keras.optimizers.SGD(0.1), **options)
    compiled.optimizer.build(compiled.trainable_variables)
    nodes, order = optimized(compiled)
    place = {name: number for number, name in enumerate(order)}
    reads = [name for name in order if nodes[name].op == "ReadVariableOp"]
    assigned = [name for name in order if nodes[name].op.startswith("Assign")]
    assert len(assigned) >= len(compiled.trainable_variables)
    for assign in assigned:
        before = ancestors(nodes, assign)
        for read in reads:
            if nodes[read].input[0] == nodes[assign].input[0]:
                earlier = place[read] < place[assign]
                assert read in before if earlier else assign in ancestors(nodes, read), (read, assign)


def test_a_kernel_is_changed_once_nothing_reads_it():
    """Or TensorFlow would make a copy of it for those who still read, of every weight of the model at a time."""
    compiled = model()
    compiled.compile(kzoo.training.AdamW(0.1), loss=NTXent(), jit_compile=False)
    compiled.optimizer.build(compiled.trainable_variables)
    nodes, _ = optimized(compiled, "function")
    changes = [(node.input[0], name) for name, node in nodes.items() if node.op in CHANGES]
    changed = {variable for variable, _ in changes}

    def read_by(name):
        while nodes[name].op == "Identity":
            name = nodes[name].input[0].split(":")[0]
        return nodes[name].input[0] if nodes[name].op == "ReadVariableOp" else None

    products = {name: read_by(nodes[name].input[1].split(":")[0]) for name in nodes if nodes[name].op == "MatMul"}
    of_kernels = {name: variable for name, variable in products.items() if variable in changed}
    assert len(of_kernels) == 2 * 7  # of a block and the projector, forwards and backwards
    for variable, change in changes:
        before = ancestors(nodes, change)
        assert all(product in before for product, read in of_kernels.items() if read == variable)
