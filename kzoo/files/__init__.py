"""Files of any origin, read with care and written whole; it knows no model and no Keras."""
