"""Results as tables in markdown."""

from collections import Counter

from benchmarks.suite.cases import Case
from benchmarks.suite.engines import BASE, LIMIT
from benchmarks.suite.statistics import Spread, fastest, ratios, seconds_of, spread
from benchmarks.suite.work import operations_of

LIMIT_NAME = "products alone"
MEGA, TERA = 1e6, 1e12
# dense products in bfloat16, in TFLOP/s by the maker's data sheet, by a word of the GPU's name
PEAKS = {"H200": 989, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "A10": 125, "4090": 165, "B200": 2250}


def times(results, case) -> list[dict]:
    """Rounds of a case, engine -> seconds, by the clock of the run, with the limit as an engine of its own."""
    found = []
    for seconds in case["rounds"]:
        by_name = {name: each[results["clock"]] for name, each in seconds.items()}
        limit = fastest(by_name, LIMIT)
        found.append({name: each for name, each in by_name.items() if name not in LIMIT})
        if limit is not None:
            found[-1][LIMIT_NAME] = limit
    return found


def base_of(case, engine) -> tuple:
    """Names of what the ratios of an engine are to: open_clip, and of imports Keras on the same backend."""
    return (f"keras {engine.split()[-1]}",) if case["case"]["kind"] == "import" else BASE


def base_name(case) -> str:
    return "Keras alone" if case["case"]["kind"] == "import" else "open_clip"


def speeds(results, case) -> dict:
    """Engine -> `Spread` of how often it fits into the time of what ratios are to, in the same round; of the two of
    open_clip of the faster. Engines without such a round are left out."""
    rounds = times(results, case)
    names = dict.fromkeys(name for seconds in rounds for name in seconds)
    found = {name: ratios(rounds, name, base_of(case, name)) for name in names}
    return {name: spread(each) for name, each in found.items() if each}


def of_limit(results, case) -> dict:
    """Engine -> `Spread` of the share of the time of its products alone in its own."""
    rounds = times(results, case)
    names = dict.fromkeys(name for seconds in rounds for name in seconds if name != LIMIT_NAME)
    found = {name: ratios(rounds, name, (LIMIT_NAME,)) for name in names}
    return {name: spread(each) for name, each in found.items() if each}


def seconds(results, case) -> dict:
    """Engine -> `Spread` of its seconds a call."""
    rounds = times(results, case)
    names = dict.fromkeys(name for each in rounds for name in each)
    return {name: spread(seconds_of(rounds, name)) for name in names}


def markdown(results) -> str:
    """All of a run as markdown: what it ran on, a table for each case, what took no part, and versions."""
    machine = results["machine"]
    memory = f", {machine['memory'] / 1e9:.0f} GB" if machine["memory"] else ""
    gpu = f", {machine['accelerator']}" if machine["accelerator"] else ""
    clock = "seconds of CPU" if results["clock"] == "cpu" else "seconds by the clock"
    lines = [
        "# kzoo beside other libraries",
        "",
        f"{machine['processor']}{gpu}, {results['threads']} of {machine['processors']} processors{memory}, "
        f"{machine['system']}, Python {machine['python']}; {clock}; load before: {machine['load']}; {results['when']}.",
    ]
    for case in results["cases"]:
        lines += ["", f"## {case['name']}: {case['title']}", "", *table(results, case)]
        lines += ["", *(f"- {name} {_part(case, name)}: {why.rstrip('.')}." for name, why in case["failed"].items())]
    for package, why in results["not_installed"].items():
        lines += ["", f"- {package} cannot be installed: {why}"]
    return "\n".join([*lines, "", f"Versions: {versions(results)}."])


def table(results, case) -> list[str]:
    """The lines of the table of one case."""
    fast, spent, share = speeds(results, case), seconds(results, case), of_limit(results, case)
    if not spent:
        return ["No engine did this."]
    columns = [
        "engine",
        f"times as fast as {base_name(case)} (quartiles)",
        "ms",
        "of the limit",
        "first call, s",
        "load, s",
    ]
    columns += ["peak, MB", *(["TFLOP/s", "of the peak"] if _counted(results, case) else [])]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    order = sorted(spent, key=lambda name: (-fast[name].median if name in fast else 0.0, spent[name].median))
    for name in order:
        said = case["engines"].get(name, {})
        cells = [_named(name, said, case, results["clock"]), str(fast.get(name, "")), _milliseconds(spent[name])]
        cells += [f"{share[name].median:.0%}" if name in share else ""]
        cells += [f"{said[key]:.2f}" if said.get(key) else "" for key in ("first", "prepare")]
        cells += [f"{said['peak'] / MEGA:.0f}" if said.get("peak") else ""]
        cells += _rates(results, case, spent[name].median) if _counted(results, case) else []
        lines.append(f"| {' | '.join(cells)} |")
    return lines if fast else [*lines, "", f"(No ratio: {base_name(case)} took no part.)"]


def versions(results) -> str:
    found = {}
    for case in results["cases"]:
        for said in case["engines"].values():
            found |= {name: version for name, version in said.get("versions", {}).items() if version}
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items())) or "none"


def _part(case, name):
    """What part an engine took that failed."""
    count = sum(name in seconds for seconds in case["rounds"])
    return f"stopped after {count} of {len(case['rounds'])} rounds" if count else "took no part"


def _named(name, said, case, clock):
    """With the cosine of what is rounded, and with the library that was most often the fastest for the products."""
    if name == LIMIT_NAME:
        rounds = [{each: took[clock] for each, took in seconds.items() if each in LIMIT} for seconds in case["rounds"]]
        winners = Counter(min(each, key=each.get) for each in rounds if each)
        return f"{name}, by {winners.most_common(1)[0][0].split()[-1]}"
    return f"{name} (cosine to float32 at least {said['cosine']:.4f})" if "cosine" in said else name


def _milliseconds(of: Spread):
    return f"{1000 * of.median:.1f} ({1000 * of.low:.1f} to {1000 * of.high:.1f})"


def _counted(results, case):
    return results["machine"]["accelerator"] and case["case"]["kind"] in ("image", "text", "train")


def _rates(results, case, median):
    """Model FLOPs in a second, and their share of what the maker says the GPU can do."""
    rate = operations_of(Case(**case["case"])) / median / TERA
    peak = next((peak for word, peak in PEAKS.items() if word in results["machine"]["accelerator"]), None)
    return [f"{rate:.0f}", f"{rate / peak:.0%}" if peak else ""]
