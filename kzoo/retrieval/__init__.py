"""Search among stored embeddings, exact or by short codes, and among pairs that a cross-encoder scores. In numpy.

It knows no model and no Keras: embeddings may come from a model, an export or a file.
"""

from kzoo.retrieval.binary import BinaryIndex
from kzoo.retrieval.cur import CURSearch
from kzoo.retrieval.exact import ExactIndex
from kzoo.retrieval.found import Found, recall
from kzoo.retrieval.index import Index
from kzoo.retrieval.product import ProductIndex

__all__ = ["BinaryIndex", "CURSearch", "ExactIndex", "Found", "Index", "ProductIndex", "recall"]
