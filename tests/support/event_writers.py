"""Trainings that write event files by packages that can't stand beside the tests' own. Each is run with the
folder to write into, and prints {folder below: {metric: [[step, value], …]}} of what it logged, as JSON."""

TENSORFLOW = """
import json, os, sys
import numpy as np
import tensorflow as tf
folder, logged = sys.argv[1], {}
def log(name, value, step):
    tf.summary.scalar(name, value, step=step)
    logged.setdefault(name, []).append([step, float(np.float32(value))])
for begin in (0, 120):                      # begun again: a second file in the same folder
    writer = tf.summary.create_file_writer(folder + "/plain", flush_millis=200)
    with writer.as_default():
        for step in range(begin, begin + 120):
            log("loss", 1 / (step + 1), step)
            log("steps/int", step * 1000, step)
            log("bad", [float("nan"), float("inf"), -0.0][step % 3], step)
            with tf.name_scope("scope"):
                tf.summary.scalar("double", tf.constant(step / 3, tf.float64), step=step)
            logged.setdefault("scope/double", []).append([step, float(np.float32(step / 3))])
            if step % 40 == 0:
                tf.summary.histogram("weights", tf.random.normal((100,)), step=step)
                tf.summary.image("pictures", tf.zeros((1, 8, 8, 3)), step=step)
                tf.summary.text("note", "step " + str(step), step=step)
    writer.close()
@tf.function
def traced(step):
    with inside.as_default():
        tf.summary.scalar("within a graph", tf.cast(step, tf.float32) * 0.5, step=step)
inside = tf.summary.create_file_writer(folder + "/graph")
for step in range(20):
    traced(tf.constant(step, tf.int64))
inside.close()
with tf.Graph().as_default():               # as version 1 writes: simple_value
    old = tf.compat.v1.summary.FileWriter(folder + "/v1")
    for step in range(20):
        value = tf.compat.v1.Summary.Value(tag="cost", simple_value=step / 7)
        old.add_summary(tf.compat.v1.Summary(value=[value]), step)
    old.close()
print(json.dumps({"plain": logged, "graph": {"within a graph": [[step, step * 0.5] for step in range(20)]},
                  "v1": {"cost": [[step, float(np.float32(step / 7))] for step in range(20)]}}))
"""

KERAS = """
import json, os, sys
import numpy as np
import keras
folder = sys.argv[1]
os.makedirs(folder + "/csv")
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)])
model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
history = model.fit(x, x.sum(1), epochs=4, batch_size=16, validation_split=0.25, verbose=0, callbacks=[
    keras.callbacks.TensorBoard(folder + "/logs", update_freq=1, histogram_freq=2),
    keras.callbacks.CSVLogger(folder + "/csv/training.log")]).history
rows = {name: [[epoch, value] for epoch, value in enumerate(values)] for name, values in history.items()}
print(json.dumps({
    "logs/train": {"epoch_" + name: rows[name] for name in ("loss", "mae")},
    "logs/validation": {"epoch_" + name: rows["val_" + name] for name in ("loss", "mae")}, "csv": rows}))
"""
