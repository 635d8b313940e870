"""The order of the files: those that take longest first, so that none of several processes is left alone with
one at the end."""

SLOWEST = """guide/test_foreign_live house/test_packaging cli/test_run_joins connections/test_shortage
mirror/test_unreadable cli/test_run wandb/test_frameworks pages/test_pages_runs pages/test_pages_ages
mirror/test_verified_edits writer/test_writer_values pages/test_pages_run pages/test_pages_settings
connections/test_registry writer/test_writer_ranks format/test_records reader/test_hostile_foreign
mirror/test_turns mirror/test_moves pages/test_pages_logs mirror/test_hostile_answers connections/test_doctor
pages/test_pages_compare writer/test_run_ends pages/test_pages_follow ssh/test_system_remote
cli/test_run_files metrics/test_samples writer/test_writer_resume pages/test_pages_disk writer/test_console
writer/test_writer_ends metrics/test_columns_wide reader/test_one_truth""".split()


def rank(item):
    """Return the place of a test's file (pytest.Item) among those that take long (int); all others come
    behind them, as they stood."""
    file = "/".join(item.path.with_suffix("").parts[-2:])
    return SLOWEST.index(file) if file in SLOWEST else len(SLOWEST)
