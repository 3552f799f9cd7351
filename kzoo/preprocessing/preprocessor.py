"""Pictures and texts to the arrays of a batch: the same code in training and in deployment."""

import os
from typing import Any, Self

from PIL import Image

from kzoo.arguments import TABLE, TEXT, TOKENIZER, Checked, able, takes
from kzoo.arguments import shown as in_words
from kzoo.files import disk, limits
from kzoo.files.opening import check_inside, home_of, read_text
from kzoo.files.schema import check
from kzoo.preprocessing import schema
from kzoo.preprocessing.bags import flattened, folded, is_bag
from kzoo.preprocessing.decoding import AS_TRAINED
from kzoo.preprocessing.images import ImageSteps
from kzoo.preprocessing.patches import PatchSteps
from kzoo.preprocessing.sealing import check_fingerprint, fingerprint
from kzoo.preprocessing.tokenizer import Tokenizer
from kzoo.types import Array

TOKENIZER_FILE = "tokenizer.json"
NEGATIVE = "negative"  # the prefix of captions that are nearly right
STEPS = {steps.kind: steps for steps in (ImageSteps, PatchSteps)}


class Preprocessor(Checked):
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

    arguments = {
        "images": able("image_size decoding", "image steps such as ImageSteps(224)") | None,
        "tokenizer": TOKENIZER | None,
        "vocabulary": TABLE | None,
    }

    def __init__(self, images, tokenizer=None, vocabulary=None):
        self.images, self._tokenizer, self.vocabulary = images, tokenizer, vocabulary or {}
        check(self.vocabulary, schema.VOCABULARY, "the argument vocabulary")

    def __repr__(self) -> str:
        if self.tokenizer is None and not self.vocabulary:
            return f"<Preprocessor: {self.images!r}, no texts>"
        return f"<Preprocessor: {self.images!r}, {self.tokenizer or 'no vocabulary yet'}>"

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The `Tokenizer`. One can be put where there is none; it cannot be exchanged for one with other ids."""
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer) -> None:
        have = self._tokenizer
        if have is not None and (tokenizer is None or tokenizer.fingerprint() != have.fingerprint()):
            raise ValueError(
                f"this preprocessor has a vocabulary of {have.vocab_size} ids already, and another would not fit the "
                "weights of its model; build a new model with load_weights=False to start from another vocabulary."
            )
        self._tokenizer = tokenizer

    def __call__(self, images=None, texts=None, negatives=None, **sets) -> dict:
        """Arrays of what is given, of one row each.

        A list of lists is a *bag* of several for each row: one axis more, filled up to the longest list with black
        pictures or empty texts, and a mask that is False there.

        | given | arrays | of bags also |
        | --- | --- | --- |
        | `images` | `images` uint8 `(n, height, width, 3)`; of `PatchSteps` see there | `image_mask` bool `(n, bag)` |
        | `texts` | `token_ids` int32, `padding_mask` bool `(n, context_length)` | `text_mask` |
        | `<prefix>_images` | `<prefix>_images` | `<prefix>_image_mask` |
        | `<prefix>_texts` | `<prefix>_token_ids`, `<prefix>_padding_mask` | `<prefix>_text_mask` |
        | `negatives`, or `negative_texts` | `negative_token_ids`, ... of bags only | `negatives_mask` |

        Args:
            images: list of anything `ImageSteps` takes, or of lists of it.
            texts: list of strings, or of lists of strings.
            negatives: list of lists of strings, captions that are nearly right.
            **sets: further pictures and texts of the rows, such as `crop_images` or `counterfactual_texts`.

        Returns:
            dict.

        Raises:
            TypeError: a set with another name; strings where lists are expected, or the other way around.
            ValueError: nothing in a set, sets of different numbers of rows, or a picture that cannot be read.

        Example:
            >>> batch = preprocessor(images=[["a.jpg", "b.jpg"], ["c.jpg"]], texts=["two cats", "one"])
            >>> batch["images"].shape, batch["image_mask"]
            ((2, 2, 224, 224, 3), array([[ True,  True], [ True, False]]))
        """
        given = {"images": images, "texts": texts, "negative_texts": negatives} | sets
        given = {name: values for name, values in given.items() if values is not None}
        for name in given:
            if name.split("_")[-1] not in ("images", "texts") or name.startswith("_"):
                raise TypeError(f"{name!r} is no set of pictures or texts; call it <prefix>_images or <prefix>_texts.")
        rows = {name: len(check_list(name, values)) for name, values in given.items()}
        if len(set(rows.values())) > 1:
            counts = " but ".join(f"{count} {name}" for name, count in rows.items())
            raise ValueError(
                f"there are {counts}; give one for each row, a list where a row has several, or encode them one by one."
            )
        batch = {}
        for name, values in given.items():
            prefix, _, kind = f"_{name}".rpartition("_")
            encode = self.encode_images if kind == "images" else self.encode_texts
            batch |= encode(values, prefix.lstrip("_"))
        return batch

    def encode_images(self, images, prefix="", bag=None) -> dict[str, Array]:
        """A list of pictures to `images`, uint8 `(n, height, width, 3)`; of `PatchSteps` see there.

        Args:
            images: list of anything `ImageSteps` takes, or of lists of it, see above.
            prefix: of a further set: `"crop"` gives `crop_images`.
            bag: members of a bag; default those of the longest.

        Raises:
            ValueError: no pictures, or one that cannot be read; the sentence gives its place in the list.
        """
        if not len(check_list("images", images)):
            raise ValueError("images is empty; give at least one picture.")
        mask = None
        if any(map(is_bag, images)):
            images, mask = flattened(_joined(prefix, "images"), images, Image.new("RGB", (1, 1)), "picture", bag)
        pictures = []
        for index, source in enumerate(images):
            try:
                pictures.append(self.images(source))
            except ValueError as error:
                place = index if mask is None else f"{index % mask.shape[1]} of row {index // mask.shape[1]}"
                raise ValueError(f"image {place}: {error}") from error
        return _named(self.images.batch(pictures), prefix, mask, _joined(prefix, "image_mask"))

    def encode_texts(self, texts, prefix="", bag=None, tokenize=None) -> dict[str, Array]:
        """A list of strings, or of lists of strings, to `token_ids` and `padding_mask`; see `Tokenizer` and above.

        Args:
            texts: list of strings, or of lists of strings.
            prefix: of a further set: `"counterfactual"` gives `counterfactual_token_ids`.
            bag: members of a bag; default those of the longest.
            tokenize: what stands for the tokenizer, such as one that counts what was cut; None: the tokenizer, which
                warns.
        """
        self.check_vocabulary()
        name, mask = "negatives" if prefix == NEGATIVE else _joined(prefix, "texts"), None
        if prefix == NEGATIVE or (not isinstance(texts, str) and any(map(is_bag, texts))):
            texts, mask = flattened(name, texts, "", "text", bag)
        mask_name = "negatives_mask" if prefix == NEGATIVE else _joined(prefix, "text_mask")
        return _named((tokenize or self.tokenizer)(texts), prefix, mask, mask_name)

    def encode_negatives(self, negatives) -> dict:
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
        return self.encode_texts(negatives, NEGATIVE)

    def check_vocabulary(self) -> None:
        """Stops with a sentence unless there is a tokenizer."""
        if self.tokenizer is None:
            raise ValueError(self._no_vocabulary())

    def adapt(self, captions) -> None:
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

    def open_vocabulary(self, folder) -> None:
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

    @takes(language=TEXT)
    def set_language(self, language) -> None:
        """Read texts from now on as those of another language; saved with the model.

        Args:
            language: one of `tokenizer.languages`, such as `"fra_Latn"`.

        Raises:
            ValueError: a vocabulary without languages, as most are, or without this one.

        Example:
            >>> model.preprocessor.set_language("fra_Latn")
            >>> model.encode_text(["un chat"])
        """
        self.check_vocabulary()
        self._tokenizer = self.tokenizer.in_language(language)
        rules = self.vocabulary.get("rules", {}) | {"language": language, "start_id": self.tokenizer.start_id}
        self.vocabulary = self.vocabulary | {"rules": rules}

    def resize(self, image_size, context_length) -> None:
        """Prepare pictures `(height, width)` and texts of other sizes than before; None for towers of any size."""
        if image_size is not None:
            self.images.set_image_size(image_size)
        self.vocabulary = self.vocabulary | {"context_length": context_length}
        if self.tokenizer is not None and self.tokenizer.context_length != context_length:
            config = self.tokenizer.get_config() | {"context_length": context_length}
            self._tokenizer = Tokenizer.from_json(self.tokenizer.to_json(), **config)

    def special_id(self, role) -> int | None:
        """`"start_id"` or `"eot_id"`: of the tokenizer, where there is none of the rules; None for no such id."""
        return getattr(self.tokenizer, role) if self.tokenizer else self.vocabulary.get("rules", {}).get(role)

    def rules(self) -> dict:
        """The rules of the tokenizer, as in a preset's row: kind, cleaning, special ids."""
        known = {} if self.tokenizer is None else self.tokenizer.get_config()
        return {"kind": "trained_bpe", "pad_id": 0} | known | self.vocabulary.get("rules", {})

    # -- config --
    def get_config(self) -> dict:
        """All of it, the vocabulary as the text of its `tokenizer.json`, with the fingerprint of that text."""
        tokenizer = None
        if self.tokenizer is not None:
            text = self.tokenizer.to_json()
            tokenizer = self.tokenizer.get_config() | {"fingerprint": fingerprint(text), "json": text}
        images = None if self.images is None else self.images.get_config()
        return {"images": images, "tokenizer": tokenizer, "vocabulary": self.vocabulary}

    @classmethod
    def from_config(cls, config) -> Self:
        """The inverse of `get_config`.

        Raises:
            ValueError: the vocabulary is not the one whose fingerprint the config has.
        """
        check(config, schema.PREPROCESSOR, "the config of the preprocessor")
        tokenizer = config["tokenizer"]
        if tokenizer is not None:
            settings = dict(tokenizer)
            text, expected = settings.pop("json"), settings.pop("fingerprint", None)
            check_fingerprint(text, expected)  # configs of the first version have none
            tokenizer = Tokenizer.from_json(text, **settings)
        if config["images"] is None:  # of texts alone
            return cls(None, tokenizer, config["vocabulary"])
        # what was saved before there was a choice has the pixels that it had then
        images = {"decoding": AS_TRAINED} | config["images"]
        steps = STEPS[images.pop("kind", ImageSteps.kind)]
        return cls(steps(**images), tokenizer, config["vocabulary"])

    def save(self, folder) -> dict:
        """Write `tokenizer.json` into a folder that has none; returns the rest of the config, for a file beside it."""
        config = self.get_config()
        if config["tokenizer"] is not None:
            disk.write(folder / TOKENIZER_FILE, config["tokenizer"].pop("json").encode())
        return config

    @classmethod
    def load(cls, folder, config, verify=True) -> "Preprocessor":
        """The inverse of `save`.

        Args:
            folder: path.
            config: what `save` returned.
            verify: whether `tokenizer.json` must be the one that was saved.

        Raises:
            FileNotFoundError: `tokenizer.json` is not there.
            ValueError: it is not the one that was saved.
        """
        if config["tokenizer"] is not None:
            check_inside(folder / TOKENIZER_FILE, home_of(folder))
            if not (folder / TOKENIZER_FILE).exists():
                raise FileNotFoundError(f"{folder} lacks {TOKENIZER_FILE}; the folder is incomplete.")
            text = read_text(folder / TOKENIZER_FILE, limits.VOCABULARY)
            known = config["tokenizer"] if verify else config["tokenizer"] | {"fingerprint": None}
            config = config | {"tokenizer": known | {"json": text}}
        return cls.from_config(config)

    def _no_vocabulary(self):
        if "train" in self.vocabulary:
            return (
                "this preprocessor has no vocabulary yet; learn one with model.preprocessor.adapt(captions), of the "
                "training set: kzoo.data.pairs(...).captions."
            )
        source = self.vocabulary.get("source", "its checkpoint")
        return (
            f"the vocabulary of this model comes with {source} and is not here; open it from a folder of its files: "
            "model.preprocessor.open_vocabulary(folder); or build the preset with one of its own, for adapt(captions) "
            "to learn: from_preset(name, load_weights=False, vocab_size=8192)."
        )


def check_list(name, values) -> Any:
    """The values, unless they are one picture or text where several are expected, which stops with a sentence."""
    if isinstance(values, (str, bytes, os.PathLike, Image.Image)):
        shown = ("one string", repr(values)) if isinstance(values, str) else (f"one {type(values).__name__}", "...")
        raise TypeError(f"{name} is {shown[0]}, but a list is expected: [{shown[1]}].")
    if not hasattr(values, "__len__") or isinstance(values, dict):
        raise TypeError(f"{name} is {in_words(values, typed=True)}; give a list of {name}.")
    return values


def _joined(prefix, name):
    return f"{prefix}_{name}" if prefix else name


def _named(arrays, prefix, mask, mask_name):
    """Arrays of a set under its names, with the axis of its bags and their mask where it has any."""
    arrays = arrays if mask is None else {**folded(arrays, mask), mask_name: mask}
    return {name if name == mask_name else _joined(prefix, name): array for name, array in arrays.items()}
