"""Views of texts, and pairs and triples of texts, as batches for `SelfSupervised` with a text tower."""

import os
from pathlib import Path

import numpy as np

from kzoo.arguments import COUNT, NAME, names, takes
from kzoo.data.arguments import AUGMENTATIONS, BATCHING, COLUMNS, PREPROCESSOR
from kzoo.data.batches import Batches
from kzoo.data.classes import classes_by_column
from kzoo.data.columns import NUMBERS, cell, column, entries, kind_of
from kzoo.data.cut_texts import CutTexts
from kzoo.data.entries import RowEntries, named_masks
from kzoo.data.held import held
from kzoo.data.lines import read_lines
from kzoo.data.tables import READERS, checked, is_table, read_table, records_of
from kzoo.preprocessing.token_masks import RandomTokens
from kzoo.preprocessing.tokenizer import check_texts


@takes(**BATCHING, preprocessor=PREPROCESSOR, views=COUNT, augmentation=AUGMENTATIONS, text=NAME, columns=COLUMNS)
def text_views(
    source,
    preprocessor,
    batch_size=64,
    views=2,
    augmentation=None,
    masks=None,
    bag=None,
    text="text",
    columns=(),
    ids=False,
    matrices=None,
    shuffle=True,
    seed=0,
    sampler=None,
    workers=2,
    classes=None,
) -> "TextDataset":
    """A data set of views of texts: of each text several, which a loss brings together.

    Without an augmentation all views are the text as it is, and only dropout tells them apart (SimCSE): give the tower
    some. With `RepeatWords` they are of ESimCSE, with `CropWords` of Contriever.

    Args:
        source: list of strings; path of a `.txt` file, a text in each line, or of a `.csv`, `.tsv` or `.jsonl` file; a
            list of records, a data frame or a `Dataset` of Hugging Face; or a dict with `texts` and what else a loss
            reads of each, in arrays with a row for each, such as `labels`.
        preprocessor: `model.preprocessor`, or a `Preprocessor` with a vocabulary.
        batch_size: texts per batch, at least 2.
        views: of each text.
        augmentation: function of a text and a `numpy.random.Generator` to a text, such as
            `kzoo.preprocessing.RepeatWords()` or `TextSteps(...)`; or one for each view, None for the text as it is.
        masks: `RandomTokens` or `TokenSpans` for each of the views, or a dict of views and masks.
        bag: `kzoo.preprocessing.BagOfWords`: gives the `bag` of each text as it is.
        text: column of a table that holds the texts.
        columns: further columns of a table that travel into the batch, of numbers or of names of classes.
        ids: whether a batch says which text of the set each row is: `ids` int32 `(batch,)`.
        matrices: see `views`.
        shuffle: as in `pairs`.
        seed: of order, augmentation and masks.
        sampler: `SameGroup`, `NearEmbeddings` or another, or None.
        workers: threads that prepare batches.
        classes: of columns of names, as in `pairs`.

    Returns:
        `TextDataset`, with batches of `view_1`, ... int32 and `view_1_padding_mask`, ... bool `(batch, length)`; of a
        masked view also `view_1_labels` int32, the ids that were there, and `view_1_positions` bool, those chosen.

    Raises:
        TypeError: texts that are no strings, or a mask that is none.
        ValueError: no texts, too few for a batch; entries that are neither numbers nor names, or of another number of
            rows.

    Example:
        >>> data = kzoo.data.text_views(texts, preprocessor, augmentation=(None, kzoo.preprocessing.RepeatWords()))
        >>> model.fit(data)

    Reference:
        Gao et al., SimCSE, 2021, arXiv 2104.08821; Wu et al., ESimCSE, 2021, arXiv 2109.04380; Izacard et al.,
        Contriever, 2021, arXiv 2112.09118.
    """
    rows, more, named = _read(source, (text,), columns, "text=", classes)
    steps = list(augmentation) if isinstance(augmentation, (tuple, list)) else [augmentation] * views
    if len(steps) != views:
        raise ValueError(f"there are {len(steps)} augmentations but {views} views; give one for each, or one.")
    makers = {f"view_{number + 1}": (0, step) for number, step in enumerate(steps)}
    return TextDataset(
        rows,
        more,
        preprocessor,
        makers,
        masks=masks,
        bag=bag,
        ids=ids,
        matrices=matrices,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        sampler=sampler,
        workers=workers,
        named=named,
    )


