"""The names of W&B's package and run, of its versions from 0.12 to 0.31, and which module of ours answers
each. The rest is inert."""

PUBLIC = frozenset("""
    AlertLevel Api Artifact ArtifactTTL Audio Classes CommError Config Error EvalTable Graph Histogram Html
    Image InternalApi JoinedTable Molecule Object3D Plotly PublicApi Run Settings Table UsageError Video agent
    agents alert analytics annotations api apis attach beta_wandb_config box3d catboost config controller
    data_types define_metric docker ensure_configured env errors fastai filesync finish get_ipython gym helper
    init integration join jupyter keras lightgbm link_model load_ipython_extension log log_artifact log_model
    login mark_preempting old patched pin_config_keys plot plot_table plots profiler proto require restore run
    sacred sagemaker_auth save sdk set_trace setup sklearn summary sweep sync teardown tensorboard tensorflow
    termerror termlog termsetup termwarn trigger unwatch use_artifact use_model util vendor visualize viz
    wandb wandb_agent wandb_controller wandb_lib wandb_run wandb_sdk wandb_torch watch xgboost""".split())

RUN = frozenset("""
    _label alert config_static disabled display entity finish_artifact get_project_url get_sweep_url get_url
    group history job_type join link_artifact link_model log_artifact log_code log_model mark_preempting mode
    offline pin_config_keys plot_table project_name project_url restore save settings start_time starting_step
    status sweep_id sweep_url sync_dir to_html unwatch upsert_artifact url use_artifact use_model
    write_logs""".split())

# Names that are private in W&B's and read by others all the same.
PRIVATE = frozenset(("_attach", "_label", "_teardown"))

MODULES = frozenset("""
    agents analytics apis artifacts auth automations backend base_types beta box3d catboost cli config_util
    data_types diffusers docker env errors fastai filesync gym helper_types history huggingface integration
    interface internal internal_api ipython jupyter keras kfp langchain launch lib lightgbm lightning magic
    metaflow module old openai paths plot plots prodigy proto public runid sacred sagemaker sb3 sdk sklearn
    summary sync telemetry tensorboard tensorflow term torch trigger ultralytics util vendor verify viz
    wandb_agent wandb_alerts wandb_artifacts wandb_config wandb_controller wandb_init wandb_lib wandb_login
    wandb_metric wandb_run wandb_sdk wandb_settings wandb_setup wandb_summary wandb_sweep wandb_torch
    wandb_watch xgboost""".split())

OWN = frozenset("""aliases artifacts beginning callbacks calls copies facade files inert methods names rows
    settings table terms videos watching""".split())

SAME = {"wandb_lib": "sdk.lib", "wandb_sdk": "sdk", "wandb_torch": "integration.torch",
        "visualize": "plot.visualize"}

CALLS = """alert define_metric ensure_configured finish join link_artifact link_model log log_artifact
    log_code log_model login mark_preempting pin_config_keys require restore save setup teardown unwatch
    use_artifact use_model watch _attach attach""".split()

# name: the module of ours that has it
HOMES = {
    **dict.fromkeys(CALLS, "calls"), "init": "beginning", "Settings": "settings",
    "Run": "facade", "RunDisabled": "facade",
    **dict.fromkeys(("Error", "CommError", "UsageError", "AuthenticationError", "ConfigError", "AlertLevel",
                     "WaitTimeoutError"), "errors"),
    **dict.fromkeys("termlog termwarn termerror termsetup".split(), "terms"),
}

MEDIA = ("Audio Bokeh Classes EvalTable Graph Histogram Html Image JoinedTable Molecule Object3D Plotly "
         "Table Video box3d".split())
HOMES.update(dict.fromkeys(MEDIA, "data_types"), **dict.fromkeys(("plot_table", "CustomChart"), "plot"),
             **dict.fromkeys(("Artifact", "ArtifactTTL"), "artifacts"),
             **dict.fromkeys(("generate_id", "generate_fast_id"), "util"), Config="facade", Summary="facade")

# module of an integration: {name: the function of callbacks that makes it}
CALLBACKS = {"sb3": {"WandbCallback": "stable_baselines"},
             "keras": {"WandbCallback": "keras_metrics", "WandbMetricsLogger": "keras_metrics",
                       "WandbModelCheckpoint": "keras_checkpoint", "WandbEvalCallback": "keras_nothing"},
             "xgboost": {"WandbCallback": "xgboost_metrics", "wandb_callback": "xgboost_metrics"},
             "lightgbm": {"wandb_callback": "lightgbm_metrics"},
             "fastai": {"WandbCallback": "fastai_metrics"},}
