"""The order of the files: those that take longest first, so that none of several processes is left alone with
one at the end; those of the pages together, as they share a browser (chromium.py). Files that are run by one
process: what they import or read takes seconds."""

PYTORCH = """writer/test_writer_values metrics/test_kind_tensorboard wandb/test_calls
metrics/test_kind_trainer metrics/test_kind_csv writer/test_writer writer/test_writer_copies
wandb/test_natives writer/test_images writer/test_values_bounded""".split()
SOURCES = """house/test_dead house/test_owners house/test_house house/test_types house/test_threads
house/test_sentences format/test_disk""".split()                                # support/sources.py
FIRST = ["house/test_packaging", *PYTORCH, "mirror/test_moves", "cli/test_run", "writer/test_writer_ranks",
         "guide/test_end_to_end"]
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
metrics/test_columns_wide metrics/test_samples reader/test_log mirror/test_first_sync mirror/test_sync
viewer/test_far_files house/test_missing_room""".split()
SLOWEST = [*FIRST, *PAGES, *LAST_PAGES, *OTHERS]
TOGETHER = {file: files[0] for files in (PYTORCH, SOURCES) for file in files}


def rank(item):
    """Return the place of a test (pytest.Item), to sort by: (that of its file among those that take long,
    whether it comes behind others of the file). All other files come behind these, as they stood."""
    file = named(item.nodeid)
    if file not in SLOWEST:
        return len(SLOWEST), False
    browser = "browser" in item.fixturenames
    return SLOWEST.index(file), browser if file in PAGES else not browser if file in LAST_PAGES else False


def named(test):
    """Return the file of a test (str, its node id) as it is called here: "writer/test_writer"."""
    return "/".join(test.partition("::")[0].removesuffix(".py").split("/")[-2:])


def scheduler(config, log):
    """Return what hands out whole files (xdist's LoadFileScheduling), those of TOGETHER as one, where files
    are handed out; else None. config, log: as in pytest_xdist_make_scheduler."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):             # the one place xdist has for it
            return TOGETHER.get(named(nodeid)) or super()._split_scope(nodeid)
    return Scheduling(config, log)
