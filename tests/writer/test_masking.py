"""What looks like a secret is written as a mask, wherever a run writes; what only resembles one stands as it
was given."""

import io
import json
import re
import time

import pytest
from scripts import only, rows, runs, small, train

from runicorn import masking
from runicorn.cli import main as cli
from runicorn.masking import MASK, masked, names, without_masks

PW = "hunter2"
MIXED = "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7dE9f"       # 43 characters
HEX = "0a1b2c3d" * 8
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEhunter2\nhunter2\n-----END RSA PRIVATE KEY-----"

KEYS = """password passwd db_password PGPASSWORD dbPassword mysql_pwd pw passphrase smtp_pass pass secret
client_secret clientSecret secret_key SECRET_KEY api_key apikey apiKey API-KEY openai_api_key OPENAI_KEY
access_key aws_secret_access_key private_key token hf_token HF_TOKEN hfToken auth_token access_token
accessToken refresh_token bot_token hub_token push_to_hub_token github_token wandb_key WANDB_API_KEY
credential credentials encryption_key account_key x-api-key Authorization password2 password_prod token_prod
api_key_1 security_token slack.token trainer.token passwords keystore_pass CI_JOB_TOKEN app_key
密码 数据库密码 口令 令牌 访问令牌 密钥 パスワード""".split()

COMMANDS = [["t.py", "--password", PW], ["--password=" + PW], ["--hf-token", PW],
            ["--hf_token=hunter2 and more"], ["password=" + PW],
            ["+a.b.token=" + PW], ["++db.password=" + PW], ["model.api_key=" + PW], ["-password", PW],
            ["--api-key", PW], ["--token", PW], ["+db={user:bob,password:hunter2}"],
            ['--json={"password": "hunter2"}'], ["-H", "Authorization: Bearer hunter2abc"],
            ["--url", "postgres://bob:hunter2@db/x"], ["sh", "-c", "python x.py --password hunter2 --lr 3"],
            ["--pwd", PW, "--lr", "3"]]

# Texts with hunter2 in them, which must go; what else must stay is named behind.
TEXTS = {
    "postgres://user:hunter2@host/db": "postgres://user:",
    "mysql+pymysql://u:hunter2@h:3306/d?x=1": "h:3306/d?x=1",
    "redis://:hunter2@h": "@h", "https://bob:hunter2@github.com/x.git": "github.com/x.git",
    "http://u:hunter2@2@h:80/": "@h:80/", "DATABASE_URL=postgres://u:hunter2@h/d": "DATABASE_URL=",
    "mongodb+srv://u:hunter2@c.mongodb.net": "c.mongodb.net",
    "password=hunter2": "password=", "password = 'hunter2'": "", "password: hunter2": "password: ",
    "db:\n  password: hunter2\n  port: 1": "\n  port: 1",
    "the password is hunter2, do not tell": ", do not tell", "password hunter2": "", "password：hunter2": "",
    "密码：hunter2": "密码", "密码是hunter2": "", "密码为 hunter2，": "，", "口令: hunter2": "",
    "令牌=hunter2": "", "api key: hunter2": "", "export HF_TOKEN=hunter2": "export HF_TOKEN=",
    "HF_TOKEN=hunter2 python train.py": " python train.py", "python t.py --password hunter2 --lr 3": "--lr 3",
    '{"password": "hunter2", "lr": 1}': ', "lr": 1}', "{'api_key': 'hunter2'}": "",
    '{\\"token\\": \\"hunter2\\"}': "", "Authorization: Bearer hunter2abc": "Authorization: Bearer ",
    "curl -u bob:hunter2 http://x": "http://x", "sshpass -p hunter2 ssh bob@h": "ssh bob@h",
    "docker login -u bob -p hunter2 reg.io": "reg.io",
    "wandb login --relogin hunter2ABCDEFabcdef0123456789abcdef": "",
    "swanlab login -k hunter2ABCDEFabcdef012345678": "login",
    "huggingface-cli login hunter2ABCDEFabcdef012345678": "",
    "mysql -u root -phunter2 db < dump.sql": "db < dump.sql",
    "mysqldump -h db.example.com -phunter2 runs": "runs", "mariadb -phunter2": "",
    "helm registry login reg.io -u bob -p 'hunter2'": "reg.io",
    "  login(token='hunter2')": "login(token='", 'connect(host="x", password="hunter2")': 'host="x"',
    "password=b'hunter2'": "", "os.environ['HF_TOKEN'] = 'hunter2'": "os.environ['HF_TOKEN']",
    "https://x/y?access_token=hunter2abc&z=1": "&z=1",
    "https://oapi.dingtalk.com/robot/send?access_token=hunter2abcdef": "oapi.dingtalk.com/robot/send",
    "https://open.feishu.cn/open-apis/bot/v2/hook/hunter2-abcd-1": "open.feishu.cn",
    "https://hooks.slack.com/services/T0/B0/hunter2": "",
    "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=hunter2-aaaa": "",
    "https://discord.com/api/webhooks/123/hunter2": "",
    "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=hunter2==;EndpointSuffix=core": "AccountName=x",
    "Server=h;Uid=u;Pwd=hunter2;": "Server=h", "jdbc:mysql://h/db?user=u&password=hunter2": "user=u",
    "machine h login bob password hunter2": "bob",
    "//npm.example.com/:_authToken=hunter2": "", "aws_secret_access_key = hunter2/abc+def": "",
    "secret: s3cr3thunter2": "", PEM: "", f"before {PEM} behind": " behind", PEM.split("MIIE")[1]: "",
    PEM[:44]: "", PEM.replace("\n", "\\n"): "",
}

