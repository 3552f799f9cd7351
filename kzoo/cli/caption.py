"""`kzoo caption`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kzoo.arguments import COUNT
from kzoo.cli.options import BackendOption, taking
from kzoo.cli.parts import image_files, open_model, unpacked
from kzoo.cli.terminal import console
from kzoo.decoding.options import LIMITS, STRATEGY
from kzoo.inference.caption import Writer


def caption(
    images: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    preset: Annotated[str, typer.Option(help="Captioner: preset, hf://owner/name, folder or ONNX export.")],
    strategy: Annotated[
        str, typer.Option(callback=taking(STRATEGY), help="greedy, sample, beam or contrastive.")
    ] = "greedy",
    prefix: Annotated[str | None, typer.Option(help="How every caption begins.")] = None,
    max_length: Annotated[
        int | None, typer.Option(callback=taking(COUNT), help="Most ids of a caption, start and end included.")
    ] = None,
    min_length: Annotated[
        int, typer.Option(callback=taking(LIMITS["min_length"]), help="Ids before a caption may end.")
    ] = 0,
    num_captions: Annotated[
        int, typer.Option(callback=taking(LIMITS["num_captions"]), help="Captions per image, of sample and beam.")
    ] = 1,
    num_beams: Annotated[
        int | None, typer.Option(callback=taking(LIMITS["num_beams"]), help="Of beam; default 4.")
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(callback=taking(LIMITS["length_penalty"]), help="Of beam; above 0 favours long captions."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(callback=taking(LIMITS["temperature"]), help="Of sample; below 1 sharpens.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(callback=taking(LIMITS["top_k"]), help="Of sample and contrastive: among so many ids.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(callback=taking(LIMITS["top_p"]), help="Of sample: among the fewest ids that hold this mass."),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(callback=taking(LIMITS["alpha"]), help="Of contrastive: weight of being unlike what was said."),
    ] = None,
    repetition_penalty: Annotated[
        float,
        typer.Option(
            callback=taking(LIMITS["repetition_penalty"]), help="Above 1 makes ids that were written less likely."
        ),
    ] = 1.0,
    no_repeat_ngram: Annotated[
        int,
        typer.Option(callback=taking(LIMITS["no_repeat_ngram"]), help="Bans so many ids in a row from coming twice."),
    ] = 0,
    seed: Annotated[int | None, typer.Option(callback=taking(LIMITS["seed"]), help="Of sample.")] = None,
    batch_size: Annotated[int, typer.Option(callback=taking(COUNT), help="Images that are captioned together.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    backend: BackendOption = None,
) -> None:
    """Write captions of images."""
    options = {
        "prefix": prefix,
        "max_length": max_length,
        "min_length": min_length,
        "num_captions": num_captions,
        "num_beams": num_beams,
        "length_penalty": length_penalty,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "alpha": alpha,
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram": no_repeat_ngram,
        "seed": seed,
        "return_scores": True,
    }
    opened, files = open_model(preset), image_files(images)
    if not isinstance(opened, Writer):
        raise ValueError(f"{preset} writes no captions: it has no decoder; take a captioner, such as coca_base.")
    table = Table("image", "caption", "score")
    for start in track(range(0, len(files), batch_size), "captions", console=Console(stderr=True)):
        batch = files[start : start + batch_size]
        captions, scores = opened.caption(unpacked(batch), strategy, batch_size=batch_size, **options)
        for path, text, score in zip(batch, captions, scores.tolist()):
            if as_json:
                keys = ("caption", "score") if num_captions == 1 else ("captions", "scores")
                print(json.dumps({"image": str(path), **dict(zip(keys, (text, score)))}, ensure_ascii=False))
            for each in zip([text], [score]) if num_captions == 1 else zip(text, score):
                table.add_row(str(path), each[0], f"{each[1]:.3f}")
    if not as_json:
        console.print(table)
