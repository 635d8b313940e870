"""Plain text logs: lines as trainings print them, what counts them, bars, restarts; what is no training."""

import logging
import math
import random
import time

import pytest
from kind_cuts import Growing, check_cuts, points, steps_and_values, whole
from kind_of_text import kind_of

from runicorn.metrics.kinds.log_line import read_line
from runicorn.metrics.kinds.text_log import Reader

NOW = 1720000000.0          # July 2024


@pytest.mark.parametrize("text, step, epoch, pairs", [
    ("iter 250: loss 2.3100, time 12.50ms, mfu 1.2%", 250, None, {"loss": 2.31, "time": 12.5, "mfu": 1.2}),
    ("step 0: train loss 4.2871, val loss 4.2823", 0, None, {"train loss": 4.2871, "val loss": 4.2823}),
    ("Epoch: [0][  10/5005]\tTime  0.500 ( 0.450)\tLoss 6.9e+00 (7.0e+00)\tAcc@1   0.00 (  0.00)", 10, 0,
     {"Time": 0.5, "Loss": 6.9, "Acc@1": 0}),
    ("Epoch [3/10], Step [100/600], Loss: 0.2512", 100, 3, {"Loss": 0.2512}),
    ("Train Epoch: 1 [640/60000 (1%)]\tLoss: 2.300000", 640, 1, {"Loss": 2.3}),
    ("Test set: Average loss: 0.0253, Accuracy: 9916/10000 (99%)", None, None,
     {"Average loss": 0.0253, "Accuracy": 9916}),
    ("2024-05-01 12:00:00,123 - mmdet - INFO - Epoch [1][50/7330]\tlr: 1.978e-03, eta: 16:02:01, "
     "memory: 3900, loss: 0.55", 50, 1,
     {"lr": 0.001978, "memory": 3900, "loss": 0.55}),
    ("05/01 12:00:00 - mmengine - INFO - Epoch(train)  [1][  50/7330]  lr: 1.9e-04  eta: 1:00:00  loss: 1.5",
     50, 1, {"lr": 0.00019, "loss": 1.5}),
    ("05/01 12:00:00 - mmengine - INFO - Iter(train) [  50/160000]  lr: 1.9e-04  loss: 1.5", 50, None,
     {"lr": 0.00019, "loss": 1.5}),
    ("05/01 12:00:00 - mmengine - INFO - Epoch(val) [1][100/100]    coco/bbox_mAP: 0.3000", None, 1,
     {"val/coco/bbox_mAP": 0.3}),
    ("[05/01 12:00:00 d2.utils.events]:  eta: 0:30:00  iter: 19  total_loss: 1.5  max_mem: 2000M", 19, None,
     {"total_loss": 1.5, "max_mem": 2000}),
    ("{'loss': 0.6931, 'learning_rate': 5e-05, 'epoch': 0.5}", None, 0.5,
     {"loss": 0.6931, "learning_rate": 5e-05}),
    ("{'loss': '0.6932', 'epoch': '2.7', 'note': 'text'}", None, 2.7, {"loss": 0.6932}),
    ('{"loss": 0.5, "step": 12}', 12, None, {"loss": 0.5}),
    (" 45%|████      | 450/1000 [00:12<00:15, 35.2it/s, loss=0.123, acc=0.9]", 450, None,
     {"loss": 0.123, "acc": 0.9}),
    ("Epoch 3: 100%|███| 50/50 [00:01<00:00, 30.12it/s, v_num=0, train_loss=0.500]", 50, 3,
     {"train_loss": 0.5}),
    ("loss: 0.5123:  45%|████ | 450/1000 [00:12<00:15, 35.2it/s]", 450, None, {"loss": 0.5123}),
    ("100%|██| 10/10 [00:01<00:00, 9.1it/s]{'eval_loss': 0.5, 'epoch': 1.0}", None, 1.0, {"eval_loss": 0.5}),
    ("469/469 ━━━━━━━━━━━━━ 2s 3ms/step - accuracy: 0.9123 - loss: 0.3012 - val_loss: 0.5", 469, None,
     {"accuracy": 0.9123, "loss": 0.3012, "val_loss": 0.5}),
    ("step    1/74 | loss 4.366470 (+nanz)| norm 15.5 (+nanz)| lr 1.00e-04 | 50.05 ms", 1, None,
     {"loss": 4.36647, "norm": 15.5, "lr": 1e-4}),
    ("Iter 10: Train loss 2.512, Learning Rate 1.0e-05, It/sec 1.512, Peak mem 12.012 GB", 10, None,
     {"Train loss": 2.512, "Learning Rate": 1e-05, "It/sec": 1.512, "Peak mem": 12.012}),
    ("2024-05-01 12:00:00 | INFO | train_inner | epoch 001:    100 / 5000 loss=5.5, ppl=20.1, "
     "num_updates=100, lr=0.001", 100, 1,
     {"loss": 5.5, "ppl": 20.1, "lr": 0.001}),
    (" iteration       10/  500000 | consumed samples:          160 | learning rate: 1.0E-04 | lm loss: "
     "1.04E+01 |", 10, None,
     {"consumed samples": 160, "learning rate": 1e-4, "lm loss": 10.4}),
    ("step:5 - global_seqlen/min:100 - actor/entropy:0.5 - timing_s/gen:12.3", 5, None,
     {"global_seqlen/min": 100, "actor/entropy": 0.5, "timing_s/gen": 12.3}),
    ("I0501 12:00:00.123456 140123 train.py:100] step: 10, loss: 0.5000", 10, None, {"loss": 0.5}),
    ("tensor loss: tensor(0.5000, device='cuda:0') acc=np.float32(0.25)", None, None,
     {"tensor loss": 0.5, "acc": 0.25}),
    ("Epoch 3 loss 0.5 acc 0.9", None, 3, {"loss": 0.5, "acc": 0.9}),
    ("Training Loss: 0.5 Validation Loss: 0.6", None, None, {"Training Loss": 0.5, "Validation Loss": 0.6}),
    ("Val: loss: 0.6 acc: 0.5", None, None, {"val/loss": 0.6, "val/acc": 0.5}),
    ("Test:  [ 0/50]  eta: 0:00:10  loss: 0.5 (0.5)  acc1: 88.2 (88.2)", None, None,
     {"test/loss": 0.5, "test/acc1": 88.2}),
    ("epoch: 3, loss: nan, acc: -inf", None, 3, {"loss": math.nan, "acc": -math.inf}),
    ("ep: 0, batch: 20, time: 9.17, loss: 10.984375", 20, 0, {"time": 9.17, "loss": 10.984375}),
    ("| epoch 12 |   200/ 2983 batches | lr 5.00 | ms/batch 12.3 | loss  4.5 | ppl 90.1", 200, 12,
     {"lr": 5, "ms/batch": 12.3, "loss": 4.5, "ppl": 90.1}),
    ("[2,  4000] loss: 1.2", 4000, 2, {"loss": 1.2}),
    ("global_step=500, episodic_return=21.0", 500, None, {"episodic_return": 21}),
    ("version: 3.8.1 date: 2024-05-01 time: 12:30:00 sha: 12ab34 http://localhost:8080/x numpy==1.26.0", None,
     None, {}),
    ("name 1.23 and another 4.5", None, None, {}), ("", None, None, {}), ("=" * 300, None, None, {}),
])
def test_lines(text, step, epoch, pairs):
    line = read_line(text, NOW)
    assert (line.step, line.epoch) == (step, epoch)
    assert repr(line.pairs) == repr({name: float(value) for name, value in pairs.items()})