SHAPES = ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "ghp_" + MIXED[:36], "gho_" + MIXED[:36],
          "github_pat_11ABCDEFG0abcdefghij_" + MIXED,
          "glpat-abcdefghij1234567890", "hf_" + MIXED[:34], "hf_" + "a" * 34, "sk-" + MIXED, "sk-" + HEX[:32],
          f"sk-proj-{MIXED}-_{MIXED}", f"sk-ant-api03-{MIXED}-{MIXED}", "sk-or-v1-" + HEX,
          f"xoxb-123456789012-123456789012-{MIXED[:24]}", "sk_live_" + MIXED[:24],
          "rk_test_" + MIXED[:24], "npm_" + MIXED[:36], "pypi-AgEIcHlwaS5vcmc" + MIXED, "AIza" + MIXED[:35],
          "GOCSPX-" + MIXED[:28], "ya29." + MIXED,
          "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
          f"SG.{MIXED[:22]}.{MIXED}", "123456789:AAF" + MIXED[:33], "gsk_" + MIXED, "nvapi-" + MIXED,
          "LTAI5tABCDEFGH1234567890", "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE",
          "hvs." + MIXED, "dapi" + HEX[:32], "wandb_v1_" + MIXED, "SEC" + HEX, "abc8Q~" + MIXED[:34]]

