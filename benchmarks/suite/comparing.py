"""Two runs: what became slower, beyond the noise."""

from benchmarks.suite.report import base_name, seconds, speeds
from benchmarks.suite.statistics import FEWEST_ROUNDS, MORE_MEMORY, Spread, changed


def compared(old, new) -> tuple[list[str], bool]:
    """What changed from one run to another.

    Ratios to open_clip are compared, which hardly depend on the machine; where there are none, seconds, if both runs
    had the same processor and threads.

    Args:
        old, new: dicts of `results.json`.

    Returns:
        lines for a person, and whether something is slower, takes more memory, or does not run any more.
    """
    before = {each["name"]: each for each in old["cases"]}
    worse, better, words = [], [], []
    for case in new["cases"]:
        if case["name"] not in before:
            continue
        earlier, (of_old, of_new, measure) = before[case["name"]], _comparable(old, new, before[case["name"]], case)
        for name in earlier["engines"]:
            place, both = f"{case['name']}, {name}", name in of_old and name in of_new
            if name in case["failed"]:
                worse.append(f"- {place} does not run any more: {case['failed'][name].rstrip('.')}.")
            elif both and min(of_old[name].count, of_new[name].count) < FEWEST_ROUNDS:
                words.append(f"- {place} cannot be compared: fewer than {FEWEST_ROUNDS} rounds do not show the noise.")
            elif both and (change := changed(of_old[name], of_new[name])):
                line = f"- {place} is {_said(change)}: {measure(of_old[name])} before, now {measure(of_new[name])}."
                (worse if change < 0 else better).append(line)
            worse += _memory(place, earlier["engines"][name], case["engines"].get(name, {}))
        if not of_old:
            words.append(f"- {case['name']} cannot be compared: no ratio in both, and other machines.")
    if not any(each["name"] in before for each in new["cases"]):
        words.append("- The two runs have no case in common.")
    nothing = ["- Nothing became slower beyond the noise."] if not worse and not words else []
    return [*worse, *better, *words, *nothing], bool(worse)


def _comparable(old, new, earlier, case):
    """Engine -> speeds of both runs that can be compared, and a function that says one of them."""
    both = speeds(old, earlier), speeds(new, case)
    if all(both):
        return (*both, lambda each: f"{each.median:.2f} times as fast as {base_name(case)}")
    same = all(_place(old, key) == _place(new, key) for key in ("processor", "accelerator")) and all(
        old.get(key) == new.get(key) for key in ("threads", "clock")
    )
    if not same:
        return {}, {}, str
    calls = [{name: _inverse(each) for name, each in seconds(*run).items()} for run in ((old, earlier), (new, case))]
    return (*calls, lambda each: f"{1000 / each.median:.1f} ms")


def _place(results, key):
    return results["machine"].get(key)


def _inverse(of):
    return Spread(1 / of.median, 1 / of.high, 1 / of.low, of.count)


def _said(change):
    return f"{1 / (1 + change):.2f} times slower" if change < 0 else f"{1 + change:.2f} times faster"


def _memory(place, before, after):
    old, new = before.get("peak"), after.get("peak")
    if not old or not new or new <= old * (1 + MORE_MEMORY):
        return []
    return [f"- {place} takes more memory: {old / 1e6:.0f} MB before, now {new / 1e6:.0f} MB."]
