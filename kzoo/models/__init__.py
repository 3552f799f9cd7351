"""What `fit` trains."""

from kzoo.models.captioner import Captioner
from kzoo.models.contrastive import ContrastiveModel
from kzoo.models.dual_encoder import DualEncoder
from kzoo.models.matching import MatchingEncoder
from kzoo.models.multi_encoder import MultiEncoder
from kzoo.models.self_supervised import SelfSupervised

__all__ = ["Captioner", "ContrastiveModel", "DualEncoder", "MatchingEncoder", "MultiEncoder", "SelfSupervised"]
