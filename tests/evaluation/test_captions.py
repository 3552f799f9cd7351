"""Metrics of captions against published examples, sums by hand, the literature's own code and plain loops."""

import sys
from math import exp, log, prod, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kzoo.evaluation import caption_scores, words
from kzoo.evaluation.captions import METRICS

BLEUS = [f"bleu_{n}" for n in range(1, 5)]
PREDICTIONS = [
    "a man riding a wave on top of a surfboard",
    "a brown dog runs through the tall grass",
    "two children are playing with a red ball in the park",
    "a plate of food on a table",
]
REFERENCES = [
    ["a surfer rides a large wave on a surfboard", "a man on a surfboard riding a wave in the ocean"],
    ["a dog runs through the grass", "a brown and white dog is running through tall green grass", "the dog runs"],
    "two children play with a ball in the park",
    ["a plate of pasta and a glass of wine on a wooden table", "some food on a plate"],
]


def score(prediction, references, metric):
    return caption_scores([prediction], [references], [metric])[metric]


# BLEU


def test_bleu_counts_a_word_as_often_as_a_reference_does():
    # Papineni et al., 2002, section 2.1, example 2: 2/7
    references = ["The cat is on the mat.", "There is a cat on the mat."]
    assert score("the the the the the the the", references, "bleu_1") == pytest.approx(2 / 7, rel=1e-12)


def test_bleu_of_the_two_candidates_of_its_paper():
    # Papineni et al., 2002, section 2.1, example 1: unigrams 17/18 and 8/14, bigrams 10/17 and 1/13
    references = [
        "It is a guide to action that ensures that the military will forever heed Party commands.",
        "It is the guiding principle which guarantees the military forces always being under the command of the Party.",
        "It is the practical guide for the army always to heed the directions of the party.",
    ]
    first = "It is a guide to action which ensures that the military always obeys the commands of the party."
    assert score(first, references, "bleu_1") == pytest.approx(17 / 18, rel=1e-12)  # 18 words as the second reference
    assert score(first, references, "bleu_2") == pytest.approx(sqrt(17 / 18 * 10 / 17), rel=1e-12)
    second = "It is to insure the troops forever hearing the activity guidebook that party direct."
    penalty = exp(1 - 16 / 14)  # 14 words, the closest references have 16
    assert score(second, references, "bleu_1") == pytest.approx(penalty * 8 / 14, rel=1e-12)
    assert score(second, references, "bleu_2") == pytest.approx(penalty * sqrt(8 / 14 * 1 / 13), rel=1e-12)
    assert score(second, references, "bleu_3") == 0.0


def test_bleu_is_of_the_corpus_and_not_a_mean():
    # words 3 of 3 and 1 of 2; pairs 2 of 2 and 0 of 1; lengths 3 + 2 against 3 + 4
    predictions, references = ["a red dog", "the bird"], ["a red dog", "a cat and the"]
    penalty = exp(1 - 7 / 5)
    got = caption_scores(predictions, references, BLEUS)
    assert got["bleu_1"] == pytest.approx(penalty * 4 / 5, rel=1e-12)
    assert got["bleu_2"] == pytest.approx(penalty * sqrt(4 / 5 * 2 / 3), rel=1e-12)
    assert got["bleu_4"] == 0.0
    each = caption_scores(predictions, references, ["bleu_1"], per_sample=True)["bleu_1"]
    np.testing.assert_allclose(each, [1.0, exp(1 - 4 / 2) / 2], rtol=1e-12)


def test_of_two_lengths_as_close_bleu_takes_the_shorter():
    assert score("a b c", ["a b c d", "a b"], "bleu_1") == 1.0
    assert score("a b c", ["a b c d"], "bleu_1") == pytest.approx(exp(1 - 4 / 3), rel=1e-12)


def test_bleu_says_which_extra_it_wants(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ImportError, match=r"BLEU needs sacrebleu, which is not installed: pip install 'kzoo\[captions"):
        caption_scores(PREDICTIONS, REFERENCES, ["bleu_4"])
    with pytest.warns(UserWarning, match=r"BLEU is left out: it needs sacrebleu, pip install 'kzoo\[captions\]'"):
        assert "cider" in (found := caption_scores(PREDICTIONS, REFERENCES)) and "bleu_4" not in found
    assert list(caption_scores(PREDICTIONS, REFERENCES, ["rouge_l"])) == ["rouge_l"]


# ROUGE-L


