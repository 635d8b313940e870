// Before anything else, in words that old browsers understand: whether this one is new enough for the pages,
// and a sentence where not.
(function () {
  "use strict";
  var missing = "";

  function needs(name, there) {
    if (!there) {
      missing = missing || name;
    }
  }

  function compiles(pattern) {
    try {
      return Boolean(new RegExp(pattern));
    } catch (error) {            // a SyntaxError
      return false;
    }
  }

  // Each came with one of Chrome 115, Firefox 115, Safari 16.4, or shortly before: together they tell what is
  // older.
  needs("modules", "noModule" in document.createElement("script"));
  needs("color-mix", window.CSS && CSS.supports && CSS.supports("color", "color-mix(in srgb, red, blue)"));
  needs("lookbehind", compiles("(?<=a)b"));
  needs("findLast", Array.prototype.findLast);
  needs("AbortController", window.AbortController);
  needs("TextDecoderStream", window.TextDecoderStream);
  needs("dialog", window.HTMLDialogElement);

  function say() {
    var box = document.createElement("div"), english = document.createElement("p"),
      chinese = document.createElement("p");
    var look = {position: "fixed", top: "0", left: "0", right: "0", zIndex: "99", padding: "12px 16px",
      background: "#fbf2df", color: "#1a1f26", borderBottom: "1px solid #855600", fontFamily: "sans-serif"};
    for (var name in look) {
      box.style[name] = look[name];
    }
    box.id = "floor";
    english.appendChild(document.createTextNode(
      "This browser is too old for these pages. They need Chrome or Edge 115, Firefox 115, Safari 16.4, or newer (missing: " + missing + ")."));
    chinese.appendChild(document.createTextNode(
      "此浏览器版本过旧，无法显示这些页面。需要 Chrome 或 Edge 115、Firefox 115、Safari 16.4 或更新的版本（缺少：" + missing + "）。"));
    chinese.lang = "zh-CN";
    box.appendChild(english);
    box.appendChild(chinese);
    document.body.appendChild(box);
  }

  if (missing) {
    if (document.body) {
      say();
    } else {
      document.addEventListener("DOMContentLoaded", say);
    }
  }
})();
