"""The order of the files: those that take longest first, so that none of several processes is left alone with
one at the end."""

SLOWEST = """house/test_packaging mirror/test_verified_edits wandb/test_frameworks cli/test_run
guide/test_foreign_live connections/test_registry pages/test_pages_run pages/test_pages_runs
writer/test_writer_values pages/test_pages_settings guide/test_end_to_end
connections/test_shortage cli/test_run_ranks mirror/test_unreadable mirror/test_turns
mirror/test_moves pages/test_pages_ages format/test_records writer/test_writer_ranks
reader/test_hostile_foreign mirror/test_hostile_answers connections/test_doctor
pages/test_pages_logs pages/test_pages_compare writer/test_run_ends ssh/test_system_remote
cli/test_run_files metrics/test_samples pages/test_pages_follow pages/test_pages_scale
writer/test_writer_resume writer/test_console writer/test_writer_ends metrics/test_columns_wide
reader/test_one_truth""".split()


def rank(item):
    """Return the place of a test's file (pytest.Item) among those that take long (int); all others come
    behind them, as they stood."""
    file = "/".join(item.path.with_suffix("").parts[-2:])
    return SLOWEST.index(file) if file in SLOWEST else len(SLOWEST)
