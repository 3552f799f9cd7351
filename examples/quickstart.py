"""Train a small CLIP on icons for half a minute and measure it on icons it has never seen."""

import kzoo
from kzoo.training import TimeBudget

train, test = kzoo.data.icons("train", size=32), kzoo.data.icons("test", size=32)

model = kzoo.from_preset("clip_nano", load_weights=False)
model.preprocessor.adapt(train["captions"])  # clip_nano has no vocabulary of its own: learn one

model.compile("clip_adamw")
model.fit(
    kzoo.data.pairs(train, model.preprocessor, batch_size=256),
    epochs=1000,  # more than half a minute holds
    callbacks=[TimeBudget(minutes=0.5, learning_rate=2e-3)],
    verbose=2,
)

results = model.evaluate(kzoo.data.pairs(test, model.preprocessor, batch_size=256, shuffle=False), verbose=0)
for name, value in results.items():
    print(f"{name}: {value:.3f}")

model.save_to_preset("my_clip")  # kzoo.from_preset("my_clip") opens it again, on any backend
