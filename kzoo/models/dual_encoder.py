"""The dual encoder: two towers, one space."""

from tempfile import TemporaryDirectory

import keras
import numpy as np
from keras import ops

from kzoo.inference.embed import Embedder
from kzoo.layers.configured import Configured
from kzoo.layers.numerics import l2_normalize
from kzoo.layers.similarity import SimilarityHead
from kzoo.models.checks import check_batch
from kzoo.models.contrastive import ContrastiveModel
from kzoo.preprocessing import Preprocessor

keras.saving.register_keras_serializable(package="kzoo")(Preprocessor)  # preprocessing itself knows no Keras


@keras.saving.register_keras_serializable(package="kzoo")
class DualEncoder(Configured, Embedder, ContrastiveModel):
    """An image tower and a text tower whose embeddings meet in one space (CLIP, SigLIP, ALIGN).

    Args:
        image_encoder: layer from pixels to a dict with `"embedding"` and `"tokens"`.
        text_encoder: layer from token ids to the same.
        similarity: a `SimilarityHead`; default CLIP's, scale 1 / 0.07 without a bias.
        preprocessor: a `Preprocessor`, or None to work with arrays only.
        loss: list of terms as in a preset row; what `compile` takes when it is given none.

    Inputs:
        dict with `images` uint8 or float `(batch, height, width, 3)` in [0, 255], `token_ids` int
        `(batch, length)`, `padding_mask` bool `(batch, length)`; one modality is enough to embed it. Captions that are
        nearly right, N of each pair, for losses that read `negatives`: `negative_token_ids` `(batch, N, length)` and
        `negative_padding_mask`, as `preprocessor(negatives=...)` gives them.

    Returns:
        dict: `image_embeddings` and `text_embeddings`, float32 `(batch, embed_dim)`, unit length; by request
        (`outputs=("image_tokens",)`, or in training because the loss reads them) `image_tokens` and `text_tokens`,
        `(batch, length, width)`, and `negatives`, `(batch, N, embed_dim)`, unit length.

    Raises:
        ValueError: towers with embeddings of different widths; batches that do not fit, see the sentence.

    Example:
        >>> model = kzoo.from_preset("clip_nano", load_weights=False)
        >>> model.compile("adamw")
        >>> model.fit({"images": images, "token_ids": token_ids}, batch_size=256)

    Reference:
        Radford et al., CLIP, 2021, arXiv 2103.00020.
    """

    kind = "dual_encoder"  # its name in preset tables
    layout = {}  # how the checkpoint it was opened from spells what can be spelled in two ways
    source = None  # "hf://owner/name@commit" that from_preset took the weights from

    def __init__(self, image_encoder, text_encoder, similarity=None, preprocessor=None, loss=None, **kwargs):
        # no autocast: each tower casts for itself, pixels would lose precision on the way
        super().__init__(autocast=False, **kwargs)
        if text_encoder is not None and image_encoder.embed_dim != text_encoder.embed_dim:
            raise ValueError(
                f"the image embedding has {image_encoder.embed_dim} channels and the text embedding "
                f"{text_encoder.embed_dim}; give both towers the same embed_dim."
            )

        # -- layers --
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        if similarity is None and self.is_contrastive:
            similarity = SimilarityHead(name="similarity")
        self.similarity = similarity
        if similarity is not None:
            similarity.raw_logits = self.logits
        self.preprocessor = preprocessor
        self.loss_spec = tuple(loss or ({"loss": "InfoNCE"},))
        self.build()

    @property
    def is_contrastive(self):
        """Whether both sides of a pair have an embedding."""
        return True

    def towers(self):
        """Name -> tower, in the order of a preset row."""
        return {"image_encoder": self.image_encoder, "text_encoder": self.text_encoder}

    # -- forward --
    def check_batch(self, batch):
        """Stops with a sentence where a batch does not fit the towers."""
        check_batch(batch, self.image_encoder, self.text_encoder)

    def call(self, batch, training=None, outputs=()):
        wanted = self.wanted(outputs)
        return self.embeddings(self.features(batch, training), wanted) | self.negatives(batch, wanted, training)

    def features(self, batch, training=None):
        """What the towers give for the modalities of a batch: `"image"`, `"text"` -> `"embedding"`, `"tokens"`.

        A locked tower runs as in inference: dropout would blur what others learn to read.
        """
        found = {}
        for modality, tower in (("image", self.image_encoder), ("text", self.text_encoder)):
            reads = tower_inputs(tower, modality)
            if tower is not None and reads[0] in batch:
                found[modality] = tower(*(batch.get(name) for name in reads), training=training and tower.trainable)
        return found

    def embeddings(self, features, wanted):
        """The embeddings of `features`, unit length, and the tokens among `wanted`."""
        results = {}
        for modality, each in features.items():
            results[f"{modality}_embeddings"] = l2_normalize(each["embedding"])
            if f"{modality}_tokens" in wanted:
                results[f"{modality}_tokens"] = each["tokens"]
        return results

    def negatives(self, batch, wanted, training=None):
        """`{"negatives": (batch, N, embed_dim)}`, the hard negatives of a batch by the text tower, if it is wanted."""
        tower = self.text_encoder
        names = [f"negative_{name}" for name in tower_inputs(tower, "text")]
        if tower is None or "negatives" not in wanted or names[0] not in batch:
            return {}
        count = batch[names[0]].shape[1]
        given = [batch.get(name) for name in names]
        rows = [None if each is None else ops.reshape(each, (-1, *each.shape[2:])) for each in given]
        found = l2_normalize(tower(*rows, training=training and tower.trainable)["embedding"])
        return {"negatives": ops.reshape(found, (-1, count, self.embed_dim))}

    # -- use --
    @property
    def embed_dim(self):
        """Width of the shared space."""
        return self.image_encoder.embed_dim

    def embed_batch(self, batch):
        if "images" not in batch and self.text_encoder is None:
            raise ValueError(f"{self.name} has no text tower: it writes captions and embeds none.")
        (embeddings,) = (value for key, value in self.predict_on_batch(batch).items() if key.endswith("embeddings"))
        return np.asarray(embeddings)

    def scale_and_bias(self):
        if self.similarity is None:
            return 1.0, 0.0
        scale, bias = self.similarity.scale, self.similarity.bias
        to_numpy = keras.ops.convert_to_numpy
        return float(to_numpy(scale)), 0.0 if bias is None else float(to_numpy(bias))

    def save_to_preset(self, folder, format="kzoo"):
        """Write the model into a folder that `kzoo.from_preset(folder)` opens, on any backend.

        Args:
            folder: path; made if it is not there.
            format: `"kzoo"` (`config.json`, `model.weights.h5`, `tokenizer.json`), or the layout of another library,
                `"transformers"` or `"open_clip"`, which then opens it too.

        A model card, `README.md`, is written beside it; a `README.md` that kzoo did not write stays as it is.

        Raises:
            ValueError: no preprocessor, or a format that cannot describe this model; nothing is written.
        """
        if format == "kzoo":
            from kzoo.presets.folder import save_preset

            save_preset(self, folder)
        else:
            from kzoo.presets.foreign_save import save_checkpoint

            save_checkpoint(self, folder, format)

    def push_to_hub(self, repo, format="kzoo", private=False, revision=None, message=None):
        """Put the model on the Hugging Face Hub, where `kzoo.from_preset("hf://owner/name")` opens it.

        The files and the card of `save_to_preset` are written into a temporary folder and uploaded by the hub's own
        client: token, endpoint and progress bar are its own (`hf auth login` or `HF_TOKEN`, `HF_ENDPOINT`). Other files
        of the repository stay, and so does a `README.md` that kzoo did not write.

        Args:
            repo: `"owner/name"`; made if it is not there.
            format: as in `save_to_preset`.
            private: of a repository that is made now; one that is there stays what it is.
            revision: branch to commit to, made if it is not there; default the main one.
            message: of the commit.

        Returns:
            str: URL of the commit.

        Raises:
            ValueError: not a name of the hub, or as in `save_to_preset`; nothing is uploaded.
            PermissionError: no token, or one that may not write there.
            ConnectionError: the client is offline, the hub cannot be reached or refuses the files.

        Example:
            >>> model.push_to_hub("me/my-clip", private=True)
            'https://huggingface.co/me/my-clip/commit/...'
        """
        from kzoo.presets.card import is_own, write_card
        from kzoo.weights import hub

        hub.check_target(repo)
        with TemporaryDirectory() as folder:
            self.save_to_preset(folder, format)
            write_card(self, folder, format, f"{repo}@{revision}" if revision else repo)
            return hub.push(folder, repo, is_own, private, revision, message or f"{self.name}, written by kzoo")

    def export(self, folder, format="onnx", **kwargs):
        """Write verified graphs that run without Keras; see `kzoo.export.export`.

        Args:
            folder: path of the folder to write.
            format: `"onnx"` or `"tf_saved_model"`.

        Returns:
            dict: the manifest, with the worst difference between graph and model.
        """
        from kzoo.export import export

        return export(self, folder, format=format, **kwargs)

    # -- config --
    def get_config(self):
        parts = {"similarity": self.similarity, "preprocessor": self.preprocessor, "loss": list(self.loss_spec)}
        return super().get_config() | parts


def tower_inputs(tower, modality):
    """Names of the arrays that a tower takes, by position; the first decides whether its modality is there."""
    usual = {"image": ("images",), "text": ("token_ids", "padding_mask")}[modality]
    return getattr(tower, "reads", usual)
