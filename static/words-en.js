// English. One flat object: "{name}" is filled in, "{n|run|runs}" chooses by the number. words-zh.js has the same keys.
export default {
  "time.s": "{s}s", "time.ms": "{m}m {s}s", "time.hm": "{h}h {m}m", "time.dh": "{d}d {h}h",
  "time.age.s": "{n} s", "time.age.m": "{n} min", "time.age.h": "{n} h", "time.age.d": "{n} d",

  "common.cancel": "Cancel", "common.close": "Close", "common.save": "Save", "common.remove": "Remove", "common.retry": "Try again", "common.copy": "Copy",
  "common.copied": "Copied", "common.notCopied": "The browser did not allow copying", "common.loading": "Loading", "common.more": "More", "common.all": "All",
  "common.none": "None", "common.on": "On", "common.off": "Off", "common.notFound": "There is no such page", "common.home": "Go to the runs",
  "common.failed": "This could not be done: {message}", "common.broken": "This page failed to draw", "common.reload": "Load the page again", "common.done": "Done",

  "top.pages": "Pages", "top.runs": "Runs", "top.compare": "Compare", "top.settings": "Settings", "top.theme": "Theme", "top.language": "中文", "top.languageTitle": "切换为中文",
  "top.connections": "Connections", "top.ago": "{age}", "top.lastNews": "last news {age} ago", "top.retryIn": "next try in {age}", "top.reconnect": "Reconnect",
  "top.none": "No connection yet", "top.add": "Add connection", "top.more": "{n} more", "top.unknown": "unknown while the viewer does not answer",
  "top.themeAuto": "Like the system", "top.themeLight": "Light", "top.themeDark": "Dark", "top.answer": "Answer",
  "top.owner": "synced by process {pid}", "top.running": "{n} {n|run|runs} running",

  "notice.down": "The viewer does not answer.", "notice.downMore": "What you see is from {time}. If its terminal was closed, start it again; this page finds it by itself:",
  "notice.nextTry": "next try in {age}", "notice.tryNow": "Try now", "notice.offline": "Offline: no server is asked. Runs are shown as they were mirrored.",
  "notice.offlineHow": "To go online, start it without --offline:", "notice.question": "{name} waits for you: {what}", "notice.toAnswer": "Answer",

  "link.live": "Connected", "link.syncing": "Connected", "link.syncingOf": "syncing {n} of {m}", "link.connecting": "Connecting", "link.waiting": "Waits for you",
  "link.paused": "Paused", "link.offline": "Disconnected", "link.refused": "Disconnected", "link.viewing": "Offline",

  "state.checking": "Checking", "state.running": "Running", "state.stalled": "Stalled", "state.lost": "Lost", "state.finished": "Finished", "state.failed": "Failed", "state.interrupted": "Interrupted",

  "keys.title": "Keys", "keys.move": "move", "keys.tick": "tick", "keys.range": "tick from the last tick to here", "keys.compare": "compare", "keys.open": "open", "keys.filter": "filter",
  "keys.all": "all keys", "keys.edit": "edit tags and note", "keys.back": "back out", "keys.ends": "first, last", "keys.everywhere": "Everywhere", "keys.list": "Run list", "keys.run": "Run page",
  "keys.home": "go to the runs", "keys.settings": "go to the settings", "keys.neighbours": "previous, next run", "keys.smooth": "smoothing", "keys.log": "log axis", "keys.full": "full screen",
};
