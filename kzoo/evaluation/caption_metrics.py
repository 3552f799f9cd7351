"""The metrics of captions, on words: lists of n predictions and of n lists of references in, n scores out."""

from collections import Counter
from itertools import zip_longest
from math import exp, log, sqrt

import numpy as np

from kzoo.extras import require

ORDERS = (1, 2, 3, 4)
BETA = 1.2  # of ROUGE-L: recall counts more than precision
SIGMA = 6.0  # of CIDEr-D: words by which a caption may differ in length


def bleu(predictions, references, per_sample) -> list:
    """BLEU-1 to BLEU-4: four floats of the corpus, or with `per_sample` four arrays `(n,)`.

    BLEU-n = min(1, exp(1 - r / c)) * (p_1 * ... * p_n)^(1 / n), with c the words of the captions, r the words of the
    references closest in length, p_k the share of k-grams that a reference holds, at most as often as it does.

    Reference:
        Papineni et al., 2002, BLEU: a method for automatic evaluation of machine translation.
    """
    # effective_order keeps sacrebleu from advising it for single captions; precisions and penalty are without it
    scorer = require("sacrebleu", "captions", "BLEU").BLEU(
        tokenize="none", smooth_method="none", force=True, effective_order=True
    )
    captions = [" ".join(words) for words in predictions]
    texts = [[" ".join(words) for words in entry] for entry in references]
    if per_sample:
        found = [scorer.sentence_score(caption, entry) for caption, entry in zip(captions, texts)]
    else:
        found = [scorer.corpus_score(captions, list(zip_longest(*texts)))]
    penalty = np.array([score.bp for score in found])
    precisions = np.array([score.precisions for score in found]) / 100  # (n or 1, 4)
    scores = [penalty * np.prod(precisions[:, :order], axis=1) ** (1 / order) for order in ORDERS]
    return scores if per_sample else [float(score[0]) for score in scores]


def rouge_l(predictions, references) -> list:
    """ROUGE-L per sample: F = (1 + beta^2) P R / (R + beta^2 P), beta = 1.2.

    P and R are the longest common subsequence over the words of the caption and of the reference, each the best
    over the references, as in the evaluation of COCO captions.

    Reference:
        Lin, 2004, ROUGE: a package for automatic evaluation of summaries, section 3.
    """
    scores = []
    for caption, entry in zip(predictions, references):
        common = [_common_subsequence(caption, words) for words in entry]
        precision = max(common) / max(len(caption), 1)
        recall = max(length / len(words) for length, words in zip(common, entry))
        weighted = recall + BETA**2 * precision
        scores.append((1 + BETA**2) * precision * recall / weighted if weighted else 0.0)
    return scores


def _common_subsequence(a, b):
    """Length of the longest common subsequence: a row of the usual table as the bits of one integer.

    A zero at bit i says that the row's value rises at word i of a, so the zeros at the end are the length.

    Reference:
        Hyyrö, 2004, Bit-parallel LCS-length computation revisited.
    """
    places = Counter()
    for place, word in enumerate(a):
        places[word] |= 1 << place
    full = (1 << len(a)) - 1
    row = full
    for word in b:
        matches = row & places[word]
        row = ((row + matches) | (row - matches)) & full
    return len(a) - row.bit_count()


def cider(predictions, references, defended=False) -> list:
    """CIDEr per sample, or CIDEr-D with `defended`, in [0, 10].

    CIDEr = 10 * mean over references s and orders n = 1..4 of  g_n(c) . g_n(s) / (|g_n(c)| |g_n(s)|),
    CIDEr-D = the same with min(g_n(c), g_n(s)) . g_n(s) above the line, times exp(-(len c - len s)^2 / (2 sigma^2)).

    g_n weighs each n-gram by its count times log(N / max(1, df)), df of the N samples holding it in a reference.
    As in the authors' code, counts are not divided by the caption's length, which only the clipping sees, words
    are not stemmed, and CIDEr has the factor 10 too. An order that either side has no n-gram of counts as 0: a
    perfect caption of two words scores 5.

    Reference:
        Vedantam et al., CIDEr: consensus-based image description evaluation, 2015, arXiv 1411.5726.
    """
    samples = len(predictions)
    if samples < 2:
        raise ValueError(
            "cider and cider_d weigh n-grams by how few samples hold them, but one sample came; "
            "give more, or name other metrics."
        )
    frequency = Counter()
    for entry in references:
        frequency.update({gram for words in entry for order in ORDERS for gram in _ngrams(words, order)})
    weight = {gram: log(samples / count) for gram, count in frequency.items()}

    def vectors(words):
        counts = [_ngrams(words, order) for order in ORDERS]
        return [{gram: n * weight.get(gram, log(samples)) for gram, n in of_order.items()} for of_order in counts]

    scores = []
    for caption, entry in zip(predictions, references):
        ours, total = vectors(caption), 0.0
        for words in entry:
            similarity = sum(_cosine(a, b, defended) for a, b in zip(ours, vectors(words)))
            total += similarity * (exp(-((len(caption) - len(words)) ** 2) / (2 * SIGMA**2)) if defended else 1.0)
        scores.append(10.0 * total / (len(ORDERS) * len(entry)))
    return scores


def _cosine(caption, reference, clip):
    """Cosine of two sparse vectors, the caption's held under the reference's with `clip`; 0 for a vector of zeros."""
    both = [(caption[gram], value) for gram, value in reference.items() if gram in caption]
    product = sum((min(a, b) if clip else a) * b for a, b in both)
    norms = sqrt(sum(a * a for a in caption.values()) * sum(b * b for b in reference.values()))
    return product / norms if norms else 0.0


def _ngrams(words, order):
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


def exact_match(predictions, references) -> list:
    """1 per sample where a reference has the same words in the same order, else 0."""
    return [float(caption in entry) for caption, entry in zip(predictions, references)]


def word_f1(predictions, references) -> list:
    """2 |c and s| / (|c| + |s|) per sample, on bags of words, best over the references s.

    Reference:
        Rajpurkar et al., SQuAD, 2016, arXiv 1606.05250; articles stay here.
    """
    return [
        max(2 * (Counter(caption) & Counter(words)).total() / (len(caption) + len(words)) for words in entry)
        for caption, entry in zip(predictions, references)
    ]
