"""Export a model as verified ONNX graphs and use them with onnxruntime alone."""

import numpy as np

import kzoo

icons = kzoo.data.icons("test", size=32)
model = kzoo.from_preset("clip_nano", load_weights=False)
model.preprocessor.adapt(icons["captions"])

# each graph is run at batch 1, 2 and 5 and compared with the model before anything is left on disk
manifest = model.export("clip_onnx")
print("worst difference:", manifest["worst_difference"])

# this part needs numpy, onnxruntime, tokenizers and pillow, and no Keras: pip install 'kzoo[runtime]'
from kzoo.export import runtime  # noqa: E402

served = runtime.load("clip_onnx")
queries = ["book lock open", "arrow up"]
scores = served.encode_text(queries) @ served.encode_image(icons["images"][:100]).T
for query, row in zip(queries, scores):
    print(query, "->", [icons["captions"][index] for index in np.argsort(-row)[:3]])
assert np.allclose(served.encode_text(queries), model.encode_text(queries), atol=1e-5)
