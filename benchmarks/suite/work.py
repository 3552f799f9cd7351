"""The matrix products of a case: what no implementation of it can leave out."""

from collections import Counter

TRAINING = 3  # products of a step for each of the forward pass: that, and the gradients of both of its factors


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
        stack, rows = size.image, case.batch * size.patches
        found[1, rows, 3 * size.patch_size**2, stack.width] += 1
        found += _of_stack(stack, case.batch, size.patches + 1)
        if size.queries is None:
            found[1, case.batch, stack.width, size.embed_dim] += 1
        else:
            found += _of_pool(size, case.batch)
    if case.kind != "image":
        found += _of_stack(size.text, case.batch, size.length + (size.queries is not None))
        found[1, case.batch, size.text.width, size.embed_dim] += 1
    if case.kind == "train" and size.queries is not None:
        found += _of_decoder(size, case.batch)
    return found


def operations_of(case) -> int:
    """Floating-point operations of all products of a case, two for each number that is multiplied."""
    once = sum(2 * count * rows * inner * columns * times for (count, rows, inner, columns), times in _items(case))
    return once * (TRAINING if case.kind == "train" else 1)


def _items(case):
    return products_of(case).items()


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
    found[1, batch * (size.queries - 1), width, 2 * width] += stack.depth
    for columns in (width, width):  # queries, and what follows attention
        found[1, rows, width, columns] += stack.depth
    found[1, rows, width, stack.mlp_dim] += stack.depth
    found[1, rows, stack.mlp_dim, width] += stack.depth
    found += _of_attention(batch, stack.heads, length, size.queries - 1, width // stack.heads, stack.depth)
    found[1, rows, width, size.vocab_size] += 1
    return found
