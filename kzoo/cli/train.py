"""`kzoo train`."""

from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli.options import BackendOption, BatchSize, CaptionKey, ImageKey, SkipBroken, Source
from kzoo.cli.parts import needs_keras
from kzoo.cli.terminal import console


def train(
    source: Source,
    output: Annotated[Path, typer.Option(help="Folder for the trained model.")],
    preset: Annotated[str, typer.Option(help="Preset to train, folder or hf:// name to fine-tune.")] = "clip_nano",
    validation: Annotated[str | None, typer.Option(help="Source of pairs to measure after each epoch.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the source.")] = 10,
    batch_size: BatchSize = 64,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW; 1e-5 or less to fine-tune.")] = 5e-4,
    weight_decay: Annotated[float, typer.Option(help="Of AdamW.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of initialisation, order and captions.")] = 0,
    image_key: ImageKey = "image",
    caption_key: CaptionKey = "caption",
    skip_broken: SkipBroken = False,
    backend: BackendOption = None,
):
    """Train or fine-tune a model on pairs of your own."""
    keras = needs_keras()
    import kzoo

    keras.utils.set_random_seed(seed)
    model = kzoo.from_preset(preset, load_weights=Path(preset).is_dir() or preset.startswith("hf://"))
    read = {"batch_size": batch_size, "image_key": image_key, "caption_key": caption_key, "skip_broken": skip_broken}
    data = kzoo.data.pairs(source, model.preprocessor, seed=seed, **read)
    if model.preprocessor.tokenizer is None:
        model.preprocessor.adapt(data.captions)
    if validation is not None:
        validation = kzoo.data.pairs(validation, model.preprocessor, shuffle=False, every_caption=True, **read)
    model.compile(kzoo.training.AdamW(learning_rate, weight_decay=weight_decay))
    model.fit(data, epochs=epochs, validation_data=validation)
    model.save_to_preset(output)
    console.print(f"saved the model in {output}")
