"""What reading may cost: every limit, with its reason. Whoever means more sets one: `limits.PIXELS = 500_000_000`.

They bound what a file of a few bytes can make of itself; no released model or picture of a camera comes near.

Example:
    >>> from kzoo.files import limits
    >>> limits.PIXELS = 500_000_000
"""

MIB = 2**20

# -- pictures --
# of Pillow's some fifty formats, those in which pictures for models come: none that runs an interpreter, as PostScript
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000")
PIXELS = 178_956_970  # of a picture, decoded; Pillow's own limit is the same, PIL.Image.MAX_IMAGE_PIXELS times two

# -- texts and tables --
TEXT = 2**14  # characters of a text that a tokenizer reads at first; it goes on only while they fill no context
LINE = 16 * MIB  # characters of a line of a table or of captions
STRINGS = 2**31  # bytes of an array of strings that is written, in which each takes the room of the longest

# -- configs and vocabularies --
CONFIG = 16 * MIB  # bytes of a config or manifest
VOCABULARY = 256 * MIB  # bytes of a file of a vocabulary; a .gz, unpacked
TOKENS = 2**22  # ids of a vocabulary
DEPTH = 32  # objects and lists within each other in a JSON file; braces in a pattern
INSERTED = 1024  # characters that a step of a tokenizer puts in place of what it finds
GROWTH = 128  # characters that all steps of a normalizer together make of one; the maps of released models reach 33
PASSES = 64  # steps of a normalizer, or of what divides texts: each goes through all of a text
PIECE = 1024  # characters of a piece of a sentencepiece model, whose halves are looked for one by one
INDEX = 64 * MIB  # bytes of an index of shards

# -- shards --
SHARDS = 2**20  # files that a pattern with braces stands for
MEMBERS = 2**22  # of a tar
RECORD = 2**20  # bytes of a record that a tar has before a member, such as a long name
PICTURE = 256 * MIB  # bytes of a picture in a shard, as it is packed
GROUP = 4096 * MIB  # bytes of the columns that are read of a group of rows in a parquet file, unpacked

# -- weights --
HEADER = 8 * MIB  # bytes of the header of a safetensors file: some 80,000 tensors, which take a second or two to list
PARAMETERS = 2**34  # of a model that a config describes
FIXED = 2**26  # numbers of a table of positions that is computed, so that no weights bound it
UNPACKED = 64 * MIB  # bytes of a compressed tensor that are unpacked whatever it was packed into
EXPANSION = 200  # bytes that one byte of a compressed tensor may become beyond that

# -- exports --
FOLDED = 16 * MIB  # bytes of a constant that onnxruntime computes as it opens a graph whose file is smaller

# -- numbers of trainings --
STEPS = 2**53  # and epochs, batches, seeds

# -- numbers of configs --
SIDE = 2**14  # pixels
WIDTH = 2**18  # channels
BLOCKS = 2**12
LENGTH = 2**20  # ids of a text, positions