@pytest.mark.parametrize(
    "candidate, published",  # Lin, 2004, section 3.1; precision equals recall, so no beta changes it
    [("police kill the gunman", 0.75), ("the gunman kill police", 0.5), ("the gunman police killed", 0.5)],
)
def test_rouge_of_its_paper(candidate, published):
    assert score(candidate, "police killed the gunman", "rouge_l") == pytest.approx(published, rel=1e-12)


def test_rouge_with_one_reference():
    # common 3 words: precision 3/3, recall 3/6, beta^2 = 1.44
    got = score("a cat sits", "a cat sits on the mat", "rouge_l")
    assert got == pytest.approx(2.44 * 0.5 / (0.5 + 1.44), rel=1e-12)


def test_rouge_takes_precision_and_recall_from_different_references():
    # "a cat": 2 of 4 and 2 of 2; the long one: 3 of 4 and 3 of 8
    got = score("a cat sits here", ["a cat", "a cat sits on the mat all day"], "rouge_l")
    assert got == pytest.approx(2.44 * 0.75 * 1.0 / (1.0 + 1.44 * 0.75), rel=1e-12)


# CIDEr


def test_cider_clips_repetition_and_minds_length_only_in_its_second_form():
    # every n-gram is in one of two samples: all weigh log 2, which cancels. Orders 3 and 4 add nothing.
    # "red dog red": red 2, dog 1 against red 1, dog 1; pairs (red dog), (dog red) against (red dog)
    predictions, references = ["red dog red", "blue cat"], ["red dog", "blue cat"]
    got = caption_scores(predictions, references, ["cider", "cider_d"], per_sample=True)
    plain = 10 * ((2 * 1 + 1 * 1) / (sqrt(5) * sqrt(2)) + 1 / sqrt(2)) / 4
    clipped = 10 * ((1 * 1 + 1 * 1) / (sqrt(5) * sqrt(2)) + 1 / sqrt(2)) / 4 * exp(-1 / (2 * 36))
    np.testing.assert_allclose(got["cider"], [plain, 5.0], rtol=1e-12)
    np.testing.assert_allclose(got["cider_d"], [clipped, 5.0], rtol=1e-12)
    corpus = caption_scores(predictions, references, ["cider_d"])["cider_d"]
    assert corpus == pytest.approx((clipped + 5) / 2, rel=1e-12)


def test_cider_weighs_words_by_how_few_samples_hold_them():
    # "a" is in 2 of 3 samples, twice in the first, which counts once; "emu" is in none and weighs as if in one
    references = [["a dog", "a dog"], "a cat", "two birds"]
    a, rare = log(3 / 2), log(3)
    emu = a * a / (a * a + rare * rare)  # cosine of (a, emu) with (a, dog)
    got = caption_scores(["a emu", "a cat", "a"], references, ["cider"], per_sample=True)["cider"]
    np.testing.assert_allclose(got, [10 * emu / 4, 5.0, 0.0], rtol=1e-12)


def test_cider_averages_the_references():
    references = [["red dog", "green frog"], "blue cat"]
    assert caption_scores(["red dog", "blue cat"], references, ["cider_d"])["cider_d"] == pytest.approx(3.75, rel=1e-12)


def test_cider_of_one_sample_is_refused():
    for metric in ("cider", "cider_d"):
        with pytest.raises(ValueError, match="but one sample came"):
            score("a cat", "a cat", metric)


# exact match, word F1


def test_exact_match_compares_words():
    predictions = ["A cat, sleeping.", "cat a sleeping", "a cat"]
    got = caption_scores(predictions, [["a dog", "a cat sleeping"]] * 3, ["exact_match"], per_sample=True)
    assert got["exact_match"].tolist() == [1.0, 0.0, 0.0]


def test_word_f1():
    # common "a", "red": 2 of 3 and 2 of 4; the other reference has one word in common
    assert score("a red red", ["a red dog runs", "a b"], "word_f1") == pytest.approx(4 / 7, rel=1e-12)


# all of them


def test_the_numbers_of_pycocoevalcap():
    # version 1.2 on these words, to the 1e-9 that it adds in BLEU; cider: without its lines of clipping and penalty
    got = caption_scores(PREDICTIONS, REFERENCES)
    bleus = [0.8611111110871914, 0.695970545333212, 0.49473645119442666, 0.3169458872113007]
    assert [got[name] for name in BLEUS] == pytest.approx(bleus, rel=1e-9)
    assert got["rouge_l"] == pytest.approx(0.7540604139452938, rel=1e-12)
    assert got["cider_d"] == pytest.approx(2.8517807698385313, rel=1e-12)
    assert got["cider"] == pytest.approx(3.1639699189946624, rel=1e-12)


