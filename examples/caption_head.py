"""Put a captioning decoder on a contrastive model: trained on pictures with captions, or on captions alone (CLOSE)."""

import numpy as np

import kzoo
from kzoo.training import AdamW

icons = {name: values[:512] for name, values in kzoo.data.icons("train", size=32).items()}
test = kzoo.data.icons("test", size=32)

# a contrastive model to start from; of your own work take a trained one: kzoo.from_preset("clip_base")
model = kzoo.from_preset("clip_nano", load_weights=False)
model.preprocessor.adapt(icons["captions"])
data = kzoo.data.pairs(icons, model.preprocessor, batch_size=128)
model.compile(AdamW(2e-3))
model.fit(data, epochs=3, verbose=2)
before = model.encode_image(test["images"][:8])

# a decoder that attends to the image tower's tokens; the towers are locked, so that embeddings stay what they are
captioner = kzoo.Captioner.from_dual_encoder(model, depth=1)
captioner.compile(AdamW(3e-3))
captioner.fit(data, epochs=5, verbose=2)
assert np.array_equal(captioner.encode_image(test["images"][:8]), before)

# a decoder that attends to embeddings and sees no picture in training: a text's embedding, with noise, stands for one
blind = kzoo.Captioner.from_dual_encoder(model, "embedding", noise=0.1, depth=1)
blind.compile(AdamW(3e-3))
blind.fit(model.preprocessor(texts=list(icons["captions"])), batch_size=128, epochs=5, verbose=2)

# a few steps on a few icons teach first words only
for name, each in (("on pictures", captioner), ("on captions alone", blind)):
    print(f"trained {name}:", each.caption(test["images"][:3], no_repeat_ngram=2, max_length=12))
captioner.save_to_preset("my_captioner")  # kzoo.from_preset("my_captioner") opens it again, on any backend
