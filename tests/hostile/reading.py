"""Cases made by code of good files: what is changed, and what may become of it."""

import contextlib
import json
import resource
import signal
import warnings

ALLOWED = (ValueError, OSError)
SECONDS = 20.0


class Hang(BaseException):
    """A reader went on for longer than it may."""


@contextlib.contextmanager
def within(seconds=SECONDS):
    """Stops what hangs: a reader that waits for a pipe does not come back by itself."""

    def stop(*_):
        raise Hang(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(read):
    """What `read()` gives, or the sentence with which it stopped; every other end is an error of the test."""
    with within(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read(), None
        except ALLOWED as error:
            sentence = str(error)
            assert sentence.strip(), f"{type(error).__name__} without a word"
            assert len(sentence) < 3000, sentence[:3000]
            assert sentence.isprintable(), repr(sentence)  # on one line, and nothing that steers a terminal
            return None, sentence


def refused(read):
    """The sentence with which a reader must stop."""
    found, sentence = outcome(read)
    assert sentence is not None, f"was taken: {found!r:.200}"
    return sentence


def grown(read):
    """Bytes by which the peak of this process' memory grows while something is read."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome(read)
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def mutations(content, random, count):
    """Damaged copies of a file's bytes: cut, flipped, filled, swapped, at places all over it and in its first bytes."""
    size = len(content)
    for number in range(count):
        place = int(random.integers(0, min(size, 256) if number % 2 else size))
        kind = number % 5
        if kind == 0:
            yield content[:place]
        elif kind == 1:
            yield content[:place] + bytes([content[place] ^ (1 << int(random.integers(8)))]) + content[place + 1 :]
        elif kind == 2:
            yield content[:place] + b"\xff" * 8 + content[place + 8 :]
        elif kind == 3:
            yield content[:place] + b"\0" * 4 + content[place + 4 :]
        else:
            yield content[:place] + content[place + 16 :] + content[place : place + 16]


WRONG = (None, True, "8", "", -1, 0, 1.5, 10**30, 1e300, [], [1, "a"], {}, {"a": 1})


def wrong_fields(content, at=()):
    """`(path, copy)` of a JSON object with each field replaced by each of `WRONG`, or left out."""
    for key, value in content.items():
        path = (*at, key)
        for wrong in WRONG:
            if wrong != value or type(wrong) is not type(value):
                yield path, wrong
        yield path, LACKING
        if isinstance(value, dict):
            yield from wrong_fields(value, path)


LACKING = object()


def replaced(content, path, value):
    """A copy of a JSON object with one field replaced, or without it."""
    copy = dict(content)
    key, *rest = path
    if rest:
        copy[key] = replaced(content[key], rest, value)
    elif value is LACKING:
        del copy[key]
    else:
        copy[key] = value
    return copy


def change_config(folder, path, value, file="config.json"):
    """Put another value at a place of a config in a folder."""
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(replaced(config, path, value)))