NONE = [{"tokenizer": "bert-base"}, {"max_tokens": 512}, {"max_tokens": "512"}, {"token_count": 3},
        {"num_tokens": "1e9"}, {"pad_token": "<pad>"},
        {"eos_token": "</s>"}, {"bos_token": "<|begin_of_text|>"}, {"unk_token": "[UNK]"},
        {"mask_token": "[MASK]"}, {"token": "[CLS]"},
        {"image_token": "<image>"}, {"initializer_token": "toy"}, {"placeholder_token": "sks"},
        {"class_token": "mean"}, {"stop_token": "\n\n"},
        {"special_tokens": ["<a>", "<b>"]}, {"tokens": ["the", "house"]}, {"tokens": {"type": "unigram"}},
        {"pool": "cls_token"}, {"next_token": "hello"},
        {"trigger_token": "ohwx man"}, {"token_type": "bpe"}, {"token_embedding_dim": "768"},
        {"tokens_per_second": 1.5}, {"attention": "token_mixing"},
        {"secret_santa": "bob"}, {"secret": 0.5}, {"secret_name": "hf-secret"}, {"api_key_env": "HF_TOKEN"},
        {"credential_helper": "store"}, {"commit": "3d96a6c" + "0" * 33}, {"sha256": HEX}, {"hash": HEX[:32]},
        {"uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301"}, {"cache_key": HEX[:32]},
        {"run_id": "20250123_180000_abc123"}, {"wandb": "entity/project/runs/3jk2l1m9"},
        {"dataset": "hf_internal_testing"}, {"model": "sk-learn-random-forest-classifier-v2"},
        {"model": "hf_resnet50imagenet2012"}, {"task": "glue-mnli-bert-base-uncased-finetuned1"},
        {"key": "loss"}, {"primary_key": "id"}, {"sort_key": "val/loss"}, {"monitor_key": "val_acc"},
        {"image_key": "observation.images.top"},
        {"data_key": "train/images_2012"}, {"s3_key": "datasets/Imagenet2012/train-00001"},
        {"db_key": "images"}, {"num_key_value_heads": 8},
        {"keypoints": "coco17"}, {"keyboard": "us"}, {"key_path": "/a/b"},
        {"public_key": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ bob"},
        {"password_policy": "none"}, {"password_policy": "strict"}, {"min_password_length": "8"},
        {"password": ""}, {"password": None}, {"password": "none"}, {"password": "<password>"},
        {"api_key": "YOUR_API_KEY"}, {"api_key": "EMPTY"}, {"api_key": "****"},
        {"hf_token": "$HF_TOKEN"}, {"hf_token": "${oc.env:HF_TOKEN}"}, {"use_auth_token": True},
        {"token": False}, {"hub_token": None}, {"ssh_key": "~/.ssh/id_rsa"},
        {"ssh_key": "/home/bob/.ssh/id_ed25519"}, {"ssh_key": "id_rsa"}, {"private_key": "keys/server.pem"},
        {"token_file": "~/.cache/huggingface/token"}, {"PWD": "/home/bob/project"}, {"author": "bob"},
        {"authors": ["Bob"]}, {"auth": "none"},
        {"num_passes": "2"}, {"low_pass": "butter"}, {"pass": 1500}, {"pw": 1024}, {"sacred": "id7"},
        {"PAD_TOKEN": "<pad>"}, "密码：8位", "令牌：512", {"forward_pass": "full"}, {"bypass": "yes"},
        {"compass": "north"}, {"monkey": "a"}, {"signal": "sigmoid"},
        {"signature": "serving_default"}, {"cookie": "chocolate"}, {"密码长度": 8}, {"最大令牌": "512"},
        {"填充令牌": "<pad>"}, {"x": [1,
2.5, None, True]},
        {"path": "/data/secrets/train"}, {"url": "https://github.com/a/b.git"},
        {"url": "ssh://git@github.com:22/a"}, {"url": "git@github.com:a/b.git"},
        {"url": "http://127.0.0.1:6006/@x"}, {"url": "postgres://host:5432/db"}, "tokens: 512",
        "token: the unit of text", "Unexpected token: 'abc'",
        "invalid token: foo", "password must be 8 chars", "the password is required",
        "key: loss, secret: none", "KeyError: 'hf_token'",
        "token=args.token", "vocab[token] = index", "`token=True` is required",
        "password=getpass.getpass()", "password=password", "Basic training of networks2",
        "Bearer of bad news", "lr=0.1 key=loss epochs=3", "3 tokens = 5 words", "author=bob1234567",
        "first pass: epoch12", "mysql -u root -p runs", "mysql -P 3306 -p",
        "wandb login --relogin --host=https://wandb.example.com", "hf login later",
        {"define": {"tokens": {"summary": "last"}}},
        ["t.py", "--max-tokens", "512", "--tokenizer", "bert", "--key", "loss", "--pad-token", "<pad>",
         "--token-file", "/a/b"],
        ["--use_auth_token", "True"], ["lr=0.1", "model.tokenizer=bert", "monitor=val/key"],
        ["--password", "--lr", "3"], ["--token",
"$HF_TOKEN"]]


def hidden(value, secret):
    shown = masked(value)
    assert secret not in json.dumps(shown, ensure_ascii=False) and MASK in json.dumps(shown), shown
    # what was read from a file can be compared with what will be written
    assert masked(shown) == shown
    return shown


@pytest.mark.parametrize("key", KEYS)
def test_a_value_is_masked_by_its_key(key):
    assert hidden({"lr": 0.1, key: PW, "model": {key: PW}}, PW) == {
        "lr": 0.1, key: MASK, "model": {key: MASK}}


@pytest.mark.parametrize("value", [
    {"db": {"password": {"value": PW}}}, {"secrets": {"a": PW, "b": [PW]}}, {"api_keys": {"openai": PW}},
    {"openai": {"key": PW}}, {"huggingface": {"token": PW}}, {"env": [{"name": "HF_TOKEN", "value": PW}]},
    {"passwords": [PW, PW]}, {"deep": [[{"passwd": PW}]]}])
def test_a_value_is_masked_by_the_key_above_it(value):
    hidden(value, PW)


def test_a_number_is_masked_where_only_a_password_can_stand():
    assert masked({"password": 12345678, "token": 12345678, "passwords": 3}) == {
        "password": MASK, "token": 12345678, "passwords": 3}
    hidden({"wandb_api_key": HEX[:40]}, HEX[:40])
    hidden({"qdrant_key": MIXED}, MIXED)


@pytest.mark.parametrize("argv", COMMANDS, ids=lambda argv: " ".join(argv)[:30])
def test_a_command_line_is_masked_and_keeps_its_length(argv):
    assert len(hidden(argv, PW)) == len(argv)
    hidden({"command": argv}, PW)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: re.sub(r"\W+", "-", text)[:40])
