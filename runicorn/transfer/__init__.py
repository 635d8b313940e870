"""In and out: exports (CSV, TensorBoard, an HTML report), bundles, imports, and the check of a root. Imports ground, metrics, reader and
mirror.plan. Begin with export, or with check."""
