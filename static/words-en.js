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

  "runs.list": "Runs", "runs.views": "Views", "runs.allRuns": "All runs", "runs.runningNow": "Running now", "runs.failed": "Failed", "runs.hidden": "Hidden", "runs.projects": "Projects",
  "runs.connections": "Connections", "runs.tags": "Tags", "runs.note": "Note", "runs.local": "this computer", "runs.moreNames": "{n} more", "runs.experimentsOf": "Experiments of {name}",
  "runs.filter": "Filter", "runs.filterHint": "loss<0.3 tag:baseline lr=0.001 resnet", "runs.count": "{n|run|runs}", "runs.ofTotal": "of {n} {n|run|runs}", "runs.countRunning": ", {n} running",
  "runs.group": "Group: {what}", "runs.groupNone": "none", "runs.groupEmpty": "(none)", "runs.columns": "Columns", "runs.findColumn": "Find a column", "runs.colsBasic": "Run", "runs.colsSummary": "Summary", "runs.colsConfig": "Config",
  "runs.colsReset": "As it comes", "runs.config": "config", "runs.saveView": "Save view", "runs.saveViewHow": "Filter, sort, columns and grouping under a name, at the left", "runs.viewName": "Name of the view",
  "runs.viewSaved": "The view is saved", "runs.forgetView": "Remove this view", "runs.forgetViewOf": "Remove the view {name}",
  "runs.col.state": "State", "runs.col.name": "Name", "runs.col.project": "Project", "runs.col.connection": "Connection", "runs.col.user": "User", "runs.col.tags": "Tags", "runs.col.tag": "First tag", "runs.col.note": "Note",
  "runs.col.started": "Started", "runs.col.duration": "Duration", "runs.col.step": "Step", "runs.col.main": "Main metric",
  "runs.tickAll": "Tick all, or clear the ticks", "runs.tickOne": "Tick {name}", "runs.mostTicked": "At most {n} runs can be ticked", "runs.notLogged": "not logged by this run", "runs.best": "best {value} at step {step}", "runs.atStep": "step {n}",
  "runs.curves": "Curves of the ticked runs", "runs.showCurves": "Show the curves", "runs.hideCurves": "Hide the curves", "runs.ticked": "{n} ticked", "runs.noneTicked": "Curves", "runs.underCursor": "Under the cursor",
  "runs.clear": "Clear", "runs.hideCurve": "Hide the curve of {name}", "runs.showCurve": "Show the curve of {name}", "runs.untick": "Untick {name}", "runs.tickHint": "Tick runs to lay their curves over each other here; j and k show the run under the cursor.",
  "runs.nothingLogged": "Nothing logged yet.", "runs.hideTicked": "Hide the ticked runs", "runs.unhideTicked": "Show them in the list again", "runs.exportCsv": "Export as CSV",
  "runs.new": "{n} new", "runs.updated": "updated {age} ago", "runs.failedToRead": "The list could not be read: {message}", "runs.edit": "Edit tags and note", "runs.editHow": "Enter saves, Esc restores",
  "runs.tagsHint": "tags, parted by commas", "runs.noteHint": "what this run is about",
  "runs.none": "No runs here yet", "runs.noneLocal": "Log one from any Python script on this computer:", "runs.noneRemote": "Training on a server? Its runs are mirrored over SSH, read-only:", "runs.noneDemo": "or see everything at work:",
  "runs.noMatch": "No run matches", "runs.noMatchHow": "A filter is made of words and comparisons, all of which must hold:", "runs.filterExamples": "resnet                 in the name, project or tags\nstate:running          also failed, stalled, lost …\ntag:baseline\nloss<0.3  val/accuracy>=85\nlr=0.001", "runs.showAll": "Show all runs",
};
