// 简体中文。键与 words-en.js 相同。
export default {
  "time.s": "{s}秒", "time.ms": "{m}分{s}秒", "time.hm": "{h}时{m}分", "time.dh": "{d}天{h}时",
  "time.age.s": "{n} 秒", "time.age.m": "{n} 分钟", "time.age.h": "{n} 小时", "time.age.d": "{n} 天",

  "common.cancel": "取消", "common.close": "关闭", "common.save": "保存", "common.remove": "删除", "common.retry": "重试", "common.copy": "复制",
  "common.copied": "已复制", "common.notCopied": "浏览器不允许复制", "common.loading": "正在加载", "common.more": "更多", "common.all": "全部",
  "common.none": "无", "common.on": "开", "common.off": "关", "common.notFound": "没有这个页面", "common.home": "返回实验列表",
  "common.failed": "操作未完成：{message}", "common.broken": "页面绘制失败", "common.reload": "重新加载页面", "common.done": "完成",

  "top.pages": "页面", "top.runs": "实验列表", "top.compare": "对比", "top.settings": "设置", "top.theme": "主题", "top.language": "English", "top.languageTitle": "Switch to English",
  "top.connections": "连接", "top.ago": "{age}", "top.lastNews": "{age}前有更新", "top.retryIn": "{age}后重试", "top.reconnect": "重新连接",
  "top.none": "尚无连接", "top.add": "添加连接", "top.more": "另有 {n} 个", "top.unknown": "查看器无应答，状态未知",
  "top.themeAuto": "跟随系统", "top.themeLight": "浅色", "top.themeDark": "深色", "top.answer": "回答",
  "top.owner": "由进程 {pid} 同步", "top.running": "{n} 个实验运行中",

  "notice.down": "查看器没有应答。", "notice.downMore": "现在看到的是 {time} 的内容。如果它的终端已关闭，请重新启动，本页会自动恢复：",
  "notice.nextTry": "{age}后重试", "notice.tryNow": "立即重试", "notice.offline": "离线模式：不访问任何服务器，显示的是已同步的实验。",
  "notice.offlineHow": "要联网，请去掉 --offline 重新启动：", "notice.question": "{name} 等待您处理：{what}", "notice.toAnswer": "去处理",

  "link.live": "已连接", "link.syncing": "已连接", "link.syncingOf": "正在同步 {n} / {m}", "link.connecting": "正在连接", "link.waiting": "等待您处理",
  "link.paused": "已暂停", "link.offline": "断开连接", "link.refused": "断开连接", "link.viewing": "离线",

  "state.checking": "确认中", "state.running": "运行中", "state.stalled": "停滞", "state.lost": "失联", "state.finished": "已完成", "state.failed": "失败", "state.interrupted": "已中断",

  "keys.title": "快捷键", "keys.move": "移动", "keys.tick": "勾选", "keys.range": "从上次勾选处连选到此", "keys.compare": "对比", "keys.open": "打开", "keys.filter": "筛选",
  "keys.all": "全部快捷键", "keys.edit": "编辑标签和备注", "keys.back": "退出", "keys.ends": "首行、末行", "keys.everywhere": "所有页面", "keys.list": "实验列表", "keys.run": "实验页",
  "keys.home": "返回实验列表", "keys.settings": "打开设置", "keys.neighbours": "上一个、下一个实验", "keys.smooth": "平滑", "keys.log": "对数坐标", "keys.full": "全屏",

  "runs.list": "实验", "runs.views": "视图", "runs.allRuns": "全部实验", "runs.runningNow": "正在运行", "runs.failed": "失败", "runs.hidden": "已隐藏", "runs.projects": "项目",
  "runs.connections": "连接", "runs.tags": "标签", "runs.note": "备注", "runs.local": "本机", "runs.moreNames": "另有 {n} 个", "runs.experimentsOf": "{name} 的实验",
  "runs.filter": "筛选", "runs.filterHint": "loss<0.3 tag:baseline lr=0.001 resnet", "runs.count": "个实验", "runs.ofTotal": "/ {n} 个实验", "runs.countRunning": "，{n} 个运行中",
  "runs.group": "分组：{what}", "runs.groupNone": "无", "runs.groupEmpty": "（无）", "runs.columns": "列", "runs.findColumn": "查找列", "runs.colsBasic": "实验", "runs.colsSummary": "汇总", "runs.colsConfig": "配置",
  "runs.colsReset": "恢复默认", "runs.config": "配置", "runs.saveView": "保存视图", "runs.saveViewHow": "把筛选、排序、列和分组保存为视图，列在左侧", "runs.viewName": "视图名称",
  "runs.viewSaved": "视图已保存", "runs.forgetView": "删除此视图", "runs.forgetViewOf": "删除视图 {name}",
  "runs.col.state": "状态", "runs.col.name": "名称", "runs.col.project": "项目", "runs.col.connection": "连接", "runs.col.user": "用户", "runs.col.tags": "标签", "runs.col.tag": "首个标签", "runs.col.note": "备注",
  "runs.col.started": "开始时间", "runs.col.duration": "时长", "runs.col.step": "步数", "runs.col.main": "主指标",
  "runs.tickAll": "全部勾选或清除勾选", "runs.tickOne": "勾选 {name}", "runs.mostTicked": "最多可勾选 {n} 个实验", "runs.notLogged": "该实验未记录", "runs.best": "最佳 {value}，第 {step} 步", "runs.atStep": "第 {n} 步",
  "runs.curves": "所勾选实验的曲线", "runs.showCurves": "显示曲线", "runs.hideCurves": "隐藏曲线", "runs.ticked": "已勾选 {n} 个", "runs.noneTicked": "曲线", "runs.underCursor": "光标所在实验",
  "runs.clear": "清除", "runs.hideCurve": "隐藏 {name} 的曲线", "runs.showCurve": "显示 {name} 的曲线", "runs.untick": "取消勾选 {name}", "runs.tickHint": "勾选实验，即可在此叠加曲线；按 j、k 查看光标所在实验。",
  "runs.nothingLogged": "尚无记录。", "runs.hideTicked": "隐藏所勾选的实验", "runs.unhideTicked": "重新显示所勾选的实验", "runs.exportCsv": "导出为 CSV",
  "runs.new": "{n} 个新实验", "runs.updated": "{age}前更新", "runs.failedToRead": "无法读取列表：{message}", "runs.edit": "编辑标签和备注", "runs.editHow": "Enter 保存，Esc 放弃",
  "runs.tagsHint": "标签，用逗号分隔", "runs.noteHint": "这个实验是做什么的",
  "runs.none": "还没有实验", "runs.noneLocal": "在本机任意 Python 脚本中记录一个：", "runs.noneRemote": "在服务器上训练？通过 SSH 只读同步：", "runs.noneDemo": "或观看完整演示：",
  "runs.noMatch": "没有符合条件的实验", "runs.noMatchHow": "筛选条件由词和比较组成，须全部满足：", "runs.filterExamples": "resnet                 名称、项目或标签中包含\nstate:running          或 failed、stalled、lost …\ntag:baseline\nloss<0.3  val/accuracy>=85\nlr=0.001", "runs.showAll": "显示全部实验",
};
