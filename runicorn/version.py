"""The version, said once; read by setup.cfg without importing the rest."""

VERSION = "1.0.0"
