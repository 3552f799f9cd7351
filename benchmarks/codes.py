"""What short codes cost and what they find, beside an exact search, on scikit-learn's digits.

    python benchmarks/codes.py

The rows are the 1797 pictures of 8 x 8 pixels, less their mean; every tenth is a query, the others are searched.
Prints for each index the bytes of a row, also as a ratio to the exact search, recall@10 beside that, and the time of
all queries as a ratio: the median of interleaved rounds in this process. Then CUR search, for a score of pairs that is
no product of embeddings, `exp(-||q - x||^2 / 2)` on unit rows: recall@10 by the share of pairs that are scored.
"""

import time

import numpy as np
from sklearn.datasets import load_digits

from kzoo.retrieval import BinaryIndex, CURSearch, ExactIndex, ProductIndex, recall

ROUNDS, K = 7, 10


def digits():
    rows = load_digits().data.astype("float32")
    rows -= rows.mean(axis=0)
    asked = np.arange(len(rows)) % 10 == 0
    return rows[~asked], rows[asked]


def print_indexes(rows, queries):
    indexes = {
        "exact": ExactIndex(rows),
        "binary, order by bits": BinaryIndex(rows, rerank=0),
        "binary": BinaryIndex(rows),
    } | {f"product, {parts} parts": ProductIndex(rows, parts=parts) for parts in (2, 4, 8, 16, 32)}
    times = {name: [] for name in indexes}
    for _ in range(ROUNDS):
        for name, index in indexes.items():
            begun = time.perf_counter()
            index.search(queries, K)
            times[name].append(time.perf_counter() - begun)
    exact = indexes["exact"].search(queries, K)
    print(f"{'index':24} {'bytes':>6} {'of exact':>9} {'recall@10':>10} {'time':>7}")
    for name, index in indexes.items():
        size = index.nbytes if not isinstance(index, ProductIndex) else index.codes.nbytes
        found, slower = recall(index.search(queries, K), exact), np.median(times[name]) / np.median(times["exact"])
        share = size / indexes["exact"].nbytes
        print(f"{name:24} {size / len(index):6.0f} {share:9.3f} {found:10.3f} {slower:6.2f}x")


def print_cur(rows, queries):
    rows, queries = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (rows, queries))

    def score(left, right):
        return np.exp(np.stack(left) @ np.stack(right).T - 1.0)

    items, anchors = list(rows), list(rows[::30])
    truth = np.argsort(-score(queries, items), axis=1)[:, :K]
    print(f"\n{'CUR, pairs scored':24} {'1 round':>10} {'4 rounds':>10}")
    for budget in (40, 80, 160):
        found = []
        for rounds in (1, 4):
            search = CURSearch(score, anchors, items, anchor_items=budget // 2, rounds=rounds)
            found.append(recall(search.search(list(queries), K, budget), truth))
        print(f"{budget:4} of {len(items)} ({budget / len(items):.1%}) {'':6} {found[0]:10.3f} {found[1]:10.3f}")


if __name__ == "__main__":
    print_indexes(*digits())
    print_cur(*digits())
