"""Pictures and texts to the arrays of a batch: the same code in training and in deployment."""

import numpy as np

from kzoo.preprocessing.images import ImageSteps
from kzoo.preprocessing.patches import PatchSteps
from kzoo.preprocessing.sealing import check_fingerprint, fingerprint
from kzoo.preprocessing.tokenizer import Tokenizer

TOKENIZER_FILE = "tokenizer.json"
STEPS = {steps.kind: steps for steps in (ImageSteps, PatchSteps)}


class Preprocessor:
    """The image steps and the tokenizer of one model, saved with it.

    Args:
        images: the `ImageSteps` or `PatchSteps`.
        tokenizer: the `Tokenizer`, or None while there is no vocabulary.
        vocabulary: what is known of a vocabulary that is not there: `"source"`, where it comes from, or `"train"`,
            the number of ids that `adapt` may learn; `"context_length"` and `"vocab_size"` of the text tower;
            `"rules"` of the preset's row.

    Example:
        >>> batch = model.preprocessor(images=["cat.jpg"], texts=["a cat"])
        >>> sorted(batch)
        ['images', 'padding_mask', 'token_ids']
    """

    def __init__(self, images, tokenizer=None, vocabulary=None):
        self.images, self._tokenizer, self.vocabulary = images, tokenizer, vocabulary or {}

    @property
    def tokenizer(self):
        """The `Tokenizer`. One can be put where there is none; it cannot be exchanged for one with other ids."""
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer):
        have = self._tokenizer
        if have is not None and (tokenizer is None or tokenizer.fingerprint() != have.fingerprint()):
            raise ValueError(
                f"this preprocessor has a vocabulary of {have.vocab_size} ids already, and another would not fit the "
                "weights of its model; build a new model with load_weights=False to start from another vocabulary."
            )
        self._tokenizer = tokenizer

    def __call__(self, images=None, texts=None, negatives=None):
        """Arrays of what is given: `images` uint8 `(n, height, width, 3)`, `token_ids` int32 and `padding_mask` bool
        `(n, context_length)`, of hard negatives what `encode_negatives` says."""
        batch = {} if images is None else self.encode_images(images)
        batch |= {} if texts is None else self.encode_texts(texts)
        return batch if negatives is None else batch | self.encode_negatives(negatives)

    def encode_images(self, images):
        """A list of pictures to `images`, uint8 `(n, height, width, 3)`; of `PatchSteps` see there.

        Args:
            images: list of anything `ImageSteps` takes.

        Raises:
            ValueError: no pictures, or one that cannot be read; the sentence gives its place in the list.
        """
        if not len(images):
            raise ValueError("images is empty; give at least one picture.")
        pictures = []
        for index, source in enumerate(images):
            try:
                pictures.append(self.images(source))
            except ValueError as error:
                raise ValueError(f"image {index}: {error}") from error
        return self.images.batch(pictures)

    def encode_texts(self, texts):
        """A list of strings to `token_ids` and `padding_mask`; see `Tokenizer`."""
        self.check_vocabulary()
        return self.tokenizer(texts)

    def encode_negatives(self, negatives):
        """Captions that are nearly right, a list for each pair, to the arrays that a model embeds as `negatives`.

        Args:
            negatives: list of lists of strings; their lengths may differ, N is that of the longest.

        Returns:
            dict: `negative_token_ids` int32 and `negative_padding_mask` bool `(n, N, context_length)`;
            `negatives_mask` bool `(n, N)`, False for empty texts that fill the lists up, as losses with a mask read it.

        Raises:
            TypeError: strings where lists of strings are expected.
            ValueError: no negative at all.

        Example:
            >>> preprocessor.encode_negatives([["a square left of a circle"], []])["negatives_mask"]
            array([[ True], [False]])
        """
        for index, each in enumerate(negatives):
            if isinstance(each, str):
                raise TypeError(
                    f"the negatives of pair {index} are the string {each!r}, but a list is expected: [{each!r}]."
                )
        counts = np.array([len(each) for each in negatives], "int32")
        longest = int(counts.max(initial=0))
        if not longest:
            raise ValueError("negatives holds no text; give a list of strings for each pair, at least one in all.")
        filled = [text for each in negatives for text in [*each, *[""] * (longest - len(each))]]
        rows = self.encode_texts(filled)
        arrays = {f"negative_{name}": each.reshape(len(counts), longest, -1) for name, each in rows.items()}
        return arrays | {"negatives_mask": np.arange(longest) < counts[:, None]}

    def check_vocabulary(self):
        """Stops with a sentence unless there is a tokenizer."""
        if self.tokenizer is None:
            raise ValueError(self._no_vocabulary())

    def adapt(self, captions):
        """Learn a vocabulary from captions, for a model that has none of its own.

        Args:
            captions: iterable of strings, of the training part only.

        Raises:
            ValueError: the model has a vocabulary, or takes one from its checkpoint.
        """
        if self.tokenizer is not None:
            raise ValueError("this preprocessor has a vocabulary already; a new one would not fit the weights.")
        if "train" not in self.vocabulary:
            raise ValueError(self._no_vocabulary())
        self.tokenizer = Tokenizer.train(captions, self.vocabulary["train"], self.vocabulary["context_length"])

    def open_vocabulary(self, folder):
        """Open the vocabulary of this model's preset from a folder of its files.

        Args:
            folder: path; see `Tokenizer.from_folder` for the files.

        Raises:
            FileNotFoundError: none of the files is there.
            ValueError: the vocabulary of another model, or one is open already.
        """
        known = self.vocabulary
        rules = known.get("rules", {})
        tokenizer = Tokenizer.from_folder(folder, rules, known["context_length"], known.get("vocab_size"))
        self.tokenizer = tokenizer
        self.vocabulary = known | {"rules": rules | {"start_id": tokenizer.start_id, "eot_id": tokenizer.eot_id}}

    def resize(self, image_size, context_length):
        """Prepare pictures `(height, width)` and texts of other sizes than before; None for towers of any size."""
        if image_size is not None:
            self.images.set_image_size(image_size)
        self.vocabulary = self.vocabulary | {"context_length": context_length}
        if self.tokenizer is not None and self.tokenizer.context_length != context_length:
            config = self.tokenizer.get_config() | {"context_length": context_length}
            self._tokenizer = Tokenizer.from_json(self.tokenizer.to_json(), **config)

    def special_id(self, role):
        """`"start_id"` or `"eot_id"`: of the tokenizer, where there is none of the rules; None for no such id."""
        return getattr(self.tokenizer, role) if self.tokenizer else self.vocabulary.get("rules", {}).get(role)

    def rules(self):
        """The rules of the tokenizer, as in a preset's row: kind, cleaning, special ids."""
        known = {} if self.tokenizer is None else self.tokenizer.get_config()
        return {"kind": "trained_bpe", "pad_id": 0} | known | self.vocabulary.get("rules", {})

    # -- config --
    def get_config(self):
        """All of it, the vocabulary as the text of its `tokenizer.json`, with the fingerprint of that text."""
        tokenizer = None
        if self.tokenizer is not None:
            text = self.tokenizer.to_json()
            tokenizer = self.tokenizer.get_config() | {"fingerprint": fingerprint(text), "json": text}
        return {"images": self.images.get_config(), "tokenizer": tokenizer, "vocabulary": self.vocabulary}

    @classmethod
    def from_config(cls, config):
        """The inverse of `get_config`.

        Raises:
            ValueError: the vocabulary is not the one whose fingerprint the config has.
        """
        tokenizer = config["tokenizer"]
        if tokenizer is not None:
            settings = dict(tokenizer)
            text, expected = settings.pop("json"), settings.pop("fingerprint", None)
            if expected is not None:  # configs of the first version have none
                check_fingerprint(text, expected)
            tokenizer = Tokenizer.from_json(text, **settings)
        images = dict(config["images"])
        steps = STEPS[images.pop("kind", ImageSteps.kind)]
        return cls(steps(**images), tokenizer, config["vocabulary"])

    def save(self, folder):
        """Write `tokenizer.json` into a folder; returns the rest of the config, for a file beside it."""
        config = self.get_config()
        if config["tokenizer"] is not None:
            (folder / TOKENIZER_FILE).write_text(config["tokenizer"].pop("json"), "utf-8")
        return config

    @classmethod
    def load(cls, folder, config):
        """The inverse of `save`.

        Raises:
            FileNotFoundError: `tokenizer.json` is not there.
            ValueError: it is not the one that was saved.
        """
        if config["tokenizer"] is not None:
            text = (folder / TOKENIZER_FILE).read_text("utf-8")
            config = config | {"tokenizer": config["tokenizer"] | {"json": text}}
        return cls.from_config(config)

    def _no_vocabulary(self):
        if "train" in self.vocabulary:
            return "this preprocessor has no vocabulary yet; learn one with model.preprocessor.adapt(captions)."
        source = self.vocabulary.get("source", "its checkpoint")
        return (
            f"the vocabulary of this model comes with {source} and is not here; open it from a folder of its files: "
            "model.preprocessor.open_vocabulary(folder)."
        )