def grams(text, n):
    return [tuple(text.split()[i : i + n]) for i in range(len(text.split()) - n + 1)]


def naive(predictions, references):
    """Every metric by its definition: lists searched and tables filled, nothing shared with the library."""
    pairs = list(zip(predictions, references))
    c = sum(len(p.split()) for p in predictions)
    r = sum(min((abs(len(s.split()) - len(p.split())), len(s.split())) for s in refs)[1] for p, refs in pairs)
    matches, totals = np.zeros(4), np.zeros(4)
    for p, refs in pairs:
        for n in range(1, 5):
            totals[n - 1] += len(grams(p, n))
            matches[n - 1] += sum(
                min(grams(p, n).count(g), max(grams(s, n).count(g) for s in refs)) for g in set(grams(p, n))
            )
    precisions = [m / t if t else 0.0 for m, t in zip(matches, totals)]
    out = {f"bleu_{n}": min(1, exp(1 - r / c)) * prod(precisions[:n]) ** (1 / n) if c else 0.0 for n in range(1, 5)}

    def lcs(a, b):
        table = np.zeros((len(a) + 1, len(b) + 1))
        for i, x in enumerate(a):
            for j, y in enumerate(b):
                table[i + 1, j + 1] = table[i, j] + 1 if x == y else max(table[i, j + 1], table[i + 1, j])
        return table[-1, -1]

    rouge, f1 = [], []
    for p, refs in pairs:
        common = [(lcs(p.split(), s.split()), len(s.split())) for s in refs]
        precision = max(length for length, _ in common) / max(len(p.split()), 1)
        recall = max(length / size for length, size in common)
        rouge.append(2.44 * precision * recall / (recall + 1.44 * precision) if recall else 0.0)
        shared = [sum(min(p.split().count(w), s.split().count(w)) for w in set(p.split())) for s in refs]
        f1.append(max(2 * k / (len(p.split()) + len(s.split())) for k, s in zip(shared, refs)))
    out |= {"rouge_l": np.mean(rouge), "word_f1": np.mean(f1)}
    out["exact_match"] = np.mean([any(p == s for s in refs) for p, refs in pairs])

    totals = np.zeros(2)
    for p, refs in pairs:
        for s in refs:
            for n in range(1, 5):
                axes = sorted({g for text in [*predictions, *sum(references, [])] for g in grams(text, n)})
                holding = np.array([sum(any(g in grams(t, n) for t in entry) for entry in references) for g in axes])
                idf = np.log(len(pairs)) - np.log(np.maximum(1, holding))
                u, v = (idf * [grams(text, n).count(g) for g in axes] for text in (p, s))
                norm = np.linalg.norm(u) * np.linalg.norm(v)
                penalty = exp(-((len(p.split()) - len(s.split())) ** 2) / (2 * 6.0**2))
                if norm:
                    both = np.array([u @ v, np.minimum(u, v) @ v * penalty]) / norm
                    totals += 10 * both / (4 * len(refs) * len(pairs))
    return out | {"cider": totals[0], "cider_d": totals[1]}


caption = st.lists(st.sampled_from("abcde"), max_size=7).map(" ".join)
reference = st.lists(st.sampled_from("abcde"), min_size=1, max_size=7).map(" ".join)
corpora = st.lists(st.tuples(caption, st.lists(reference, min_size=1, max_size=3)), min_size=2, max_size=4)


@settings(max_examples=60, deadline=None)
@given(corpus=corpora)
def test_equals_plain_loops(corpus):
    predictions, references = (list(side) for side in zip(*corpus))
    got, wanted = caption_scores(predictions, references), naive(predictions, references)
    assert list(got) == list(METRICS)
    for name in METRICS:
        assert got[name] == pytest.approx(wanted[name], rel=1e-9, abs=1e-12), name