def test_a_text_is_masked_and_the_rest_of_it_stays(text):
    assert TEXTS[text] in hidden(text, PW)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape[:12])
def test_a_known_shape_is_masked_wherever_it_stands(shape):
    assert hidden(f"see {shape} ok", shape) == f"see {MASK} ok"
    hidden({"note": [f"'{shape}'"]}, shape)


def test_passwords_of_digits_are_masked():
    for text in ("密码：123456", "password is 123456", "password=123456", "password: 123456",
                 "--password 123456"):
        hidden(text, "123456")


def test_a_password_at_the_end_of_its_line_need_not_look_like_one():
    hidden("db:\n  password: swordfish\n", "swordfish")


def test_signed_addresses_are_masked():
    hidden("https://a.blob.core.windows.net/c?sv=2022&sig=abc%2Bdef1234567890abcdef%3D&se=1",
           "abc%2Bdef1234567890abcdef%3D")
    hidden(f"https://b.s3.amazonaws.com/k?X-Amz-Signature={HEX}&x=1", HEX)
    hidden("Authorization: Basic aHVudGVyMjo=", "aHVudGVyMjo=")


@pytest.mark.parametrize("value", NONE, ids=lambda value: re.sub(r"\W+", "-", str(value))[:40])
def test_what_only_resembles_a_secret_stays(value):
    assert masked(value) == value


def test_there_are_enough_of_both():
    assert len(KEYS) + len(COMMANDS) + len(TEXTS) + len(SHAPES) >= 150 and len(NONE) >= 120


def test_keys_can_be_named_that_hold_no_secret():
    value = {"hf_token": PW, "api_key": PW, "argv": ["--hf-token", PW, "--hf_token=" + PW, "--api-key", PW],
             "note": "hf_token=hunter2"}
    assert masked(value, names(["HF-Token"])) == {"hf_token": PW, "api_key": MASK, "note": "hf_token=hunter2",
                                                  "argv": [*value["argv"][:4], MASK]}
    assert masked(value, names("*")) == value and masked(value, names(None)) != value


def test_values_that_hold_a_mask_are_not_gone_on_with():
    assert without_masks({"lr": 1, "token": MASK, "db": {"url": f"x://u:{MASK}@h", "port": 1},
                          "argv": ["--pw", MASK], "a": ["x"]}) == {
                              "lr": 1, "db": {"port": 1}, "a": ["x"]}


HOSTILE = {"letters": "a", "keys": "token ", "open quotes": "token=\"'", "addresses": "://a:", "jwt": "eyJ",
           "jwt.": "eyJaaaaaaaa.eyJ", "pem": "-----BEGIN PRIVATE KEY-----",
           "pem end": "-----END PRIVATE KEY-----", "prefix": "hf_", "bearer": "Bearer ", "hook": "/hook/",
           "cjk": "密码是", "digits": "1", "dashes": "token-", "backslashes": "token=\\\\\\", "ltai": "LTAI",
           "azure": "aaa1Q~", "curl": "curl -u a:",
           "account": "AccountKey=", "markup": "token=<<<<"}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_takes_time_in_proportion(kind):
    """Eight times the text takes about eight times as long, not 64 times (processor time: the machine may be
    busy)."""
    def seconds(size):
        text = (HOSTILE[kind] * size)[:size]
        begun = time.process_time()
        masked(text)
        return time.process_time() - begun
    seconds(1000)
    assert seconds(160_000) < 24 * min(seconds(20_000), seconds(20_000)) + 0.2


