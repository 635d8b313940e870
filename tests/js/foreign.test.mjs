// English of the system, its ssh and libraries on Chinese pages: translated where it is known, else marked as
// somebody else's words.

import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";
import {inChinese} from "../../static/shared/foreign.js";
import {prompted, quoted, setLanguage, t} from "../../static/shared/words.js";

test("errors of the system and of the SSH library are Chinese, in a sentence and alone", () => {
  setLanguage("zh");
  assert.equal(t("said.banner", {host: "a", port: "22", detail: "Error reading SSH protocol banner"}),
    "a:22 不是 SSH 服务，或没有应答（没有读到 SSH 协议标识）。");
  assert.equal(t("said.certificate_bad", {detail: "it is not valid now"}), "证书未被采用：目前不在有效期内");
  assert.equal(t("said.certificate_bad", {detail: "it is made for *.lab, gpu"}), "证书未被采用：是为 *.lab, gpu 签发的");
  assert.equal(quoted("[Errno 28] No space left on device: '/data/x'"), "磁盘已满: '/data/x'");
  for (const name of ["Connection refused", "No route to host", "Permission denied", "Read-only file system",
    "Disk quota exceeded", "Too many open files",
    "Input/output error", "Name or service not known", "Connection reset by peer"]) {
    assert.doesNotMatch(inChinese(name), /[A-Za-z]/, name);
  }
});

test("what nobody translated is marked as it stands, and English pages show everything unchanged", () => {
  setLanguage("zh");
  assert.equal(quoted("the flux capacitor is empty"), "原文：the flux capacitor is empty");
  assert.equal(quoted(""), "");
  assert.equal(quoted("已经是中文 with words"), "已经是中文 with words");
  assert.equal(t("said.hung_up", {host: "a", port: "22", words: "Permission denied"}),
    "a:22 挂断了连接，并说：Permission denied");
  setLanguage("en");
  assert.equal(quoted("[Errno 28] No space left on device"), "[Errno 28] No space left on device");
  assert.equal(prompted("Passphrase for /k"), "Passphrase for /k");
});

test("prompts that are known are Chinese, others are quoted", () => {
  setLanguage("zh");
  assert.equal(prompted("Passphrase for /home/a/.ssh/id_ed25519"), "密钥 /home/a/.ssh/id_ed25519 的口令");
  assert.equal(prompted("Password: "), "密码");
  assert.equal(prompted("(alice@gpu) Password: "), "alice@gpu 的密码");
  assert.equal(prompted("alice@gpu's password: "), "alice@gpu 的密码");
  assert.equal(prompted("Verification code: "), "一次性验证码");
  assert.equal(prompted("Duo two-factor login for alice"), "服务器的提问原文：Duo two-factor login for alice");
  assert.equal(prompted(""), "");
  setLanguage("en");
});

test("the reasons for which a host certificate is refused all have their Chinese words", () => {
  const source = fs.readFileSync(new URL("../../runicorn/ssh/host_keys.py", import.meta.url), "utf8");
  const reasons = [...source.slice(source.indexOf("def refusal")).matchAll(/return f?"([^"]+)"/g)]
    .map(([, text]) => text.replace(/\{.*\}/, "gpu-1"));
  assert.ok(reasons.length >= 5);
  reasons.forEach((reason) => assert.match(inChinese(reason), /[\u3400-\u9fff]/, reason));
});
