"""How a model leaves: as a preset, to the hub, as graphs; done by rooms above it, which say so in `kzoo.actions`."""

from kzoo import actions


class Leaving:
    """`save_to_preset`, `push_to_hub` and `export` of every model."""

    def save_to_preset(self, folder, format="kzoo", optimizer=False):
        """Write the model into a folder that `kzoo.from_preset(folder)` opens, on any backend.

        Args:
            folder: path; made if it is not there.
            format: `"kzoo"` (`config.json`, `model.weights.h5`, `tokenizer.json`), or the layout of another library,
                `"transformers"` or `"open_clip"`, which then opens it too.
            optimizer: False keeps the weights alone. True keeps the state of the training beside them, three times the
                size: `from_preset` then gives a compiled model, whose `fit` goes on where this one stopped.

        The loss that the model was compiled with is kept: `compile()` of what opens takes it where it is given none.
        A model card, `README.md`, is written beside it; a `README.md` that kzoo did not write stays as it is.

        Raises:
            ValueError: no preprocessor, a format that cannot describe this model, or an optimizer of a model that is
                not compiled; nothing is written.
        """
        actions.perform("save_to_preset", self, folder, format=format, optimizer=optimizer)

    def push_to_hub(self, repo, format="kzoo", private=False, revision=None, message=None):
        """Put the model on the Hugging Face Hub, where `kzoo.from_preset("hf://owner/name")` opens it.

        The files and the card of `save_to_preset` are written into a temporary folder and uploaded by the hub's own
        client: token, endpoint and progress bar are its own (`hf auth login` or `HF_TOKEN`, `HF_ENDPOINT`). Other files
        of the repository stay, and so does a `README.md` that kzoo did not write.

        Args:
            repo: `"owner/name"`; made if it is not there.
            format: as in `save_to_preset`.
            private: of a repository that is made now; one that is there stays what it is.
            revision: branch to commit to, made if it is not there; default the main one.
            message: of the commit.

        Returns:
            str: URL of the commit.

        Raises:
            ValueError: not a name of the hub, or as in `save_to_preset`; nothing is uploaded.
            PermissionError: no token, or one that may not write there.
            ConnectionError: the client is offline, the hub cannot be reached or refuses the files.

        Example:
            >>> model.push_to_hub("me/my-clip", private=True)
            'https://huggingface.co/me/my-clip/commit/...'
        """
        options = {"format": format, "private": private, "revision": revision, "message": message}
        return actions.perform("push_to_hub", self, repo, **options)

    def export(self, folder, format="onnx", **kwargs):
        """Write verified graphs that run without Keras; see `kzoo.export.export`.

        Args:
            folder: path of the folder to write.
            format: `"onnx"` or `"tf_saved_model"`.

        Returns:
            dict: the manifest, with the worst difference between graph and model.
        """
        return actions.perform("export", self, folder, format=format, **kwargs)