@pytest.mark.parametrize("text, ts, is_naive", [
    ("2024-05-01T12:00:00Z loss=1", 1714564800, False),
    ("2024-05-01 12:00:00+02:00 loss=1", 1714557600, False),
    ("[2024-05-01 12:00:00,123][train][INFO] - loss=1", 1714564800.123, True),
    ("2024/05/01 12:00:00 loss=1", 1714564800, True),
    ("INFO 2024-05-01 12:00:00 loss=1", 1714564800, True),
    ("May  1 12:00:00 host train[7]: loss=1", 1714564800, True),
    ("Dec 31 12:00:00 host train[7]: loss=1", 1704024000, True),
    ("I0501 12:00:00.5 7 a.py:1] loss=1", 1714564800.5, True),
    ("[05/01 12:00:00 d2.utils.events]: loss=1", 1714564800, True), ("12:00:00 loss=1", None, False),
    ("2024-13-41 12:00:00 loss=1", None, False),
])
def test_stamps(text, ts, is_naive):
    line = read_line(text, NOW)
    assert (line.ts, line.is_naive) == (ts, is_naive) and line.pairs == {"loss": 1}


def nanogpt(steps=300, start=0):
    lines = ["number of parameters: 10.65M", "using fused AdamW: False"]
    for step in range(start, steps, 10):
        if step % 100 == 0:
            lines += [f"step {step}: train loss {4 / (step + 1):.4f}, val loss {5 / (step + 1):.4f}",
                      "saving checkpoint to out"]
        lines.append(f"iter {step}: loss {3 / (step + 1):.4f}, time {12.5 + step:.2f}ms, mfu 1.20%")
    return "\n".join(lines).encode() + b"\n"


