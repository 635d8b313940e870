"""`runicorn.SummaryWriter`, a drop-in of torch's: `from runicorn import SummaryWriter` in place of `from
torch.utils.tensorboard …`."""

import os

from runicorn.wandb import data_types, plot
from runicorn.writer import api
from runicorn.writer.images import array_of
from runicorn.writer.notice import say
from runicorn.writer.values import attempt, plain, reason


class SummaryWriter:
    """Writes into the current run, at `global_step`; without one a run begins whose name is the last part of
    log_dir. It needs neither torch nor tensorboard. No method raises; graphs, embeddings and meshes are not
    recorded.

    log_dir: path. comment: str, behind the run's name. run: an existing Run. options: arguments of
    `runicorn.init`. The rest is torch's.
    """

    def __init__(self, log_dir=None, comment="", purge_step=None, max_queue=10, flush_secs=120,
                 filename_suffix="", run=None, **options):
        self.log_dir = os.fspath(log_dir or "runs")
        name = os.path.basename(os.path.normpath(self.log_dir)) if log_dir else "default"
        self._run = run or api.current_run()
        self._owns = self._run is None
        if self._owns:
            self._run = api.init(**{"name": name + comment, **options})

    def _log(self, tag, value, step):
        self._run.log({tag: value}, step, commit=step is not None)

    def add_scalar(self, tag, scalar_value, global_step=None, *args, **more):
        """Log a number."""
        self._log(tag, scalar_value, global_step)

    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None, *args):
        """Log several numbers as "main_tag/name"."""
        self._run.log({f"{main_tag}/{name}": value for name, value in dict(tag_scalar_dict).items()},
                      global_step, commit=global_step is not None)

    def add_histogram(self, tag, values, global_step=None, *args, **more):
        """Log how many values lie in each of 64 bins."""
        self._log(tag, data_types.Histogram(values), global_step)

    def add_image(self, tag, img_tensor, global_step=None, walltime=None, dataformats="CHW"):
        """Log an image: an array or tensor whose dimensions `dataformats` names."""
        self._log(tag, data_types.Image(_as(img_tensor, dataformats, "HWC")), global_step)

    def add_images(self, tag, img_tensor, global_step=None, walltime=None, dataformats="NCHW"):
        """Log several images."""
        images, error = attempt(lambda: [data_types.Image(image)
                                         for image in _as(img_tensor, dataformats, "NHWC")])
        if error is None:
            self._log(tag, images, global_step)
        else:
            say(f"add_images({tag!r}): {reason(error)}", once=("add_images", tag))

    def add_figure(self, tag, figure, global_step=None, close=True, walltime=None):
        """Log a figure of matplotlib, or several."""
        figures = figure if isinstance(figure, (list, tuple)) else [figure]
        self._log(tag, [data_types.Image(each) for each in figures], global_step)

    def add_video(self, tag, vid_tensor, global_step=None, fps=4, walltime=None):
        """Log a film: batch x frames x channels x height x width."""
        self._log(tag, data_types.Video(vid_tensor, fps=fps), global_step)

    def add_audio(self, tag, snd_tensor, global_step=None, sample_rate=44100, walltime=None):
        """Log sound: samples from -1 to 1."""
        sound = array_of(snd_tensor)
        self._log(tag, data_types.Audio(sound.reshape(-1) if hasattr(sound, "reshape") else sound,
                                        sample_rate), global_step)

    def add_text(self, tag, text_string, global_step=None, walltime=None):
        """Log a text."""
        self._log(tag, text_string, global_step)

    def add_hparams(self, hparam_dict, metric_dict, hparam_domain_discrete=None, run_name=None,
                    global_step=None):
        """Put settings into the config and numbers into the summary."""
        self._run.config.update(plain(dict(hparam_dict), "add_hparams"))
        self._run.summary.update(plain(dict(metric_dict), "add_hparams"))

    def add_pr_curve(self, tag, labels, predictions, global_step=None, *args, **more):
        """Log precision over recall. labels: 0 or 1; predictions: probabilities."""
        pairs = [[1 - score, score] for score in array_of(predictions).tolist()]
        self._log(tag, plot.pr_curve([int(label) for label in array_of(labels).tolist()], pairs), global_step)

    def add_graph(self, *args, **kwargs):
        """Not recorded."""

    add_onnx_graph = add_embedding = add_mesh = add_custom_scalars = add_graph
    add_custom_scalars_multilinechart = add_custom_scalars_marginchart = add_graph
    add_histogram_raw = add_image_with_boxes = add_pr_curve_raw = add_tensor = flush = add_graph

    def get_logdir(self):
        """Return log_dir (str)."""
        return self.log_dir

    def close(self):
        """End the run, if this began it."""
        if self._owns:
            self._run.finish()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self._owns:
            self._run.__exit__(kind, error, trace)


def _as(image, axes, target):
    """Return an array whose dimensions are called as `axes` says, in the order of `target`, as far as it has
    them."""
    array = array_of(image)
    if not hasattr(array, "transpose") or len(axes) != len(getattr(array, "shape", ())):
        return array
    return array.transpose([axes.upper().index(letter) for letter in target if letter in axes.upper()])
