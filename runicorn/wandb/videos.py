"""`monitor_gym=True`: the films that Gymnasium's RecordVideo, or Gym's recorder, writes are logged as
"videos"."""

import os
import sys
from importlib import import_module

from runicorn.wandb.data_types import Video
from runicorn.writer import current
from runicorn.writer.values import attempt

RECORDERS = (("gymnasium.wrappers", "RecordVideo", "stop_recording"),
             ("gymnasium.wrappers.monitoring.video_recorder", "VideoRecorder", "close"),
             ("gym.wrappers.monitoring.video_recorder", "VideoRecorder", "close"))
_patched = set()


def monitor():
    """Log each film when it is written."""
    for module_name, class_name, method_name in RECORDERS:
        if module_name.partition(".")[0] in sys.modules or module_name == RECORDERS[0][0]:
            module = attempt(import_module, module_name)[0]
            recorder = getattr(module, class_name, None)
            if hasattr(recorder, method_name) and recorder not in _patched:
                _patched.add(recorder)
                _wrap(recorder, method_name)


def _wrap(recorder, method_name):
    original = getattr(recorder, method_name)

    def stop(self, *args, **kwargs):
        path = getattr(self, "path", None) or os.path.join(
            str(getattr(self, "video_folder", "")), f"{getattr(self, '_video_name', None)}.mp4")
        result = original(self, *args, **kwargs)
        run = current.current_run()
        if run is not None and os.path.isfile(path):
            run.log({"videos": Video(path)}, commit=False)
        return result
    setattr(recorder, method_name, stop)
