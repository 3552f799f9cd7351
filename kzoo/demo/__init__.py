"""`kzoo demo`: train on icons, measure, look, export, ask the export."""
