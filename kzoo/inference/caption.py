"""What a captioner and an exported captioner have in common: pictures in, captions out. In numpy."""

from typing import Any

import numpy as np

from kzoo.arguments import AMOUNT, COUNT, FUNCTION, TEXT, one_of, sequence, takes
from kzoo.decoding import generate
from kzoo.decoding.options import check_names
from kzoo.inference.embed import Embedder, check_some
from kzoo.types import Array

BATCH_SIZE = 16
TOKENIZER = "tokenizer"  # stands for the end id of the model's tokenizer; None is an answer of its own
IDS = sequence(AMOUNT | sequence(AMOUNT, "ids"), "the ids to begin with, or those of each picture")
END = (AMOUNT | one_of(TOKENIZER) | None).said("an id, None, or 'tokenizer'")


class Writer(Embedder):
    """`caption` and `generate` on top of a decoder.

    A subclass has `preprocessor` and `caption_vocab_size`, and defines `open_decoder(batch)`, the
    `kzoo.decoding.Decoder` of what its image tower reads.
    """

    caption_start_id = None  # that stands before the ids of a text, where its decoder begins with one

    @takes(
        batch_size=COUNT,
        on_token=FUNCTION,
        prefix=(TEXT | sequence(TEXT, "texts")).said("a text, or one for each picture"),
    )
    def caption(
        self,
        images,
        strategy="greedy",
        *,
        prefix=None,
        return_scores=False,
        on_token=None,
        batch_size=BATCH_SIZE,
        **options,
    ) -> Any:
        """Write captions of pictures.

        Args:
            images: list of paths, bytes, PIL images or arrays `(height, width, 3)` of any size, or one array
                `(n, height, width, 3)`.
            strategy: `"greedy"`, `"sample"`, `"beam"` or `"contrastive"`.
            prefix: how every caption begins, a string; or a list of strings, one for each picture.
            return_scores: also give the scores of the captions.
            on_token: function that is called whenever an id was written, with the list of captions so far of the
                pictures of this batch; not under `"beam"`, which takes ids back.
            batch_size: pictures that are captioned together.
            **options: `max_length`, `min_length`, `num_beams`, `length_penalty`, `temperature`, `top_k`, `top_p`,
                `alpha`, `repetition_penalty`, `no_repeat_ngram`, `num_captions`, `seed`, as in
                `kzoo.decoding.generate`. Lengths are in ids, start, prefix and end included.

        Returns:
            list of n strings, with `num_captions` above 1 of n lists of strings. With `return_scores` a pair of it and
            a float32 array `(n,)` or `(n, num_captions)`, see `kzoo.decoding.generate`.

        Raises:
            ValueError: no pictures, a model without a vocabulary, a prefix longer than the context, an unknown strategy
                or an option that cannot be.

        Example:
            >>> model.caption(["cat.jpg"], strategy="beam", num_beams=4)
            ['a cat on a sofa']
        """
        if self.preprocessor is None:
            raise ValueError("the model has no preprocessor, so it can write no text; set one, or take generate.")
        self.preprocessor.check_vocabulary()
        tokenizer, images = self.preprocessor.tokenizer, self._listed(images)
        if prefix is not None:
            prefix = self._prefix_ids(prefix, len(images))

        def stream():
            columns = []  # the ids of each position

            def on_ids(ids):
                columns.append(ids)
                on_token(_texts(tokenizer, _nested(np.stack(columns, axis=-1), options)))

            return on_token and on_ids

        token_ids, scores = self._written(images, prefix, strategy, tokenizer.eot_id, stream, batch_size, options)
        if self.caption_start_id is not None:
            token_ids = token_ids[..., 1:]  # no id of the text
        captions = _texts(tokenizer, token_ids)
        return (captions, scores) if return_scores else captions

    @takes(batch_size=COUNT, on_token=FUNCTION, prefix=IDS, end_id=END)
    def generate(
        self,
        images,
        prefix=None,
        strategy="greedy",
        *,
        end_id=TOKENIZER,
        on_token=None,
        batch_size=BATCH_SIZE,
        **options,
    ) -> tuple[Array, Array]:
        """Write captions as token ids: `caption` without its texts.

        Args:
            images: as in `caption`; where the model has no preprocessor, arrays as the image tower takes them.
            prefix: ids that every row begins with, the start id first; or a list of such, one for each picture, whose
                lengths may differ. Default: the start id of the decoder, of the tokenizer, of the preset's rules: the
                first that there is.
            strategy: as in `caption`.
            end_id: id that ends a caption; None: rows go on up to `max_length`. Default: that of the tokenizer.
            on_token: function that is called whenever an id was written, with an int32 array
                `(rows, num_captions)` of the pictures of this batch; see `kzoo.decoding.generate`.
            batch_size: pictures that are captioned together.
            **options: as in `caption`.

        Returns:
            token_ids: int32 `(n, max_length)`, with `num_captions` above 1 `(n, num_captions, max_length)`: prefix,
                caption, end id, then the id of padding.
            scores: float32 `(n,)` or `(n, num_captions)`; see `kzoo.decoding.generate`.

        Raises:
            ValueError: as in `caption`; ids outside of the vocabulary; no prefix where no tokenizer says how captions
                begin.

        Example:
            >>> token_ids, scores = model.generate(images, prefix=[49406, 320], end_id=49407, max_length=20)
            >>> token_ids.shape
            (2, 20)
        """
        if end_id == TOKENIZER:
            end_id = self.preprocessor and self.preprocessor.special_id("eot_id")
            if end_id is None and not (self.preprocessor and self.preprocessor.tokenizer):
                raise ValueError("end_id is not given, and there is no tokenizer to take it from; give it.")
        return self._written(self._listed(images), prefix, strategy, end_id, lambda: on_token, batch_size, options)

    def _written(self, images, prefix, strategy, end_id, stream, batch_size, options):
        """Token ids and scores of all pictures; `stream()` is the `on_token` of a batch."""
        check_names(options)
        prefixes = self._prefixes(prefix, len(images))
        found = []
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            batch = self._pixels(images[rows])
            search = {"end_id": end_id, "on_token": stream(), **options}
            found.append(generate(self.open_decoder(batch), prefixes[rows], strategy, **search))
        return tuple(_nested(np.concatenate(each), options) for each in zip(*found))

    def _listed(self, images):
        images = self.as_list(images)
        check_some("images", images)
        return images

    def _pixels(self, images):
        return {"images": np.asarray(images)} if self.preprocessor is None else self.preprocessor.encode_images(images)

    def first_id(self) -> int:
        """The id that captions begin with, or None where nothing says it."""
        if self.caption_start_id is not None:
            return self.caption_start_id
        return self.preprocessor and self.preprocessor.special_id("start_id")

    def _prefixes(self, prefix, count):
        """One list of ids for each picture."""
        if prefix is None:
            prefix = [self.first_id()]
            if prefix == [None]:
                raise ValueError("no tokenizer says which id begins a text; give prefix, the ids to begin with.")
        if len(prefix) and np.ndim(prefix[0]) == 0:
            prefix = [prefix] * count
        if len(prefix) != count:
            raise ValueError(f"prefix has {len(prefix)} rows for {count} pictures; give one for each, or one for all.")
        for ids in prefix:
            if len(ids) and not 0 <= min(ids) <= max(ids) < self.caption_vocab_size:
                raise ValueError(
                    f"prefix has ids from {min(ids)} to {max(ids)}, but this model's vocabulary has the ids 0 to "
                    f"{self.caption_vocab_size - 1}."
                )
        return list(prefix)

    def _prefix_ids(self, prefix, count):
        """The ids of texts to begin with: without the end, which the tokenizer puts behind each text."""
        tokenizer = self.preprocessor.tokenizer
        texts = [prefix] if isinstance(prefix, str) else list(prefix)
        if not isinstance(prefix, str) and len(texts) != count:
            raise ValueError(
                f"prefix has {len(texts)} texts for {count} pictures; give one for each, or one string for all."
            )
        batch, truncated = tokenizer.encode(texts)
        if truncated:
            raise ValueError(
                f"{truncated} of {len(texts)} prefixes are longer than the context of {tokenizer.context_length} ids; "
                "shorten them."
            )
        ids = [row[mask].tolist() for row, mask in zip(batch["token_ids"], batch["padding_mask"])]
        start = [] if self.caption_start_id is None else [self.caption_start_id]
        ids = [start + (row[:-1] if tokenizer.eot_id is not None else row) for row in ids]
        return ids * (count if isinstance(prefix, str) else 1)


def _nested(of_captions, options):
    """What is `(n, num_captions, ...)` as it is given out: without the second axis where there is one caption each."""
    return of_captions if options.get("num_captions", 1) != 1 else of_captions[:, 0]


def _texts(tokenizer, token_ids):
    """Rows of ids to captions, in the same nesting."""
    if token_ids.ndim == 2:
        return tokenizer.decode(token_ids)
    return [tokenizer.decode(rows) for rows in token_ids]
