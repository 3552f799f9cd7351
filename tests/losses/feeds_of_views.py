"""How the losses of views, labels, sentences and teachers of views are fed: `(loss, model, data)`, see `feeding.py`.

What a loss's docstring says under `Feeding` is what stands here, at the smallest size; the others are fed by what is
`USUAL` in their room.
"""

import numpy as np
from feeding import (
    CAPTIONS,
    DIM,
    FEATURES,
    GRID,
    LABELS,
    PREPROCESSOR,
    ROWS,
    VOCAB,
    ema,
    fixed,
    head,
    labelled,
    of_text_pairs,
    of_texts,
    of_views,
    prototypes,
    single,
    text_single,
)

from kzoo import losses
from kzoo.data import Edges, Separations, clusterings
from kzoo.layers import Projector
from kzoo.layers.heads import Classifier, HypernetworkPredictor, SplitProjector, TokenProjector
from kzoo.preprocessing import BagOfWords, BlockPatches, Mixup, RepeatWords

CHAIN = Edges([[row, (row + 1) % ROWS] for row in range(ROWS)], ROWS)
RUNS = clusterings(FEATURES, (3, 4))
QUEUE = {"queue_size": 8, "dim": DIM}
CROPS = {"local_views": 2, "local_size": 12}
MOMENTUM = single(teacher=ema)

