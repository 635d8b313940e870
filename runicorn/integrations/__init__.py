"""Glue to training frameworks: one small module each, which imports its framework and the writer. It travels
with the server copy. Begin with lightning."""
