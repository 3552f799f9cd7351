"""Lists of anything in; embeddings, classes and captions out: shared by models, exports and servers. No Keras here."""
