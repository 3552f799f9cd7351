"""Recipes by name: of each number what it is, why, and who says so.

Where they stand, beside the papers: of CLIP in its tables 18 to 20; of SigLIP and LiT in `siglip_lit_coco.py` and
`lit_coco.py` of big_vision; of FLIP in `configs/default.py`; of CLIPA in the scripts of its second stage; of WiSE-FT in
its README and `finetune.py`; of FLYP in its README and `args.py`; of FT-CLIP (`TUNER`) in those for B/16 and L/14.
What is ours says so.
"""

CLIP = "Radford et al., CLIP, 2021, arXiv 2103.00020"
SIGLIP = "Zhai et al., Sigmoid Loss, 2023, arXiv 2303.15343"
LIT = "Zhai et al., LiT, 2021, arXiv 2111.07991"
COCA = "Yu et al., CoCa, 2022, arXiv 2205.01917"
FLIP = "Li et al., Scaling Language-Image Pre-training via Masking, 2022, arXiv 2212.00794"
CLIPA = "Li et al., An Inverse Scaling Law for CLIP Training, 2023, arXiv 2305.07017"
WISE = "Wortsman et al., Robust Fine-tuning of Zero-shot Models, 2021, arXiv 2109.01903"
FLYP = "Goyal et al., Finetune like you pretrain, 2022, arXiv 2212.00638"
TUNER = "Dong et al., CLIP Itself is a Strong Fine-tuner, 2022, arXiv 2212.06138"
LION = "Chen et al., Symbolic Discovery of Optimization Algorithms, 2023, arXiv 2302.06675"
LAMB = "You et al., Large Batch Optimization for Deep Learning, 2019, arXiv 1904.00962"
MUON = "Liu et al., Muon is Scalable for LLM Training, 2025, arXiv 2502.16982"
OURS = "measured with kzoo's own small models"

SPARED = "decays weight matrices and embeddings, not biases, gains and the similarity head"
COSINE = "rises in the first steps, in which gradients point anywhere, and falls to 0"
CLIPPED = "a step of a bad batch cannot undo what was learnt"