# -- in a run ------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import runicorn
run = runicorn.init(project="p", name="n",
                    config={"hf_token": "hunter2", "lr": 0.1, "db": {"url": "postgres://u:hunter2@h/d"}},
                    tags=["password=hunter2"], notes="the password: hunter2"%s)
run.config.update({"api_key": "hunter2"})
run.config["command"] = ["x", "--password", "hunter2"]
run.log({"loss": 1.0, "said": "password=hunter2"}, step=0)
run.log({"loss": 1.0, "password": "hunter2"}, step=1)
run.summary["best"] = "token='hunter2'"
assert run.config["hf_token"] == run.config.hf_token == run.config["api_key"] == "hunter2"
assert run.config["command"][2] == "hunter2" and run.config["db"]["url"].endswith("hunter2@h/d")
assert run.summary["best"] == "token='hunter2'" and run.summary["password"] == "hunter2"
assert run.notes == "the password: hunter2" and run.tags == ("password=hunter2",)
assert sys.argv[1:] == ["--token", "hunter2"], sys.argv
"""


def began(options=""):
    return "import sys; sys.argv += ['--token', 'hunter2']\n" + SCRIPT % options


def written(run):
    """Return all that a run wrote but its printed output, as one text."""
    return "".join(path.read_text(encoding="utf-8")
                   for path in run.iterdir() if path.is_file() and not path.name.startswith("logs"))


def test_no_file_of_a_run_holds_its_secrets(tmp_path):
    train(tmp_path, began() + "raise ValueError('login(password=\"hunter2\") refused')\n", 1)
    run = only(tmp_path)
    assert PW not in written(run), written(run)
    meta = small(run, "meta")
    assert meta["config"] == {"hf_token": MASK, "lr": 0.1, "db": {"url": f"postgres://u:{MASK}@h/d"},
                              "api_key": MASK, "command": ["x", "--password", MASK]}
    assert meta["argv"][1:] == ["--token", MASK] and meta["tags"] == ["password=" + MASK]
    assert meta["notes"] == "the password: " + MASK
    assert [row["data"] for row in rows(run)] == [
        {"loss": 1.0, "said": "password=" + MASK}, {"loss": 1.0, "password": MASK}]
    status = small(run, "status")
    assert status["error"] == f"ValueError: login(password=\"{MASK}\") refused"
    assert status["traceback"].endswith(status["error"])
    # the traceback that Python printed: printed output is the user's own
    assert PW in (run / "logs.txt").read_text(encoding="utf-8")


def test_rows_of_numbers_are_not_looked_into(tmp_path):
    """`log` without text costs what it did."""
    out, _ = train(tmp_path, """
import threading
import runicorn
run, looked = runicorn.init(), []
masked = run._small.masked
run._small.masked = lambda value: (looked.append(threading.current_thread().name), masked(value))[1]
for step in range(100):
    run.log({"loss": 0.5, "step": step, "done": False})
