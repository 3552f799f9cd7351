"""The matrix products of a case: what no implementation of it can leave out."""

from collections import Counter

from benchmarks.suite.cases import BEAMS, WRITTEN

TRAINING = 3  # products of a step for each of the forward pass: that, and the gradients of both of its factors


def passes_of(case) -> list[tuple]:
    """The products of a case by what is done one after the other, with the same weights each time.

    Returns:
        list of `(Counter, times)`: what `products_of` gives, and of captions the products of an id more, for each id.

    Raises:
        ValueError: a case that has no products.
    """
    if case.kind not in WRITTEN:
        return [(products_of(case), 1)]
    rows = case.batch * (BEAMS if case.kind == "beam" else 1)
    if case.kind == "step":
        return [(_of_next_id(case.numbers, rows, case.ids_before), 1)]
    ids = case.caption_length - 1  # all but the one that begins it
    return [
        (_of_pictures(case) + _of_what_is_read(case.numbers, case.batch), 1),
        (_of_next_id(case.numbers, rows, ids // 2), ids),
    ]


def products_of(case) -> Counter:
    """How often which product is taken in the forward pass.

    Returns:
        Counter: `(count, rows, inner, columns)` -> times; `count` products of that shape at once, as the heads of
        attention are, or 1 of a matrix of weights.

    Raises:
        ValueError: a case that is no forward pass.
    """
    if case.kind not in ("image", "text", "train"):
        raise ValueError(f"the products of {case.kind} are not counted.")
    size, found = case.numbers, Counter()
    if case.kind != "text":
        found += _of_pictures(case)
    if case.kind != "image":
        found += _of_stack(size.text, case.batch, size.length + (size.queries is not None))
        found[1, case.batch, size.text.width, size.embed_dim] += 1
    if case.kind == "train" and size.queries is not None:
        found += _of_decoder(size, case.batch)
    return found


def operations_of(case) -> int:
    """Floating-point operations of all products of a case, two for each number that is multiplied."""
    once = sum(
        2 * count * rows * inner * columns * times * repeats
        for found, repeats in passes_of(case)
        for (count, rows, inner, columns), times in found.items()
    )
    return once * (TRAINING if case.kind == "train" else 1)


def _of_pictures(case):
    """Of the tower of pictures."""
    size, batch = case.numbers, case.batch
    if size.image is None:
        return size.convolutions(batch, size.embed_dim)
    found = Counter({(1, batch * size.patches, 3 * size.patch_size**2, size.image.width): 1})
    found += _of_stack(size.image, batch, size.patches + 1)
    if size.queries is None:
        found[1, batch, size.image.width, size.embed_dim] += 1
        return found
    return found + _of_pool(size, batch)


def _of_stack(stack, batch, length):
    """Of the blocks of a transformer, which attend to themselves."""
    rows, width, found = batch * length, stack.width, Counter()
    found[1, rows, width, 3 * width] += stack.depth
    found[1, rows, width, width] += stack.depth
    found[1, rows, width, stack.mlp_dim] += stack.depth
    found[1, rows, stack.mlp_dim, width] += stack.depth
    return found + _of_attention(batch, stack.heads, length, length, width // stack.heads, stack.depth)


def _of_attention(batch, heads, length, keys, channels, times):
    return Counter(
        {(batch * heads, length, channels, keys): times} | {(batch * heads, length, keys, channels): times}
        if keys != channels
        else {(batch * heads, length, channels, keys): 2 * times}
    )


def _of_pool(size, batch):
    """Of CoCa's pool: queries that are weights read the tokens of the picture."""
    width, dim, tokens, heads = size.image.width, size.embed_dim, size.patches + 1, max(1, size.embed_dim // 64)
    found = Counter({(1, batch * tokens, width, 2 * dim): 1})
    for rows in (size.queries, batch * size.queries):  # of the queries before, of what they read after
        found[1, rows, dim, dim] += 1
    found[1, batch, dim, dim] += 1
    return found + _of_attention(batch, heads, size.queries, tokens, dim // heads, 1)


def _of_decoder(size, batch):
    """Of CoCa's decoder: blocks that attend to the text, blocks that attend to the pool, and the logits."""
    stack, length = size.text, size.length
    rows, width, found = batch * length, stack.width, _of_stack(size.text, batch, length)
    found += _of_what_is_read(size, batch)
    for columns in (width, width):  # queries, and what follows attention
        found[1, rows, width, columns] += stack.depth
    found[1, rows, width, stack.mlp_dim] += stack.depth
    found[1, rows, stack.mlp_dim, width] += stack.depth
    found += _of_attention(batch, stack.heads, length, size.queries - 1, width // stack.heads, stack.depth)
    found[1, rows, width, size.vocab_size] += 1
    return found


def _of_what_is_read(size, batch):
    """Keys and values of what the decoder reads of a picture."""
    return Counter({(1, batch * (size.queries - 1), size.text.width, 2 * size.text.width): size.text.depth})


def _of_next_id(size, rows, keys):
    """Of one id more, of so many captions, with keys and values of those before it kept: the blocks of the text tower
    and of the decoder, which attend to as many ids as `keys`, and those that attend to the pool; then the logits."""
    stack, width, heads = size.text, size.text.width, size.text.heads
    each = {(1, rows, width, 3 * width): 2, (1, rows, width, width): 4}
    each |= {(1, rows, width, stack.mlp_dim): 3, (1, rows, stack.mlp_dim, width): 3}
    found = Counter({product: times * stack.depth for product, times in each.items()})
    found += _of_attention_of_one(rows, heads, keys, width // heads, 2 * stack.depth)
    found += _of_attention_of_one(rows, heads, size.queries - 1, width // heads, stack.depth)
    found[1, rows, width, size.vocab_size] += 1
    return found


def _of_attention_of_one(rows, heads, keys, channels, times):
    return Counter({(rows * heads, 1, channels, keys): times}) + Counter({(rows * heads, 1, keys, channels): times})
