"""In and out: exports (CSV, TensorBoard, an HTML report), datasets (Parquet), bundles, imports, and the check
of a root. Imports ground, metrics, reader and mirror.plan. Begin with export, export_dataset, or with
check."""