print(looked.count("MainThread"))
run.log({"said": "text"})
print(looked.count("MainThread"))
""")
    assert out.split() == ["0", "1"]


def test_the_other_ranks_of_a_launch_mask_too(tmp_path):
    code = began(", all_ranks=True") + "run.finish()\n"
    train(tmp_path, code, RANK="1", WORLD_SIZE="2", LOCAL_RANK="1")
    assert [PW in written(run) for run in runs(tmp_path)] == [False]


def test_keys_named_not_secret_are_written(tmp_path):
    train(tmp_path, began(", not_secret=['hf_token', 'said', 'token']"))
    run = only(tmp_path)
    assert small(run, "meta")["config"]["hf_token"] == PW and small(run, "meta")["config"]["api_key"] == MASK
    assert small(run, "meta")["argv"][2] == PW and rows(run)[0]["data"]["said"] == "password=hunter2"


def test_not_secret_must_be_keys(tmp_path):
    _, said = train(tmp_path, "import runicorn\nrunicorn.init(not_secret=5)", 1)
    assert "init(not_secret=5) is no list of keys" in said.splitlines()[-1]


RESUME = """
import os, sys
import runicorn
sys.argv += ["--token", "hunter2"]
run = runicorn.init(project="p", name="n", config=%s, resume="allow", **%s)
"""


def test_a_resumed_run_reads_no_mask_back(tmp_path):
    options = {"id": "abc"}
    train(tmp_path, RESUME % ({"hf_token": PW, "lr": 1, "db": {"password": PW, "port": 1}}, options))
    train(tmp_path,
          RESUME % ({"hf_token": "hunter3"}, options) + "assert run.resumed and run.config.as_dict() == "
          "{'hf_token': 'hunter3', 'lr': 1, 'db': {'port': 1}}, run.config\n")
    assert small(only(tmp_path), "meta")["config"] == {"hf_token": MASK, "lr": 1, "db": {"port": 1}}


def test_a_requeued_job_with_secrets_finds_its_run(tmp_path):
    """argv and config are compared as they are written: masked with masked."""
    slurm = {"SLURM_JOB_ID": "77"}
    train(tmp_path, RESUME % ({"hf_token": PW, "lr": 1}, {}) + "os._exit(1)\n", 1, **slurm)
    train(tmp_path, RESUME % ({"hf_token": "hunter3", "lr": 1}, {})
          + "assert run.attempt == 2 and run.config.hf_token == 'hunter3'\n",
          SLURM_RESTART_COUNT="1", **slurm)
    assert small(only(tmp_path), "meta")["config"] == {"hf_token": MASK, "lr": 1}
    assert PW not in written(only(tmp_path))


# -- runicorn check --secrets --------------------------------------------------------------------------------

@pytest.fixture
def root(tmp_path):
    """A root with a run that an older version wrote in clear, and one of this version."""
    train(tmp_path, began(), name="train.py")
    folder = tmp_path / "root" / "old" / "n" / "runs" / "20250123_180000_abc123"
    folder.mkdir(parents=True)
    meta = {"format": 1, "id": folder.name, "project": "old", "name": "n", "created_at": 1.0,
            "argv": ["t.py", "--password", PW],
            "config": {"lr": 1, "hf_token": PW, "db": {"url": "x://u:hunter2@h"}}}
    for name, value in (("meta", meta), ("status", {"status": "failed", "error": "password='hunter2'"}),
                        ("summary", {"secret": PW})):
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    (folder / "events.jsonl").write_text(
        '{"ts":1,"step":0,"data":{"loss":1}}\n{"ts":1,"step":1,"data":{"api_key":"hunter2"}}\n',
encoding="utf-8")
    (folder / "logs.txt").write_text(
        "[2025-01-23 18:30:45+0800] hi\n[2025-01-23 18:30:45+0800] password=hunter2\n", encoding="utf-8")
    return tmp_path / "root"


def test_check_finds_what_older_runs_hold_and_never_prints_it(root, capsys):
    assert cli.main(["check", "--secrets", str(root)]) == 1
    said = capsys.readouterr().out
    assert PW not in said
    at = "✗ old/n/runs/20250123_180000_abc123/"
    assert [line for line in said.splitlines() if line.startswith("✗ old")] == [
        at + "meta.json: argv[2] looks like a secret", at + "meta.json: config.hf_token looks like a secret",
        at + "meta.json: config.db.url looks like a secret", at + "status.json: error looks like a secret",
        at + "summary.json: secret looks like a secret",
        at + "events.jsonl:2: data.api_key looks like a secret",
        at + "logs.txt:2: printed: what looks like a secret"]
    assert said.splitlines()[-1] == f"✗ {root}: 7 wrong, 0 notes"


def test_check_finds_nothing_in_a_run_of_this_version(root, capsys):
    run, = (root / "p").glob("n/runs/*")
    assert cli.main(["check", "--secrets", str(run)]) == 0
    assert cli.main(["check", "--secrets", str(root / "p")]) == 2
    assert "holds no runs" in capsys.readouterr().err


def test_findings_as_json(root, capsys):
    assert cli.main(["check", "--secrets", "--json",
                     str(root / "old" / "n" / "runs" / "20250123_180000_abc123")]) == 1
    findings = [json.loads(line) for line in io.StringIO(capsys.readouterr().out)]
    assert {finding["path"] for finding in findings} == {
        "meta.json", "status.json", "summary.json", "events.jsonl", "logs.txt"}


def test_no_pattern_is_compiled_at_import():
    assert [name for name, value in vars(masking).items() if isinstance(value, re.Pattern)] == []
