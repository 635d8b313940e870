"""The order of the files: those that take longest first, so that none of several processes is left alone with
one at the end; those of the pages together, as they share a browser (chromium.py)."""

FIRST = """house/test_packaging mirror/test_moves cli/test_run metrics/test_kind_tensorboard
writer/test_writer_values writer/test_writer_ranks guide/test_end_to_end""".split()
# The tests of a file without a browser end the one that ran before them: they come before the others here …
PAGES = """pages/test_pages_runs pages/test_pages_floor transfer/test_export reader/test_hostile_foreign
guide/test_foreign_live pages/test_pages_run pages/test_pages_settings
pages/test_pages_ages pages/test_pages_logs pages/test_pages_access pages/test_pages_compare
pages/test_pages_small pages/test_pages_scale pages/test_pages_follow pages/test_pages_verified
pages/test_pages_bounded pages/test_pages_patch pages/test_pages_rules pages/test_pages_heads
pages/test_pages_step_metric pages/test_pages_short_ids pages/test_pages_disk
pages/test_pages_system_ssh""".split()
# … and behind them here.
LAST_PAGES = """reader/test_home_root reader/test_foreign_page format/test_text_in_rows
connections/test_others_there""".split()
OTHERS = """metrics/test_kind_wandb writer/test_writer_resume writer/test_screen
ssh/test_system_remote writer/test_killed_workers reader/test_one_truth connections/test_doctor
mirror/test_hostile_answers writer/test_integrations mirror/test_verified_edits
mirror/test_unreadable connections/test_registry mirror/test_foreign_list cli/test_run_joins
guide/test_guide_training cli/test_cli_remote house/test_documents format/test_records
format/test_manifest_growth writer/test_console writer/test_writer_ends reader/test_bounded_lists
cli/test_run_files reader/test_last_values cli/test_run_terminal mirror/test_turns
metrics/test_columns_wide wandb/test_calls reader/test_log mirror/test_first_sync mirror/test_sync
viewer/test_far_files house/test_missing_room""".split()
SLOWEST = [*FIRST, *PAGES, *LAST_PAGES, *OTHERS]


def rank(item):
    """Return the place of a test (pytest.Item), to sort by: (that of its file among those that take long,
    whether it comes behind others of the file). All other files come behind these, as they stood."""
    file = "/".join(item.path.with_suffix("").parts[-2:])
    if file not in SLOWEST:
        return len(SLOWEST), False
    browser = "browser" in item.fixturenames
    return SLOWEST.index(file), browser if file in PAGES else not browser if file in LAST_PAGES else False