@settings(max_examples=60, deadline=None)
@given(corpus=corpora, random=st.randoms(use_true_random=False))
def test_order_is_irrelevant_and_per_sample_is_what_the_mean_is_of(corpus, random):
    predictions, references = (list(side) for side in zip(*corpus))
    got = caption_scores(predictions, references)
    each = caption_scores(predictions, references, per_sample=True)
    for name in METRICS:
        assert each[name].shape == (len(corpus),) and each[name].dtype == np.float64
        assert ((each[name] >= 0) & (each[name] <= (10 if "cider" in name else 1) + 1e-12)).all()
        if name not in BLEUS:
            assert np.mean(each[name]) == pytest.approx(got[name], rel=1e-12)
    shuffled = random.sample([(p, random.sample(refs, len(refs))) for p, refs in corpus], len(corpus))
    again = caption_scores(*(list(side) for side in zip(*shuffled)))
    assert again == pytest.approx(got, rel=1e-9, abs=1e-12)


def test_a_perfect_match_has_the_highest_scores():
    got = caption_scores(PREDICTIONS, PREDICTIONS)
    assert got == pytest.approx({name: 10.0 if "cider" in name else 1.0 for name in METRICS}, rel=1e-12)


@pytest.mark.parametrize("empty", ["", " \n", "?!"])
def test_a_prediction_without_words_scores_zero(empty):
    assert caption_scores([empty] * 4, REFERENCES) == dict.fromkeys(METRICS, 0.0)
    each = caption_scores([empty, *PREDICTIONS[1:]], REFERENCES, per_sample=True)
    assert [each[name][0] for name in METRICS] == [0.0] * len(METRICS)


def test_metrics_come_in_the_order_asked_as_floats():
    got = caption_scores(PREDICTIONS, REFERENCES, ["word_f1", "bleu_2"])
    assert [(name, type(value)) for name, value in got.items()] == [("word_f1", float), ("bleu_2", float)]


# words


@pytest.mark.parametrize(
    "text, found",
    [
        ("Two dogs' TOYS, black-and-white.", "two dogs toys black and white"),
        ("the dog’s 3 toys don't_fit", "the dog s 3 toys don t fit"),
        ("5$ + (3.5) “quoted” ❤️", "5 3 5 quoted"),
        ("Ein Fußgänger über Ｆｕｌｌ ﬁlm", "ein fußgänger über full film"),
        ("naïve nai\u0308ve", "naïve naïve"),  # an accent of its own, or not
        ("一只黑色的猫，在Tokyo看3本书。", "一 只 黑 色 的 猫 在 tokyo 看 3 本 书"),
        ("ネコが寝る", "ネ コ が 寝 る"),
        ("ﾈｺ", "ネ コ"),  # half-width
        ("고양이가 잔다", "고양이가 잔다"),
        ("मैं किताब पढ़ता हूँ।", "मैं किताब पढ़ता हूँ"),  # vowel signs end no word
        ("ที่นี่", "ที่ นี่"),  # and stay with their letter
        ("", ""),
        ("\u0301!", ""),
    ],
)
def test_words(text, found):
    assert words(text) == [words(word)[0] for word in found.split()] == found.split()


def test_scores_of_chinese_are_of_characters():
    assert score("一只黑猫", "一只白猫。", "word_f1") == 0.75


# what is refused


@pytest.mark.parametrize(
    "predictions, references, error, sentence",
    [
        (["a"], ["a", "b"], ValueError, "1 predictions and references of 2 samples came"),
        ([], [], ValueError, "at least one"),
        ("a cat", ["a"], TypeError, "predictions is of type str, but a list"),
        (["a"], {"a": ["a"]}, TypeError, "references is of type dict, but a list"),
        ([None], ["a"], TypeError, "prediction 0 is of type NoneType, but a string"),
        (["a", "b"], ["a", 3], TypeError, "references of sample 1 are 3, but a list of strings"),
        (["a"], [["a", None]], TypeError, "references of sample 0 are .*None.*, but a list of strings"),
        (["a", "b"], ["a", []], ValueError, "sample 1 has no reference"),
        (["a"], [["a", "..."]], ValueError, "reference '...' of sample 0 has no words"),
        (["a"], [""], ValueError, "reference '' of sample 0 has no words"),
    ],
)
def test_what_is_no_list_of_captions(predictions, references, error, sentence):
    with pytest.raises(error, match=sentence):
        caption_scores(predictions, references, ["word_f1"])


@pytest.mark.parametrize(
    "metrics, sentence",
    [
        ("bleu_4", r"metrics is 'bleu_4' \(str\); give names of metrics"),
        ([], r"metrics is \[\], but a list"),
        (["meteor"], "metric 'meteor' is unknown; there are bleu_1, "),
    ],
)
def test_metrics_that_do_not_exist(metrics, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        caption_scores(PREDICTIONS, REFERENCES, metrics)
