"""What a model says of classes: the embeddings of their texts."""

from kzoo.adaptation.prompts.layout import plain_ids
from kzoo.evaluation.zero_shot import class_embeddings, fill_templates
from kzoo.types import Array

TEMPLATE = "a photo of a {}."


def embedded_classes(model, classes, templates=TEMPLATE) -> Array:
    """An embedding of each class; a text that would be cut is refused, as of several classes it could be the same.

    Args:
        model: what embeds texts, a model or an export.
        classes: list of names; an underscore is read as a space.
        templates: text of a class, or a list of texts whose embeddings are averaged, with `{}` for its name.

    Returns:
        float array `(classes, embed_dim)`, unit length.

    Raises:
        ValueError: a model without a vocabulary; a text that is longer than the context.
    """
    texts = fill_templates([each.replace("_", " ") for each in classes], templates)
    preprocessor = getattr(model, "preprocessor", None)
    if preprocessor is not None:
        preprocessor.check_vocabulary()
        plain_ids(preprocessor.tokenizer, texts)
    return class_embeddings(model.encode_text(texts), len(classes))