FEEDS = {
    # -- views --
    "ArbitraryPairs": (
        lambda: losses.ArbitraryPairs(3, DIM, label_dim=4, hidden=8, labels_a="labels", labels_b="labels"),
        single(),
        labelled(),
    ),
    "AttractionRepulsion": (losses.AttractionRepulsion, single(), of_views(views=3)),
    "GroupOrdering": (lambda: losses.GroupOrdering(3), single(), of_views()),
    "MixedBarlowTwins": (losses.MixedBarlowTwins, single(), of_views(mix=Mixup())),
    "MultiViewDHEL": (losses.MultiViewDHEL, single(), of_views(views=3)),
    "MultiViewInfoNCE": (losses.MultiViewInfoNCE, single(), of_views(views=3)),
    "PixContrast": (losses.PixContrast, MOMENTUM, of_views(boxes=True)),
    "PixPro": (lambda: losses.PixPro(dim=24), MOMENTUM, of_views(boxes=True)),
    "SeparateCommonSalient": (
        losses.SeparateCommonSalient,
        single(
            None,
            head(
                lambda: SplitProjector({"common": (16, 8), "salient": (16, 4)}),
                "*_features",
                ("*_common", "*_salient"),
            ),
        ),
        of_views({"is_target": LABELS > 0}),
    ),
    "SplitInvariantEquivariant": (
        losses.SplitInvariantEquivariant,
        single(
            None,
            head(
                lambda: SplitProjector({"invariant": (16, 8), "equivariant": (16, 4)}),
                "*_features",
                ("*_invariant", "*_equivariant"),
            ),
            head(lambda: HypernetworkPredictor(12), ("view_1_equivariant", "relative_parameters"), "prediction"),
        ),
        of_views(parameters=True),
    ),
    "SwAV": (lambda: losses.SwAV(8, DIM, queue_size=8), single(), of_views()),
    "WeightedInfoNCE": (losses.WeightedInfoNCE, single(), of_views(matrices={"weights": Separations(RUNS)})),
    # -- labels --
    "CircleLoss": (losses.CircleLoss, single(), labelled(views=1)),
    "CrossEntropy": (
        losses.CrossEntropy,
        single(None, head(lambda: Classifier(3), "view_1_features", "logits")),
        labelled(views=1),
    ),
    "EquiangularBasisVectors": (lambda: losses.EquiangularBasisVectors(3, DIM), single(), labelled(views=1)),
    "FocalSupCon": (losses.FocalSupCon, single(), labelled()),
    "ICNN": (lambda: losses.ICNN(2), single(), labelled(views=1)),
    "LeaveOneOutKNN": (lambda: losses.LeaveOneOutKNN(3, **QUEUE), single(), labelled(views=1)),
    "MetaNodeContrastive": (
        lambda: losses.MetaNodeContrastive(num_clusters=3),
        single(),
        of_views({"assignments": LABELS}, views=1, matrices={"adjacency": CHAIN}),
    ),
    "MetricMix": (losses.MetricMix, single(), labelled(views=1)),
    "ProtoTriplet": (
        lambda: losses.ProtoTriplet(constants={"prototypes": np.eye(3, DIM)}),
        single(),
        labelled(views=1),
    ),
    "SimplexClassifier": (
        lambda: losses.SimplexClassifier(4),
        single(lambda: Projector((16, 3))),
        labelled(views=1),
    ),
    "SupCon": (losses.SupCon, single(), labelled()),
    "SupReMix": (losses.SupReMix, single(), of_views({"targets": LABELS.astype("float32")}, views=1)),
    "Triplet": (losses.Triplet, single(), labelled(views=1)),
    # -- sentences --
    "BagOfWordsDecoding": (
        losses.BagOfWordsDecoding,
        text_single(head(lambda: Classifier(VOCAB), "*_tokens", "*_token_logits")),
        of_texts(views=1, bag=BagOfWords(PREPROCESSOR.tokenizer, VOCAB)),
    ),
    "ESimCSE": (
        lambda: losses.ESimCSE(**QUEUE),
        text_single(teacher=ema, dropout=0.1),
        of_texts(augmentation=(None, RepeatWords())),
    ),
    "PairDistillation": (
        losses.PairDistillation,
        text_single(head(lambda: Classifier(1), "*_features", "*_pair_logits")),
        of_texts({"target_scores": np.arange(ROWS) / ROWS}, views=1),
    ),
    "SimCSE": (
        lambda: losses.SimCSE(inputs=("view_1", "view_2", "view_3")),
        text_single(dropout=0.1),
        of_text_pairs({"sentence3": CAPTIONS[1:] + CAPTIONS[:1]}, texts=("sentence1", "sentence2", "sentence3")),
    ),
    "WhitenedCSE": (lambda: losses.WhitenedCSE(num_groups=4), text_single(dropout=0.1), of_texts(views=3)),
    # -- teachers --
    "DINO": (lambda: losses.DINO(8), single(prototypes, teacher=ema), of_views(**CROPS)),
    "FeatureTransformContrastive": (lambda: losses.FeatureTransformContrastive(**QUEUE), MOMENTUM, of_views()),
    "HigherOrderCompatibility": (
        losses.HigherOrderCompatibility,
        single(teacher=fixed(single())),
        labelled(views=1),
    ),
    "IBOT": (
        lambda: losses.IBOT(8),
        single(
            None,
            head(lambda: TokenProjector(DIM, skip=1), "*_tokens", "*_patches"),
            head(prototypes, "*_patches", "*_token_logits"),
            teacher=ema,
            mask_token=True,
        ),
        of_views(views=1, masks={"view_1": BlockPatches(GRID)}),
    ),
    "ClusteredMemoryContrastive": (
        lambda: losses.ClusteredMemoryContrastive(memory_size=8, dim=DIM, num_clusters=2, neighbours=2),
        MOMENTUM,
        of_views(),
    ),
    "MoCHi": (lambda: losses.MoCHi(n_hard=4, s=3, s_prime=2, **QUEUE), MOMENTUM, of_views()),
    "OnlineBagOfWords": (lambda: losses.OnlineBagOfWords(8, dim=24, student_dim=DIM), MOMENTUM, of_views()),
    "QueueContrastive": (lambda: losses.QueueContrastive(**QUEUE), MOMENTUM, of_views()),
    "RehearsalSupCon": (
        losses.RehearsalSupCon,
        single(teacher=fixed(single())),
        of_views({"labels": LABELS, "rehearsal": LABELS > 0}, views=1),
    ),
    "SimDINO": (losses.SimDINO, MOMENTUM, of_views(**CROPS)),
}