def test_nanogpt_and_its_restart():
    read = check_cuts(Reader, nanogpt())
    assert kind_of("train.log", nanogpt()[:4096]) == "log"
    assert steps_and_values(read.parts, "loss") == [
        (step, float(f"{3 / (step + 1):.4f}")) for step in range(0, 300, 10)]
    assert [step for step, _ in steps_and_values(read.parts, "val loss")] == [0, 100, 200]
    assert read.reader.facts() == {"no_times": True}
    read = check_cuts(Reader, nanogpt() + nanogpt(400, 200))
    assert [purge[1] for purge in read.reader.facts()["purges"]] == [200]
    assert read.reader.facts()["restarts"] == 1


def test_a_name_is_a_metric_from_its_fifth_line_on_with_all_its_lines():
    growing = Growing(Reader)
    for step in range(4):
        growing.grow(f"loss={step / 4}\n".encode())
    assert growing.parts == [] and not growing.reader.is_open
    growing.grow(b"loss=9.5\n")
    assert steps_and_values(growing.parts, "loss") == [(0, 0), (1, 0.25), (2, 0.5), (3, 0.75), (4, 9.5)]
    growing.grow(b"rare=1.5\nloss=1\n")
    assert set(points(growing.parts)) == {"loss"}


def test_beside_a_counter_every_name_is_a_metric_once_one_is():
    data = ("lr: 0.1\nbatch_size: 32\n" + "".join(f"epoch {n}: loss=0.{n}\n" for n in range(1, 8))
            + "epoch 8: val_loss=0.5\nwarmup=3.5\n")
    read = check_cuts(Reader, data.encode())
    assert {name: len(rows) for name, rows in points(read.parts).items()} == {"loss": 7, "val_loss": 1}
    assert steps_and_values(read.parts, "val_loss") == [(8, 0.5)]


def test_steps_in_each_epoch_go_on_and_evaluations_stand_where_the_training_is():
    lines = []
    for epoch in range(3):
        lines += [f"Epoch: [{epoch}][{step:4d}/505]\tLoss {epoch}.5 (1.0)" for step in range(0, 505, 100)]
        lines.append(f"Test: [0/20]\tLoss: {epoch}.25 (1.0)\tAcc@1: {epoch}.5")
    read = check_cuts(Reader, "\n".join(lines).encode() + b"\n")
    steps = [step for step, _ in steps_and_values(read.parts, "Loss")]
    assert steps == [505 * epoch + step for epoch in range(3) for step in range(0, 505, 100)]
    assert [step for step, _ in steps_and_values(read.parts, "test/Loss")] == [500, 1005, 1510]
    assert "purges" not in read.reader.facts()