@takes(
    **{name: kind for name, kind in BATCHING.items() if name != "bag"},
    preprocessor=PREPROCESSOR,
    texts=names(),
    augmentation=AUGMENTATIONS,
    columns=COLUMNS,
)
def text_pairs(
    source,
    preprocessor,
    batch_size=64,
    texts=("sentence1", "sentence2"),
    columns=(),
    augmentation=None,
    masks=None,
    ids=False,
    matrices=None,
    shuffle=True,
    seed=0,
    sampler=None,
    workers=2,
    classes=None,
) -> "TextDataset":
    """A data set of pairs or triples of texts with scores or labels, for losses of sentences.

    One tower reads them all, so that they are the views of `SelfSupervised`: give a loss of two embeddings
    `inputs=("view_1", "view_2")`.

    Args:
        source: path of a `.csv`, `.tsv` or `.jsonl` file; a list of records, a data frame or a `Dataset` of Hugging
            Face; or a dict of the columns, the texts in lists, the numbers in arrays.
        preprocessor: `model.preprocessor`, or a `Preprocessor` with a vocabulary.
        batch_size: rows per batch, at least 2.
        texts: columns of texts: two, or more, such as a query, an answer, and one that is wrong.
        columns: columns of numbers, or of names of classes, that travel into the batch, such as `("scores",)`; of a
            dict all others do.
        augmentation: function of a text and a `numpy.random.Generator` to a text, for all texts; None: as they are.
        masks, ids, matrices, shuffle, seed, sampler, workers, classes: as in `text_views`.

    Returns:
        `TextDataset`, with batches of `view_1`, `view_2`, ... int32 and `view_1_padding_mask`, ... bool
        `(batch, length)`, in the order of `texts`, and of the other columns under their names.

    Raises:
        TypeError: texts that are no strings, or a mask that is none.
        ValueError: a column that is not there; rows that cannot be used; too few rows for a batch.

    Example:
        >>> data = kzoo.data.text_pairs("sts.csv", preprocessor, columns=("scores",))
        >>> model.compile("adam", loss=kzoo.losses.CoSENT(inputs=("view_1", "view_2")))
        >>> model.fit(data)

    Reference:
        Reimers and Gurevych, Sentence-BERT, 2019, arXiv 1908.10084.
    """
    if len(texts) < 2:
        raise ValueError(f"texts is {texts}; name two columns or more, or take kzoo.data.text_views.")
    rows, more, named = _read(source, tuple(texts), columns, "texts= or columns=", classes)
    makers = {f"view_{number + 1}": (number, augmentation) for number in range(len(texts))}
    return TextDataset(
        rows,
        more,
        preprocessor,
        makers,
        masks=masks,
        bag=None,
        ids=ids,
        matrices=matrices,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        sampler=sampler,
        workers=workers,
        named=named,
    )


class TextDataset(Batches):
    """Batches of `view_1`, `view_2`, ... of texts; made by `kzoo.data.text_views` and `kzoo.data.text_pairs`.

    Attributes:
        classes: names of the classes of each column that held names, in the order of their ids.
        truncated: texts of this epoch so far that were longer than the context and were cut.
        epoch: the epoch whose order is given out; `fit` sets it.
    """

    def __init__(self, rows, entries, preprocessor, makers, *, masks, bag, ids, matrices, named, **options):
        self.rows, self.entries, self.preprocessor, self.makers, self.bag = rows, entries, preprocessor, makers, bag
        if isinstance(masks, RandomTokens):
            masks = dict.fromkeys(makers, masks)
        self.masks = named_masks(masks, dict.fromkeys(makers, RandomTokens), "RandomTokens(tokenizer)")
        self.cut = CutTexts(preprocessor)
        super().__init__(len(rows), "text", **options)
        self.classes = {name: tuple(ids) for name, ids in named.items()}
        self.of_rows = RowEntries(len(rows), ids, matrices, entries)

    @property
    def texts(self) -> list:
        """All texts, for `preprocessor.adapt`."""
        return [text for row in self.rows for text in row]

    def batch(self, chosen, random) -> dict:
        found = {}
        for name, (place, step) in self.makers.items():
            texts = [self.rows[index][place] for index in chosen]
            tokens = self.cut(texts if step is None else [step(text, random) for text in texts])
            ids, real, more = tokens["token_ids"], tokens["padding_mask"], {}
            if name in self.masks:
                ids, more = self.masks[name].entries(name, ids, real, random)
            found |= {name: ids, f"{name}_padding_mask": real} | more
        if self.bag is not None:
            found["bag"] = self.bag(**self.cut([self.rows[index][0] for index in chosen]))
        found |= {name: values[chosen] for name, values in self.entries.items()}
        return found | self.of_rows(chosen)

    @property
    def truncated(self) -> int:
        return self.cut.count

    def on_epoch_end(self) -> None:
        self.cut.end_epoch("texts")
        super().on_epoch_end()


