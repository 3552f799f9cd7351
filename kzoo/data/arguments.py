"""What the options that the data sets share may be."""

from kzoo.arguments import AMOUNT, COUNT, FLAG, FUNCTION, NAME, TABLE, able, names, sequence

COLUMNS = (NAME | names() | TABLE).said("the names of columns, such as ('labels',)")
PREPROCESSOR = able("encode_images encode_texts", "a preprocessor, such as model.preprocessor")

BATCHING = {
    "batch_size": COUNT,
    "shuffle": FLAG,
    "seed": AMOUNT,
    "workers": AMOUNT,
    "sampler": able("batches count_batches", "a sampler such as SameGroup(groups), or None"),
    "ids": FLAG,
    "matrices": TABLE.said("a dict of names and matrices, such as Lookup(matrix)"),
    "bag": FUNCTION.said("a kzoo.preprocessing.BagOfWords"),
}
AUGMENTATION = FUNCTION.said("an augmentation, a function of what it changes")
AUGMENTATIONS = (AUGMENTATION | sequence(AUGMENTATION | None, "augmentations")).said(
    "an augmentation, or one for each view"
)
