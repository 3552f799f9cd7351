"""An embedding at each place of a picture, in the space of the embedding of the whole: what score maps are made of."""

from kzoo.encoders.resnet import ResNet
from kzoo.encoders.vit import VisionTransformer
from kzoo.types import Tensor

POOLS = {VisionTransformer: ("class_token", "average", "average_all"), ResNet: ("attention", "average")}


def check_dense(tower) -> None:
    """Stops where the tokens of a tower cannot be brought into the space of its embedding.

    Raises:
        ValueError: another tower than a ViT or a ResNet, or one whose pool makes something else of its tokens.
    """
    kind = next((kind for kind in POOLS if isinstance(tower, kind)), None)
    if kind is None:
        names = " or a ".join(kind.__name__ for kind in POOLS)
        raise ValueError(f"{type(tower).__name__} has no embedding of each place; take a {names} as image tower.")
    if tower.pool not in POOLS[kind] or tower.grid is None:
        raise ValueError(
            f"the pool {tower.pool!r} of this {kind.__name__} makes no embedding of each place; those with "
            f"{', '.join(POOLS[kind])} have one."
        )


def dense_embeddings(tower, tokens) -> Tensor:
    """The embedding of each place of a picture, of any length.

    Of a ViT its patches go through the last norm and the projection, as the class token does; of a ResNet each place
    asks the attention pool as the mean does.

    Args:
        tower: that `check_dense` lets pass.
        tokens: float tensor `(batch, tokens, token_dim)`, as it gives them.

    Returns:
        float tensor `(batch, rows * columns, embed_dim)`.

    Reference:
        Rao et al., DenseCLIP, 2021, arXiv 2112.01518.
    """
    if isinstance(tower, ResNet):
        return tower.projection(tokens) if tower.attention_pool is None else tower.attention_pool.each(tokens)
    places = tokens[:, tower.prefix_tokens :]
    places = places if tower.norm_first else tower.post_norm(places)
    return places if tower.projection is None else tower.projection(places)
