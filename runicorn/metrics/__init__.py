"""The rows of a run's events: parsed, kept as columns, thinned out for charts. Imports ground. Begin with
parse: from there a row goes to columns, curves and downsample; series is what a chart asks."""