def test_bars_count_by_their_last_state():
    bars = []
    for epoch in range(6):
        states = [f"Epoch {epoch}:  {step:3d}%|███| {step}/100 [00:01<00:02, 9.5it/s, "
                  f"loss={1 / (step + epoch + 1):.3f}]"
                  for step in range(101)]
        bars.append("\r" + "\r".join(states) + ("\r" if epoch % 2 else ""))
    data = ("\n".join(bars) + "\n").encode()
    read = check_cuts(Reader, data)
    assert steps_and_values(read.parts, "loss") == [
        (100 * (epoch + 1), float(f"{1 / (101 + epoch):.3f}")) for epoch in range(6)]


def test_a_bar_that_never_ends_its_line_stays_in_bounded_memory():
    growing = Growing(Reader).grow(b"start\n")
    for step in range(3000):
        growing.grow(b"\r %d%%|#| %d/3000 [00:01<00:02, loss=0.5]" % (step // 30, step) * 10)
    assert len(growing.data) - growing.position < 200 and len(repr(growing.reader.state())) < 3000


def test_colours_and_keras():
    data = "".join(f"Epoch {epoch}/6\n\x1b[1m50/50\x1b[0m \x1b[32m━━━━━━\x1b[0m\x1b[37m\x1b[0m "
                   "\x1b[1m1s\x1b[0m 5ms/step - "
                   f"accuracy: 0.{epoch} - loss: {7 - epoch}.5\n" for epoch in range(1, 7))
    read = check_cuts(Reader, data.encode())
    assert steps_and_values(read.parts, "loss") == [(50 * epoch, 7.5 - epoch) for epoch in range(1, 7)]


def test_logging_of_python_tells_times(tmp_path):
    path = tmp_path / "train.log"
    logger = logging.getLogger("of a test")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    for step in range(20):
        logger.info("step=%d loss=%.4f acc: %.2f%%", step, 1 / (step + 1), step)
    logger.removeHandler(handler)
    handler.close()
    read = check_cuts(Reader, path.read_bytes())
    assert kind_of("train.log", path.read_bytes()) == "log"
    assert len(steps_and_values(read.parts, "loss")) == 20
    assert steps_and_values(read.parts, "acc")[-1] == (19, 19)
    shift = time.timezone if not time.localtime().tm_isdst else time.altzone
    assert all(abs(ts + shift - time.time()) < 600 for part in read.parts for ts in part.ts)
    assert read.reader.facts() == {"naive_times": True}


def test_transformers_prints_dicts():
    data = "".join(f"{{'loss': '{1 / n:.4f}', 'grad_norm': '1.5', 'learning_rate': '{n}e-05', "
                   f"'epoch': '{n / 4}'}}\n"
                   + (f"{{'eval_loss': '{n}', 'epoch': '{n / 4}'}}\n" if n % 4 == 0 else "")
                   for n in range(1, 25))
    read = check_cuts(Reader, data.encode())
    assert kind_of("nohup.out", data.encode()[:4096]) == "log"
    assert steps_and_values(read.parts, "loss") == [(n / 4, float(f"{1 / n:.4f}")) for n in range(1, 25)]
    assert steps_and_values(read.parts, "eval_loss") == [(n / 4, n) for n in range(4, 25, 4)]


# -- damage and hostility ------------------------------------------------------------------------------------


def test_encodings():
    data = nanogpt().decode()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        read = whole(Reader, data.encode(encoding))
        assert read.parts == [] and read.reader.skipped == {"UTF-16": 1}
        assert kind_of("a.log", data.encode(encoding)[:4096]) is None
    read = check_cuts(Reader, b"\xef\xbb\xbf" + data.replace("\n", "\r\n").encode())
    assert read.outcome()[0] == whole(Reader, data.encode()).outcome()[0]
    read = check_cuts(Reader,
                      "".join(f"étape {n} Qualité={n}.5 loss={n}.5\n" for n in range(9)).encode("latin-1"))
    assert len(steps_and_values(read.parts, "loss")) == 9


@pytest.mark.few(6)
@pytest.mark.parametrize("seed", range(30))
def test_flipped_bytes(seed):
    dice = random.Random(seed)
    data = bytearray(nanogpt(500))
    for _ in range(5):
        data[dice.randrange(len(data))] = dice.randrange(256)
    read = check_cuts(Reader, bytes(data), rounds=3)
    assert len(steps_and_values(read.parts, "loss")) >= 40


@pytest.mark.long
def test_long_lines_and_many_names_stay_bounded():
    reader = Reader()
    reader.take(b"a\n", 1 << 31)
    block = b"loss=0.5 " * 200_000
    begin = time.process_time()
    assert sum(reader.take(block, 1 << 30)[0] for _ in range(600)) == 600 * len(block)
    assert time.process_time() - begin < 20 and len(repr(reader.state())) < 3000
    names = b"".join(b" ".join(b"name%d=%d.5" % (n * 300 + k, k) for k in range(300)) + b"\n"
                     for n in range(2000))
    read = whole(Reader, names)
    assert len(repr(read.reader.state())) < 400_000 and read.position == len(names)


@pytest.mark.parametrize("line", [
    "a" * 60_000, "a." * 30_000, "'" * 60_000, "epoch " * 10_000, "[1/" * 20_000, "a a " * 15_000,
    "=" * 60_000,                                   "1%|" * 20_000, "x=1" * 20_000, " " * 60_000,
    "a:" * 30_000, "step [[[" * 7000, "(" * 60_000,
    "loss: 0.5 " * 6000])
def test_no_line_takes_quadratic_time(line):
    data = (line + " loss=1\n").encode()
    begin = time.process_time()
    whole(Reader, data * 3)
    assert time.process_time() - begin < 6


@pytest.mark.parametrize("name, data", [
    ("requirements.txt", "numpy==1.26.0\ntorch>=2.0\nscipy<2\npandas~=2.1\ntqdm\nrich==13.0\n"),
    ("pip.log",
     "".join(f"2024-05-01T12:00:0{n},123 Collecting numpy=={n}.0 from https://x/y (from -r a (line {n}))\n"
             for n in range(9))),
    ("config.txt",
     "lr: 0.1\nbatch_size: 32\nepochs: 10\nseed=1\nlr: 0.1\nlr: 0.1\nlr: 0.1\nlr: 0.1\nlr: 0.1\n"),
    ("server.log", "".join(f"2024-05-01 12:00:0{n} GET /page{n} status=200 port: 8080\n" for n in range(9))),
    ("dpkg.log",
     "".join(f"2024-05-01 12:00:0{n} status installed libc6:amd64 2.36-9+deb12u{n}\n" for n in range(9))),
    ("notes.txt", "Meeting at 12:30. Agenda: 3 items.\n" * 20),
    ("CMakeLists.txt", "set(VERSION 1.2)\nif(A EQUAL 1)\nendif()\n" * 9),
    ("a.py", "loss=1.5\n" * 9), ("empty.log", ""), ("once.log", "loss=0.5\nacc=0.9\n"),
    ("data.txt", "0.1 0.2 0.3\n" * 50), ("binary.log", "loss=\0\0\0" * 50),
])
def test_what_is_no_training(name, data):
    assert kind_of(name, data.encode()[:4096]) is None


def test_lines_of_one_shape_are_read_as_each_by_itself():
    dice = random.Random(5)
    numbers = ["0", "7", "-3", "0.5", "-1.25e-07", "1e5", "nan", "-inf", "12345678901234567890", "00.50",
               "3.", ".5", "+4", "1_000", "5%", "12ms",
               "1.2.3", "0.00016666666666666666"]
    shapes = ["step {}: loss={} acc: {}", "Epoch [{}/{}] lr {} | loss {}", "iter {}/{} x1={} a-{}={}",
              "[{}/{}] {} {} b: {}", "top{}: {} Acc@{} {}",
              "{{'loss': '{}', 'epoch': {}}}", "epoch {} val: loss: {} -{}",
              "{}%|##| {}/{} [00:0{}<00:01, loss={}]"]
    from runicorn.metrics.kinds.log_line import LineParser
    parser, pairs = LineParser(), 0
    for _ in range(6000):
        shape = dice.choice(shapes)
        text = shape.format(*(dice.choice(numbers) for _ in range(6)))
        alone = read_line(text, NOW)
        pairs += len(alone.pairs)
        assert repr(parser.read(text, NOW)) == repr(alone), text
    assert pairs > 5000
