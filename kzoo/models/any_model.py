"""What a preset opens as, in a word for type checkers."""

from typing import TYPE_CHECKING

from kzoo.models.captioner import Captioner
from kzoo.models.embedding_model import EmbeddingModel
from kzoo.models.matching import MatchingEncoder
from kzoo.models.multi_encoder import MultiEncoder
from kzoo.models.self_supervised import SelfSupervised

if TYPE_CHECKING:

    class AnyModel(Captioner, MatchingEncoder, MultiEncoder, SelfSupervised):
        """A model of any form: a name is a string, and which form it opens as is known when it is opened.

        A type checker takes it for all of them, so that it lets pass what any form has, and tells what none has.
        """

else:
    AnyModel = EmbeddingModel
