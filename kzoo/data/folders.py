"""Pictures and texts in folders."""

from pathlib import Path

from kzoo.data.lines import read_lines
from kzoo.data.tables import READERS

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
METADATA = tuple(f"metadata{ending}" for ending in READERS)  # of Hugging Face's folders of pictures
FILE_NAME, TEXT = "file_name", "text"  # columns of its tables
SPLITS = {"train", "training", "val", "valid", "validation", "test", "eval"}  # folders that are no classes


def files_of(folder) -> list:
    """Files of a folder and those in it, sorted by path, without hidden ones: what systems and editors keep there.

    Links to folders, by which people put data sets together, are followed, those to a folder that they lie in are not.
    """
    return sorted(_walked(folder, ()))


def _walked(folder, above):
    real = folder.resolve()
    for path in () if real in above else folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walked(path, (*above, real))
        elif path.is_file():
            yield path


def pictures_of(folder) -> list:
    """The pictures of a folder and those in it, sorted by path."""
    return [path for path in files_of(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


def folder_classes(folder, pictures, fewest=2) -> tuple | None:
    """The class of each picture by the folder in `folder` that it lies in, a list of names.

    None where a picture lies in no such folder, where there are fewer than `fewest`, and where they are the parts of a
    data set.

    Example:
        >>> folder_classes(Path("pets"), [Path("pets/cat/1.jpg"), Path("pets/dog/old/2.jpg")])
        ['cat', 'dog']
    """
    parts = [path.relative_to(folder).parts for path in pictures]
    names = [each[0] for each in parts if len(each) > 1]
    known = set(names)
    if len(names) < len(parts) or len(known) < fewest or {name.lower() for name in known} <= SPLITS:
        return None
    return names


def metadata_of(folder) -> Path | None:
    """The table of a folder of pictures as Hugging Face lays it out, None where there is none."""
    return next((folder / name for name in METADATA if (folder / name).is_file()), None)


def captioned(folder) -> tuple:
    """Pictures with the captions of the text files beside them.

    Returns:
        `(rows, broken)`: list of `(path, captions)`, and sentences.

    Raises:
        ValueError: a folder of pictures without any text, such as one of classes.
    """
    files = files_of(folder)
    texts = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".txt"}
    pictures = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if pictures and not texts:
        raise ValueError(_without_captions(folder, pictures))
    rows, broken, used = [], [], set()
    for path in pictures:
        text = texts.get(path.with_suffix(""))
        used.add(text)
        try:
            captions = [] if text is None else [line.strip() for line in read_lines(text) if line.strip()]
        except ValueError as error:
            broken.append(f"{path}: {str(error).rstrip('.')}")
            continue
        if captions:
            rows.append((path, captions))
        else:
            broken.append(f"{path}: no caption in {path.with_suffix('.txt').name}")
    return rows, broken + [f"{path}: no image of that name" for path in texts.values() if path not in used]


def _without_captions(folder, pictures):
    classes = sorted({path.parent.relative_to(folder).as_posix() for path in pictures} - {"."})
    tables = [path.name for path in folder.iterdir() if path.suffix.lower() in READERS]
    if tables:
        return (
            f"{folder} has pictures but no .txt of captions beside them; give the table itself: {folder / tables[0]}."
        )
    if not classes:
        return (
            f"{folder} has pictures but no .txt of captions beside them; write one for each, a table such as "
            f"{METADATA[0]} with the columns {FILE_NAME} and {TEXT}, or give a dict with 'images' and 'captions'."
        )
    shown = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
    return (
        f"{folder} has pictures in folders of classes ({shown}) and no captions; make them of the classes: "
        "{'images': paths, 'captions': [f'a photo of a {path.parent.name}' for path in paths]} with paths = "
        f"sorted(pathlib.Path({Path(folder).as_posix()!r}).glob('*/*')), or take kzoo.data.views."
    )
