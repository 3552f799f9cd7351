"""A model that leaves: into a folder, or to the Hugging Face Hub."""

from pathlib import Path
from tempfile import TemporaryDirectory

from kzoo.files import disk
from kzoo.layers.adapted import adapted, names_in, staying
from kzoo.presets.build import as_float32
from kzoo.presets.card import is_own, write_card
from kzoo.presets.folder import save_preset
from kzoo.presets.foreign_save import save_checkpoint
from kzoo.weights import hub


def save(model, folder, format="kzoo", optimizer=False, overwrite=False, beside=None) -> None:
    """Write a model into a folder; see `ContrastiveModel.save_to_preset`, and for `beside` `save_preset`."""
    if format == "kzoo":
        model = as_float32(model) if names_in(model) and not optimizer else model
        save_preset(model, folder, optimizer, overwrite, beside)
    elif optimizer:
        raise ValueError(f"the layout of {format} has no place for an optimizer; save it with format='kzoo'.")
    else:
        if kept := sorted({name for layer in adapted(model).values() for name in staying(layer)}):
            raise ValueError(
                f"the layout of {format} has no place for the adapter {kept[0]!r}, which no kernel can hold; save the "
                "model with format='kzoo', or the adapter alone with save_adapter."
            )
        changed = model.changes().keys() - {"frozen"}
        save_checkpoint(as_float32(model) if changed else model, folder, format, overwrite)


def push(model, repo, format="kzoo", private=False, revision=None, message=None) -> str:
    """Put a model on the hub; see `ContrastiveModel.push_to_hub`."""
    hub.check_target(repo)
    with TemporaryDirectory() as folder:
        save(model, folder, format)
        disk.remove(Path(folder) / hub.CARD)
        write_card(model, folder, format, f"{repo}@{revision}" if revision else repo)
        return hub.push(folder, repo, is_own, private, revision, message or f"{model.name}, written by kzoo")
