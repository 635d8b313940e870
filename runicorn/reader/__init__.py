"""All roots and mirrors of this machine as one catalog of runs: their records, states, lists, logs. Imports
ground, metrics, and of mirror what it keeps on this disk (local_copy, run_places, verified); own_runs asks
the writer's modules about runs of this machine. Begin with catalog; sources says where runs come from;
scripts is what runicorn.runs() gives."""
