"""Glue to training frameworks: one small file each, importing its framework only when used."""
