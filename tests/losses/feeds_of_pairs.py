"""How the losses of pairs, captions and teachers of pairs are fed: `(loss, model, data)`, see `feeding.py`.

What a loss's docstring says under `Feeding` is what stands here, at the smallest size; the others are fed by what is
`USUAL` in their room.
"""

import numpy as np
from feeding import (
    CAPTIONS,
    DIM,
    FEATURES,
    GRID,
    IMAGES,
    LABELS,
    PATCH,
    ROWS,
    SAME,
    TOKENS,
    VOCAB,
    dual,
    ema,
    fixed,
    head,
    negatives,
    of_pairs,
    preset,
    several,
    several_captions,
    with_views,
)

from kzoo import losses
from kzoo.data import Crops, Likeness
from kzoo.layers import Projector
from kzoo.layers.heads import (
    AdversarialStates,
    Classifier,
    CodeDecoder,
    MultiHeadProjector,
    OrthogonalBasis,
    PatchDecoder,
    Patchify,
    TemperatureFactors,
)
from kzoo.preprocessing import RandomPatches

random = np.random.default_rng(1)
PLACES = random.uniform(-80.0, 80.0, (ROWS, 2)).astype("float32")
NAMES = [text.split() for text in CAPTIONS]

FEEDS = {
    # -- image_text --
    "AdaptiveMultiHead": (
        lambda: losses.AdaptiveMultiHead(0.1, bounds=(0.01, 2.0)),
        dual(
            head(lambda: MultiHeadProjector(2, (16, 8)), "*_features", "*_heads"),
            head(lambda: TemperatureFactors(4, 8), "*_heads", "*_temperature_factors"),
        ),
        of_pairs(),
    ),
    "ContinuouslyWeightedContrastive": (
        losses.ContinuouslyWeightedContrastive,
        dual(),
        of_pairs(matrices={"weights": Likeness(FEATURES)}),
    ),
    "CountingContrastive": (
        losses.CountingContrastive,
        dual(),
        of_pairs({"counterfactual_texts": CAPTIONS[::-1], "counting_mask": LABELS > 0}),
    ),
    "DecoupledSoftmax": (losses.DecoupledSoftmax, dual(), of_pairs(matrices={"positives": SAME})),
    "FaceNameAlignment": (
        losses.FaceNameAlignment,
        dual(),
        of_pairs({"face_images": [[x, x[::-1]] for x in IMAGES], "name_texts": NAMES}),
    ),
    "FineGrainedContrastive": (losses.FineGrainedContrastive, dual(*TOKENS), of_pairs()),
    "GramContrastive": (losses.GramContrastive, several, with_views),
    "GroupInfoNCE": (losses.GroupInfoNCE, dual(), of_pairs({"groups": LABELS})),
    "HardNegativeContrastive": (losses.HardNegativeContrastive, dual(), negatives()),
    "ImageGroundedContrast": (losses.ImageGroundedContrast, dual(), negatives()),
    "ImageTextMatching": (
        losses.ImageTextMatching,
        preset("blip_itm_nano"),
        of_pairs({"matching_labels": LABELS % 2}),
    ),
    "IndividualTemperature": (lambda: losses.IndividualTemperature(ROWS, 0.1), dual(), of_pairs(ids=True)),
    "MultiCaptionContrastive": (losses.MultiCaptionContrastive, dual(), several_captions()),
    "MultiCropContrastive": (losses.MultiCropContrastive, dual(), of_pairs(crops=Crops(images=2, captions=2))),
    "MultiLabelClusterDiscrimination": (
        lambda: losses.MultiLabelClusterDiscrimination(constants={"centers": random.normal(size=(5, DIM))}),
        dual(),
        of_pairs({"positives": np.stack([LABELS, LABELS + 1], axis=1)}),
    ),
    "OneToK": (losses.OneToK, dual(), several_captions()),
    "PrototypeContrastive": (
        lambda: losses.PrototypeContrastive(constants={"a_prototypes": np.eye(3, DIM), "b_prototypes": np.eye(3, DIM)}),
        dual(),
        of_pairs({"a_labels": LABELS, "b_labels": LABELS}),
    ),
    "SelfSupervisedContrastive": (
        losses.SelfSupervisedContrastive,
        dual(head(lambda: Projector((16, 8)), "*_features", "*_projected")),
        of_pairs({"view_1_images": list(IMAGES), "view_2_images": list(IMAGES[:, ::-1])}),
    ),
    "SigmoidContrastive": (lambda: losses.SigmoidContrastive(10.0, -10.0), dual(), of_pairs()),
    "SoftContrastive": (losses.SoftContrastive, dual(), of_pairs({"label_embeddings": FEATURES})),
    "SoftTopK": (lambda: losses.SoftTopK(2), dual(), of_pairs(matrices={"positives": SAME})),
    "SubcaptionGrouping": (losses.SubcaptionGrouping, dual(TOKENS[0]), several_captions()),
    "Symile": (losses.Symile, several, with_views),
    "TokenClassification": (
        lambda: losses.TokenClassification(constants={"token_weights": np.ones(VOCAB)}),
        dual(head(lambda: Classifier(VOCAB), "image_features", "token_logits")),
        of_pairs(),
    ),
    "UnifiedContrastive": (losses.UnifiedContrastive, dual(), of_pairs({"labels": LABELS})),
    # -- generative --
    "Captioning": (losses.Captioning, preset("coca_nano"), of_pairs()),
    "CaptioningContrastive": (losses.CaptioningContrastive, preset("coca_nano"), of_pairs()),
    "ContrastiveMIM": (
        losses.ContrastiveMIM,
        dual(head(lambda: CodeDecoder(DIM, (4, 3)), "image_features", ("hidden_states", "prediction"))),
        of_pairs(),
    ),
    "MaskedImageModelling": (
        losses.MaskedImageModelling,
        dual(
            head(
                lambda: PatchDecoder(GRID, PATCH, width=16, depth=1, num_heads=2, prefix_tokens=1),
                ("image_tokens", "image_kept"),
                "prediction",
            ),
            head(lambda: Patchify(PATCH), "image_input", "target"),
        ),
        of_pairs(masks={"image": RandomPatches(GRID, 0.75, drop=True)}),
    ),
    "SimCTG": (losses.SimCTG, preset("coca_nano"), of_pairs()),
    # -- labels --
    "GumbelContrastive": (
        losses.GumbelContrastive,
        dual(head(lambda: Classifier(5), "image_features", "concept_logits")),
        of_pairs(),
    ),
    "HaversineGeocell": (
        lambda: losses.HaversineGeocell(constants={"centroids": PLACES[:5]}),
        dual(head(lambda: Classifier(5), "image_features", "logits")),
        of_pairs({"coordinates": PLACES}),
    ),
    # -- sentences --
    "AdversarialPairs": (
        lambda: losses.Captioning() + losses.AdversarialPairs(),
        preset(
            "coca_nano",
            head(
                lambda: AdversarialStates(8, 32),
                ("image_tokens", "caption_linear_logits", "caption_labels", "caption_mask"),
                ("source", "target", "imposter", "distant"),
            ),
        ),
        of_pairs(),
    ),
    "CoSENT": (losses.CoSENT, dual(), of_pairs({"scores": np.arange(ROWS) / ROWS})),
    "PearsonLoss": (losses.PearsonLoss, dual(), of_pairs({"scores": np.arange(ROWS) / ROWS})),
    "PreferenceRank": (losses.PreferenceRank, dual(), of_pairs({"scores": np.arange(ROWS) / ROWS})),
    "RankKL": (losses.RankKL, dual(), of_pairs({"scores": np.arange(ROWS) / ROWS})),
    # -- teachers --
    "BackwardCompatibleBasis": (
        lambda: losses.BackwardCompatibleBasis(constants={"old_classifier": random.normal(size=(3, DIM))}),
        dual(
            head(lambda: OrthogonalBasis(DIM, DIM + 4), "image_features", ("basis_features", "old_part")),
            head(lambda: Classifier(3), "basis_features", "logits"),
            teacher=fixed(dual()),
        ),
        of_pairs({"labels": LABELS, "new_target": random.normal(size=(ROWS, DIM + 4)).astype("float32")}),
    ),
    "DecoupledGlobalLocal": (losses.DecoupledGlobalLocal, dual(teacher=ema), negatives()),
    "EmbeddingDistillation": (losses.EmbeddingDistillation, dual(teacher=fixed(dual())), of_pairs()),
    "LogitDistillation": (losses.LogitDistillation, dual(teacher=fixed(dual())), of_pairs()),
    "MomentumDistillation": (losses.MomentumDistillation, dual(teacher=ema), of_pairs(ids=True)),
    "TextGroundedContrast": (losses.TextGroundedContrast, dual(teacher=ema), negatives()),
    # -- composition --
    "Matryoshka": (lambda: losses.Matryoshka(losses.InfoNCE(), [4, DIM]), dual(), of_pairs()),
    "Matryoshka2D": (lambda: losses.Matryoshka2D(losses.InfoNCE(), [4, DIM]), dual(depth=2), of_pairs()),
}