# -- sources --
def _read(source, texts, columns, options, classes):
    """Rows of texts, the other entries of a source as arrays, and ids by name of those that hold classes."""
    columns = (columns,) if isinstance(columns, str) else tuple(columns)
    if isinstance(source, (str, os.PathLike)):
        return _from_file(Path(source), texts, columns, options, classes)
    records = records_of(source)
    if records is not None:
        return _from_records(checked(records, "row", 0, (*texts, *columns), options), Path(), texts, columns, classes)
    rows = held(source)
    if rows is not None:
        rows.check((*texts, *columns), options)
        table = rows.records((*texts, *columns))
        return _from_records(table, Path(), texts, columns, rows.classes(columns), classes)
    if not isinstance(source, dict):
        source = {"texts": source}
    names = ("texts",) if len(texts) == 1 else texts
    lacking = [name for name in names if name not in source]
    if lacking:
        raise ValueError(f"the source is a dict of {', '.join(source)} without {', '.join(lacking)}; give all texts.")
    read = [source[name] for name in names]
    for name, each in zip(names, read):
        check_texts(each)
        blank = next((index for index, text in enumerate(each) if not _is_text(text)), None)
        if blank is not None:
            raise ValueError(f"text {blank} of {name} is blank; leave it out, or give it words.")
        if len(each) != len(read[0]):
            raise ValueError(f"there are {len(read[0])} {names[0]} but {len(each)} {name}; give one for each.")
    others = {name: values for name, values in source.items() if name not in names}
    _check_kinds(others)
    return list(zip(*read)), *entries(others, len(read[0]), "texts", classes)


def _from_file(path, texts, columns, options, classes):
    if path.suffix.lower() == ".txt" and path.is_file() and len(texts) == 1 and not columns:
        classes_by_column({}, classes)  # stops where some are given
        lines = [line.strip() for line in read_lines(path)]
        return [(line,) for line in lines if line], {}, {}
    if not is_table(path):
        raise ValueError(
            f"{path} is no source of texts; expected an existing file ending in {', '.join(READERS)}, .txt for single "
            "texts, a list of strings or a dict."
        )
    return _from_records(read_table(path, (*texts, *columns), options), path.parent, texts, columns, classes)


def _from_records(table, folder, texts, columns, *classes):
    _check_kinds(columns)
    table = list(table)
    records = [record for _, record in table if isinstance(record, dict)]
    named = classes_by_column({name: [record[name] for record in records] for name in columns}, *classes)
    rows, values, broken = [], {name: [] for name in columns}, []
    for place, record in table:
        problem = record if isinstance(record, str) else None
        empty = () if problem else [name for name in texts if not _is_text(record[name])]
        problem = f"the {empty[0]} is empty or no string" if empty else problem
        read = [] if problem else [cell(name, record[name], folder, named.get(name)) for name in columns]
        problem = next((said for _, said in read if said), problem)
        if problem:
            broken.append(f"{place}: {problem}")
            continue
        rows.append(tuple(record[name] for name in texts))
        for name, (value, _) in zip(columns, read):
            values[name].append(value)
    if broken:
        raise ValueError(f"{len(broken)} rows of the source cannot be used, the first is {broken[0]}; mend the source.")
    return rows, {name: np.asarray(column(name, each, len(rows), "texts")) for name, each in values.items()}, named


def _is_text(value):
    return isinstance(value, str) and bool(value.strip())


def _check_kinds(columns):
    name = next((name for name in columns if kind_of(name) != NUMBERS), None)
    if name is not None:
        raise ValueError(f"{name!r} are no numbers; texts that a batch shall hold are named with texts=.")
