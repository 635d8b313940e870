// What others say in English, the system, its ssh, the libraries: in Chinese where it is known, else marked
// as their words. Pure.

// [what they say, what it means]; the first that fits a place counts. System errors as strerror(3) and
// Windows have them.
const CHINESE = [
  [/\[(?:Errno|WinError) -?\d+\] /g, ""],
  [/Connection refused|No connection could be made because the target machine actively refused it/g, "连接被拒绝"],
  [/Connection reset by peer|An existing connection was forcibly closed by the remote host/g, "连接被对方重置"],
  [/Connection aborted|Software caused connection abort/g, "连接被中止"],
  [/Connection timed out|Operation timed out|timed out/g, "超时"],
  [/Broken pipe/g, "连接已断开"],
  [/No route to host/g, "没有到该主机的路由"],
  [/Network is unreachable/g, "网络不可达"],
  [/Network is down/g, "网络已断开"],
  [/Host is down/g, "主机已关闭"],
  [/Name or service not known|nodename nor servname provided, or not known|getaddrinfo failed|No address associated with hostname/g, "主机名无法解析"],
  [/Temporary failure in name resolution/g, "域名解析暂时失败"],
  [/Permission denied(?! \()|permission denied/g, "没有权限"],
  [/Operation not permitted/g, "操作不被允许"],
  [/No such file or directory|no such file/gi, "没有这个文件或目录"],
  [/Not a directory/g, "不是目录"],
  [/Is a directory/g, "是目录"],
  [/Directory not empty/g, "目录非空"],
  [/File exists/g, "文件已存在"],
  [/File name too long/g, "文件名过长"],
  [/No space left on device/g, "磁盘已满"],
  [/Disk quota exceeded/g, "超出磁盘配额"],
  [/Read-only file system/g, "文件系统为只读"],
  [/Input\/output error/g, "输入输出错误"],
  [/Stale file handle/g, "文件句柄已失效"],
  [/Too many open files in system|Too many open files/g, "打开的文件过多"],
  [/Too many levels of symbolic links/g, "符号链接层数过多"],
  [/Cannot allocate memory/g, "内存不足"],
  [/can.t start new thread/g, "无法启动新线程"],
  [/No buffer space available/g, "网络缓冲区不足"],
  [/Resource temporarily unavailable/g, "资源暂时不可用"],
  [/Address already in use/g, "地址已被占用"],
  [/Error reading SSH protocol banner/g, "没有读到 SSH 协议标识"],
  [/No existing session|SSH session not active/g, "SSH 会话未建立"],
  [/Authentication failed\.?/g, "认证失败"],
  [/Authentication timeout\.?/g, "认证超时"],
  [/end of stream|EOF during negotiation|Socket is closed|Server connection dropped/g, "连接被对方关闭"],
  [/Channel closed\.?/g, "通道已关闭"],
  [/Incompatible ssh (?:peer|server) \((.*?)\)/g, "对方的 SSH 不兼容（$1）"],
  [/Administratively prohibited/g, "被管理员禁止"],
  [/Connect failed/g, "连接失败"],
  [/it is signed by an authority that known_hosts does not trust for this host/g,
    "known_hosts 不信任为该主机签发证书的机构"],
  [/it is no host certificate/g, "不是主机证书"],
  [/it has a critical option, which OpenSSH allows in no host certificate/g, "含有关键选项，OpenSSH 不允许主机证书带有它"],
  [/it is not valid now/g, "目前不在有效期内"],
  [/^it is made for (.+)$/g, "是为 $1 签发的"],
  [/the server's host certificate can't be read/g, "无法读取服务器的主机证书"],
];

// Prompts of ours and of OpenSSH and PAM, whole.
/** @type {[RegExp, any][]} */
const PROMPTS = [
  [/^Passphrase for (.+?):? *$/, "密钥 $1 的口令"],
  [/^Password for (.+?):? *$/, "$1 的密码"],
  [/^Enter passphrase for key '?(.+?)'?:? *$/, "密钥 $1 的口令"],
  [/^(?:\((.+?)\) )?(?:(.+)'s )?password:? *$/i,
    (_, login, user) => [login || user, "密码"].filter(Boolean).join(" 的")],
  [/^(?:\((.+?)\) )?(?:Verification|One-time|Authentication) (?:code|password)(?: \(OATH\) for .*)?:? *$/i,
    "一次性验证码"],
];

const chinese = /[\u3400-\u9fff]/;

/** A text with the phrases that are known in Chinese. */
export const inChinese = (text) => CHINESE.reduce((words, [said, meant]) => words.replace(said, meant), text);

/** A text by itself: {text, own}; own: it stays as somebody else said it, and is to be marked as such. */
export function wholeInChinese(text) {
  const words = inChinese(text);
  return {text: words, own: /[a-z]{3}/i.test(words) && !chinese.test(words)};
}

/** A prompt in Chinese, or null where only its author knows what it asks. */
export function promptInChinese(text) {
  const [said, meant] = PROMPTS.find(([form]) => form.test(text)) || [];
  return said ? text.replace(said, meant) : null;
}