# field of a recipe -> (value, why, who says so)
_PRETRAINING = {
    "from_scratch": (True, "all weights are random at the start", CLIP),
    "batch_size": (4096, "ours: more negatives for each pair; 32,768 there, as many as fit", CLIP),
    "epochs": (32, "of hundreds of millions of pairs; more of fewer", CLIP),
    "learning_rate": (5e-4, "of ViT-B/32 and B/16; larger towers want less", CLIP),
    "weight_decay": (0.2, SPARED, CLIP),
    "beta_2": (0.98, "of Adam with transformers", CLIP),
    "schedule": ("cosine", COSINE, CLIP),
    "warmup": (0.02, "ours, for trainings that are shorter: 2,000 steps there, of some 390,000", CLIP),
    "augmentation": ("crop", "random square crops only: with so many pairs nothing else is needed", CLIP),
}
_TUNING = {
    "from_scratch": (False, "the weights are there", FLYP),
    "batch_size": (512, "as there on ImageNet", FLYP),
    "epochs": (10, "as there on ImageNet", FLYP),
    "learning_rate": (
        1e-5,
        "as there, with the loss of the training before; 3e-5 where WiSE-FT trains a classifier",
        FLYP,
    ),
    "weight_decay": (0.1, SPARED, FLYP),
    "beta_2": (0.999, "of Adam, as few steps as there are", WISE),
    "schedule": ("cosine", COSINE, WISE),
    "warmup": (0.05, "ours; 500 steps there, of some 25,000", FLYP),
    "clipnorm": (1.0, CLIPPED, WISE),
    "augmentation": ("crop", "captions stay true of nine tenths of a picture", OURS),
}
NAMED = {
    "clip_pretrain": _PRETRAINING,
    "clip_pretrain_lion": _PRETRAINING
    | {
        "optimizer": ("clip_lion", "half the memory of AdamW's state", LION),
        "learning_rate": (
            1e-4,
            "ours, of what is said there: its steps are signs, 3 to 10 times less than AdamW",
            LION,
        ),
        "weight_decay": (1.0, f"ours, as much more; {SPARED}", LION),
        "beta_2": (0.99, "as there", LION),
    },
    "clip_pretrain_lamb": _PRETRAINING
    | {
        "optimizer": ("clip_lamb", "scales each weight's step by its length, for the largest batches", LAMB),
        "learning_rate": (2e-3, "ours: steps are of the length of the weights", LAMB),
        "weight_decay": (0.02, f"ours; {SPARED}", LAMB),
        "beta_2": (0.999, "as there", LAMB),
    },
    "flip_pretrain": _PRETRAINING
    | {
        "patch_dropout": (0.5, "half the patches cost half the time: more pairs are seen, in larger batches", FLIP),
        "learning_rate": (5e-4, "ours, as in CLIP; 1e-3 there, in batches of 65,536", FLIP),
        "beta_2": (0.95, "as there", FLIP),
    },
    "flip_tune": _TUNING
    | {
        "epochs": (1, "some steps with whole pictures close the gap to them", FLIP),
        "learning_rate": (1e-5, "far below that of the training before: 2.56e-5 there, in batches of 8,192", CLIPA),
        "weight_decay": (0.2, SPARED, CLIPA),
        "beta_2": (0.95, "as there", CLIPA),
    },
    "siglip_pretrain": _PRETRAINING
    | {
        "learning_rate": (1e-3, "with little decay and clipped gradients it may be higher", SIGLIP),
        "weight_decay": (1e-4, SPARED, SIGLIP),
        "beta_2": (0.95, "0.999 lets the loss of large batches jump", SIGLIP),
        "clipnorm": (1.0, CLIPPED, SIGLIP),
        "loss": ("SigmoidContrastive", "no sum over the batch", SIGLIP),
    },
    "lit": _PRETRAINING
    | {
        "from_scratch": (False, "the image tower is trained already, the text tower need not be", LIT),
        "locked": (("image",), "the text tower learns to read out a good image tower", LIT),
        "learning_rate": (1e-3, "as there", LIT),
        "weight_decay": (1e-4, SPARED, LIT),
        "clipnorm": (1.0, CLIPPED, LIT),
    },
    "coca_pretrain": _PRETRAINING
    | {
        "learning_rate": (8e-4, "as there", COCA),
        "weight_decay": (0.01, SPARED, COCA),
        "beta_2": (0.999, "as there", COCA),
        "schedule": (
            "cosine",
            "ours: rises for 2 % of the steps as there, and falls as a cosine; there in a line",
            COCA,
        ),
        "warmup": (0.02, "as there", COCA),
    },
    "flyp": _TUNING,
    "clip_finetune": _TUNING
    | {
        "learning_rate": (3e-5, "ours, of the last block, as layer_decay makes it less for those below", FLYP),
        "layer_decay": (
            0.7,
            "ours; 0.6 and 0.65 there: blocks near pixels and words know what is general, and change least",
            TUNER,
        ),
        "ema": (0.9998, "averaged weights are better than the last; over a tenth of the steps at most", TUNER),
    },
    "small_from_scratch": {
        "from_scratch": (True, "all weights are random at the start", OURS),
        "optimizer": ("clip_muon", "learns more of few pairs than AdamW", MUON),
        "batch_size": (64, "of a few thousand pairs: more steps", OURS),
        "epochs": (40, "of a few thousand pairs", OURS),
        "learning_rate": (2e-3, "a higher one learns what is told apart at once, such as colours, and stays", OURS),
        "weight_decay": (0.3, SPARED, OURS),
        "schedule": ("cosine", COSINE, OURS),
        "warmup": (0.05, "a twentieth of the steps", OURS),
        "augmentation": ("shift", "up to a tenth of a side; nothing turns left into right", OURS),
        "word_dropout": (0.3, "so few captions would be learnt by heart", OURS),
        "label_smoothing": (0.1, "of InfoNCE, for the same reason", OURS),
    },
}
