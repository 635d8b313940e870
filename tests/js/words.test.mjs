// Both languages say the same things; numbers and times as each writes them.

import assert from "node:assert/strict";
import test from "node:test";
import en from "../../static/shared/words-en.js";
import zh from "../../static/shared/words-zh.js";
import {fmt, known, parts, pick, setLanguage, t} from "../../static/shared/words.js";

const holes = (text) => [...text.matchAll(/\{([^{}|]+)[^{}]*\}/g)].map((found) => found[1]);

test("both languages have the same keys", () => {
  assert.deepEqual(Object.keys(zh).sort(), Object.keys(en).sort());
});

test("both languages fill in the same values", () => {
  for (const key of Object.keys(en)) {
    const [inEnglish, inChinese] = [new Set(holes(en[key])), new Set(holes(zh[key]))];
    for (const name of inChinese) {
      assert.ok(inEnglish.has(name), `${key}: {${name}} is only in Chinese`);
    }
    const plural = new Set([...en[key].matchAll(/\{([^{}|]+)\|/g)].map((found) => found[1]));
    for (const name of inEnglish) {
      assert.ok(inChinese.has(name) || plural.has(name), `${key}: {${name}} is missing in Chinese`);
    }
  }
});

test("the guide's own words are used", () => {
  const used = new Set(Object.values(zh));
  const words = ["远程同步", "连接名称", "服务器地址", "端口", "用户名", "认证方式", "密钥路径", "密码", "测试连接", "✓ 连接成功", "远程实验根目录",
    "同步模式", "同步间隔", "启用 Manifest-based sync（高性能）", "仅同步元数据和小文件", "同步大文件（模型检查点等）", "活跃窗口", "最近 24 小时",
    "最近 7 天", "保存并启动同步", "暂停同步", "立即同步", "重新连接", "已连接", "断开连接", "对比", "设置"];
  for (const word of words) {
    assert.ok(used.has(word), word);
  }
  assert.equal(zh["settings.auth.key"] + zh["settings.recommended"], "SSH 密钥（推荐）");
  assert.equal(zh["settings.mode.auto"] + zh["settings.recommended"], "自动同步（推荐）");
});

test("texts are filled in, numbers choose their word", () => {
  setLanguage("en");
  assert.equal(t("top.running", {n: 1}), "1 run running");
  assert.equal(t("top.running", {n: 2000}), "2,000 runs running");
  assert.deepEqual(parts("runs.group", {what: "x"}), ["Group: ", "x"]);
  assert.equal(known("reason.nobody_knows", {}, "as the server said it"), "as the server said it");
  assert.equal(t("runs.tickOne", {name: "{n}"}), "Tick {n}");
});

test("the browser's languages choose at first", () => {
  assert.equal(pick("auto", ["fr", "zh-TW", "en"]), "zh");
  assert.equal(pick("auto", []), "en");
  assert.equal(pick("zh", ["en"]), "zh");
});

test("values keep what a reader needs", () => {
  setLanguage("en");
  const expected = [[0.38712, "0.3871"], [85.6249, "85.62"], [41200, "41,200"], [0.00014, "1.4e−4"],
    [-1.5e-7, "−1.5e−7"], [0, "0"], [null, "–"], ["NaN", "NaN"], ["-Infinity", "−∞"], [12345.678, "12,345.7"],
    [1e21, "1e21"]];
  for (const [value, words] of expected) {
    assert.equal(fmt.value(value), words);
  }
  assert.equal(fmt.given(1e-5), "1e-5");
  assert.equal(fmt.given({a: [1]}), '{"a":[1]}');
  const within = {"0.1": 0.1, "≈0.3": 0.30000000000000004, "≈0.1234568": 0.12345678901234567,
    "≈1.2346e-8": 1.2345678901234567e-8, "≈1.235e+20": 123456789012345678901,
    "≈-0.123457": -0.12345678901234567, "≈1e+22": 1.0000000000000002e22, "some words": "some words"};
  for (const [shown, value] of Object.entries(within)) {
    assert.equal(fmt.within(value, 10), shown);
  }
  assert.deepEqual([fmt.within(0.0014999999999999998, 6), fmt.within(0.0014999999999999998, 7)],
    ["0.0015", "≈0.0015"]);
});

test("durations, ages and sizes", () => {
  setLanguage("en");
  assert.deepEqual([42, 185, 8880, 93600].map(fmt.duration), ["42s", "3m 05s", "2h 28m", "1d 02h"]);
  assert.deepEqual([0.84, 42, 300, 7300, 200000].map(fmt.age), ["0.8 s", "42 s", "5 min", "2 h", "2 d"]);
  assert.deepEqual([0, 999, 1900000, 642e6, 32e9].map(fmt.bytes),
    ["0 B", "999 B", "1.9 MB", "642 MB", "32 GB"]);
  setLanguage("zh");
  assert.deepEqual([42, 185, 8880, 93600].map(fmt.duration), ["42秒", "3分05秒", "2小时28分", "1天02小时"]);
});

test("times: today by the clock, this year by the day, others by the date", () => {
  const at = new Date(2026, 0, 22, 18, 41).getTime() / 1000;
  setLanguage("en");
  assert.equal(fmt.when(at, at + 60), "18:41");
  assert.equal(fmt.when(at, at + 86400 * 3), "Jan 22");
  assert.equal(fmt.when(at, at + 86400 * 400), "2026-01-22");
  assert.match(fmt.full(at), /^Jan 22, 2026, 18:41:00 GMT([+−]\d+(:\d\d)?)?$/);
  setLanguage("zh");
  assert.equal(fmt.when(at, at + 86400 * 3), "1月22日");
});
