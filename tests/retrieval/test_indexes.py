"""Indexes of embeddings: exact by a loop, codes by their definitions, recall beside exact, files, refusals."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from kzoo.retrieval import BinaryIndex, ExactIndex, Index, ProductIndex, recall
from kzoo.retrieval.binary import hamming, packed

pytestmark = pytest.mark.once
random = np.random.default_rng(0)
CENTRES = random.normal(size=(20, 32))
ROWS = (CENTRES[np.arange(400) % 20] + 0.4 * random.normal(size=(400, 32))).astype("float32")
QUERIES = (CENTRES[:10] + 0.4 * random.normal(size=(10, 32))).astype("float32")
KINDS = {
    "exact": ExactIndex,
    "binary": BinaryIndex,
    "product": lambda rows, **more: ProductIndex(rows, codewords=32, **more),
}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_exact_is_a_loop_over_all_and_of_equal_rows_gives_the_first():
    found = ExactIndex(ROWS).search(3.0 * QUERIES, 7)
    for query, places, scores in zip(unit(QUERIES), found.places, found.scores):
        cosines = [float(query @ row) for row in unit(ROWS)]
        order = sorted(range(len(cosines)), key=lambda place: -cosines[place])[:7]
        assert places.tolist() == order
        np.testing.assert_allclose(scores, [cosines[place] for place in order], atol=1e-6)
    same = np.concatenate([ROWS[:1]] * 300 + [QUERIES])
    assert ExactIndex(same).search(ROWS[:1], 5).places.tolist() == [[0, 1, 2, 3, 4]]
    assert found.places.dtype == "int64" and found.scores.dtype == "float32"


def test_bits_are_signs_and_distances_count_those_that_differ():
    bits = random.normal(size=(6, 70)) > 0
    codes = packed(bits)
    assert codes.shape == (6, 16) and np.array_equal(np.unpackbits(codes, axis=1, count=70), bits)
    expected = [[sum(a != b for a, b in zip(one, other)) for other in bits] for one in bits]
    np.testing.assert_array_equal(hamming(codes, codes), expected)
    index = BinaryIndex(ROWS, rerank=0)
    assert index.codes.nbytes * 16 == ROWS.nbytes  # 32 bits fill half of a word
    agreeing = ((QUERIES[:, None] > 0) == (ROWS[None] > 0)).mean(axis=-1)
    found = index.search(QUERIES, 5)
    np.testing.assert_allclose(found.scores, -np.sort(-(2 * agreeing - 1), axis=1)[:, :5], atol=1e-6)
    finer = BinaryIndex(ROWS, rerank=400 // 5).search(QUERIES, 5)  # all are candidates
    expected = unit(QUERIES) @ (2.0 * (ROWS > 0) - 1).T / 32**0.5
    np.testing.assert_allclose(finer.scores, -np.sort(-expected, axis=1)[:, :5], atol=1e-5)


def test_a_kernel_makes_the_channels_and_a_centre_moves_the_signs():
    kernel, bias = random.normal(size=(32, 10)).astype("float32"), random.normal(size=10).astype("float32")
    index = BinaryIndex(ROWS, kernel=kernel, bias=bias)
    bits = np.unpackbits(index.codes, axis=1, count=10)
    np.testing.assert_array_equal(bits, unit(ROWS) @ kernel + bias > 0)
    moved = ROWS + 50.0  # all signs alike
    assert len(np.unique(BinaryIndex(moved).codes, axis=0)) == 1
    exact = ExactIndex(moved).search(moved[:30], 10)
    assert recall(BinaryIndex(moved, centre=True).search(moved[:30], 10), exact) > 0.5


def test_product_codes_are_the_nearest_codewords_and_distances_those_of_the_query():
    index = ProductIndex(ROWS, parts=4, codewords=16)
    assert index.codes.shape == (400, 4) and index.codebooks.shape == (4, 16, 8) and index.codes.dtype == "uint8"
    parts = unit(ROWS).reshape(400, 4, 8)
    distances = ((parts[:, :, None] - index.codebooks) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(index.codes, distances.argmin(axis=-1))
    made = index.reconstructed()
    expected = 1.0 - ((unit(QUERIES)[:, None] - made[None]) ** 2).sum(axis=-1) / 2.0
    np.testing.assert_allclose(index.search(QUERIES, 400).scores, -np.sort(-expected, axis=1), atol=1e-5)
    one = index.search(QUERIES[:1], 400)  # by the table
    np.testing.assert_allclose(one.scores, -np.sort(-expected[:1], axis=1), atol=1e-5)
    few = ProductIndex(ROWS[:20], parts=2)  # as many codewords as rows: nothing is lost
    np.testing.assert_allclose(few.reconstructed(), unit(ROWS[:20]), atol=1e-5)
    exact = ExactIndex(ROWS[:20]).search(QUERIES, 5)
    np.testing.assert_array_equal(few.search(QUERIES, 5).places, exact.places)
    same = ProductIndex(ROWS, parts=4, codewords=16)
    np.testing.assert_array_equal(same.codes, index.codes)  # by the seed


def test_recall_beside_exact_grows_with_the_room():
    exact = ExactIndex(ROWS).search(QUERIES, 10)
    assert recall(exact, exact) == 1.0 and recall(exact.places[:, :5], exact) == 0.5
    chance = 10 / 400
    found = [recall(ProductIndex(ROWS, parts=parts).search(QUERIES, 10), exact) for parts in (1, 4, 16)]
    assert chance < found[0] <= found[1] <= found[2] and found[2] > 0.85
    assert recall(BinaryIndex(ROWS, rerank=0).search(QUERIES, 10), exact) > 10 * chance
    assert recall(BinaryIndex(ROWS).search(QUERIES, 10), exact) > 10 * chance


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_opens_as_what_was_written(kind, tmp_path):
    path, names = tmp_path / "index.safetensors", [f"p\u00e4th {number}.jpg" for number in range(400)]
    index = KINDS[kind](ROWS, names=names)
    index.save(path)
    again = Index.load(path)
    for own, read in zip(index.search(QUERIES, 4), again.search(QUERIES, 4)):
        np.testing.assert_array_equal(own, read)
    assert again.names == tuple(names) and type(again) is type(index) and repr(again) == repr(index)
    assert type(index).load(path).dim == 32
    plain = KINDS[kind](ROWS)
    plain.save(path)
    assert Index.load(path).names is None


def test_what_cannot_be_is_said_in_a_sentence(tmp_path):
    index = ExactIndex(ROWS)
    index.save(tmp_path / "exact.safetensors")
    save_file({"rows": ROWS}, tmp_path / "plain.safetensors")
    meta = '{"kind": "ProductIndex", "numbers": {"dim": 32}}'
    broken = {"codes": np.full((4, 4), 9, "uint8"), "codebooks": np.zeros((4, 5, 8), "float32")}
    save_file(broken, tmp_path / "broken.safetensors", {"kzoo_index": meta})
    save_file({"codes": broken["codes"]}, tmp_path / "part.safetensors", {"kzoo_index": meta})
    save_file({}, tmp_path / "other.safetensors", {"kzoo_index": '{"kind": "os", "numbers": {}}'})
    save_file({"rows": ROWS[:0]}, tmp_path / "none.safetensors", {"kzoo_index": meta.replace("Product", "Exact")})
    refused = [
        (ValueError, "of no rows", lambda: Index.load(tmp_path / "none.safetensors")),
        (ValueError, "k is 500", lambda: index.search(QUERIES, 500)),
        (ValueError, "queries has 3 channels", lambda: index.search(np.eye(3))),
        (ValueError, "zero or not finite", lambda: ExactIndex(np.zeros((2, 3)))),
        (ValueError, "names for 400 rows", lambda: ExactIndex(ROWS, names=["a"])),
        (TypeError, "names is 'a'", lambda: ExactIndex(ROWS, names="a")),
        (ValueError, "does not divide 32", lambda: ProductIndex(ROWS, parts=5)),
        (ValueError, "codewords is 300", lambda: ProductIndex(ROWS, codewords=300)),
        (ValueError, "a kernel has a bias", lambda: BinaryIndex(ROWS, kernel=np.eye(32), centre=True)),
        (ValueError, "for 32 channels", lambda: BinaryIndex(ROWS, kernel=np.eye(31))),
        (ValueError, "ends in .safetensors", lambda: index.save(tmp_path / "index.npz")),
        (ValueError, "holds no index", lambda: Index.load(tmp_path / "plain.safetensors")),
        (ValueError, "not a BinaryIndex", lambda: BinaryIndex.load(tmp_path / "exact.safetensors")),
        (ValueError, "codeword 9 of 5", lambda: Index.load(tmp_path / "broken.safetensors")),
        (ValueError, "codebooks is amiss", lambda: Index.load(tmp_path / "part.safetensors")),
        (ValueError, "kind that is not known, 'os'", lambda: Index.load(tmp_path / "other.safetensors")),
        (ValueError, "of the same queries", lambda: recall(np.zeros((2, 3)), np.zeros((3, 3)))),
    ]
    for error, sentence, call in refused:
        with pytest.raises(error, match=sentence) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1 and str(caught.value).endswith("."), caught.value
