"""Masks what looks like a secret, by its key or by its shape, in what is about to be written. Changes no
value in place.

Every pattern takes time linear in the text: each repetition is bounded, or begins where no other match of it
can.
"""

import re
from functools import lru_cache

MASK = "[masked]"
# What a key says of its value. It is a secret: never; if capitals, small letters and digits mix; if it looks
# random; if it is one word;
# always; always, also a number.
NONE, MIXED, RANDOM, WORD, SECRET, PASSWORD = range(6)

# Words before "token" and "key" that make a secret of it. Other tokens are a language model's, other keys
# name columns and metrics.
SERVICES = ("hf huggingface hub wandb openai ai anthropic claude gemini google gcp aws azure github gh "
            "gitlab gl slack telegram discord "
            "dingtalk feishu wecom stripe npm pypi notion cohere mistral groq replicate openrouter deepseek "
            "dashscope zhipu moonshot comet "
            "neptune swanlab kaggle modelscope pinecone sentry vault docker databricks cloudflare jupyter "
            "api access secret private auth "
            "account deploy sas").split()
ACCOUNTS = {*SERVICES, *"oauth oauth2 auth2 refresh bearer bot personal session jwt csrf security service "
                        "login app client webhook "
                        "registry write admin my git repo".split()}
KEYS = {*SERVICES, *"app encryption signing subscription ssh fernet hmac shared".split()}
PASSES = set("forward backward first second third last next final single multi one two high low band all "
             "each "
             "full num n max min per by".split())
SUFFIXES = set("value prod dev test staging ro rw read write old new backup hash plain plaintext raw b64 "
               "base64 encoded pem".split())
PASSWORDS = ("password", "passwd", "passphrase", "passcode", "密码", "口令", "パスワード", "비밀번호")
SECRETS = ("secret", "credential", "apikey", "accesskey", "secretkey", "privatekey", "密钥", "秘钥", "凭证",
           "凭据", "授权码")
STEMS = "pass pwd pw psw secret token key auth cred cookie sig sk ak".split()
STEM = "|".join(STEMS)

PLACEHOLDER = (r"(?i)\W*|none|null|nil|true|false|yes|no|on|off|auto|default|required|optional|unset|empty|"
               r"n/?a|redacted|hidden|todo|dummy|example|prompt|ask|env|stdin|keyring|(?:en|dis)abled|x{3,}|<[^<>]*>|\[[^\[\]]*\]|\{\{.*\}\}|\$[{(].*[})]|"
               r"(?-i:\$[A-Z_][A-Z0-9_]*)|%[A-Z_]+%|your[-_ "
               r"].*|.*[-_]here|(?:env|arn):.*|os\.environ.*|[a-z][a-z0-9+.-]*://(?![^/]*@).*")
PATH = (r"(?:~|\.\.?|[A-Za-z]:)[\\/].*|(?:/[\w.@ -]{1,64}){2,16}/?|id_(?:rsa|dsa|ecdsa|ed25519)|"
        r"[\w./\\ -]{1,200}\.(?:json|pem|key|pub|txt|ya?ml|env|crt|cer|p12|pfx|ini|toml|cfg|conf|enc|gpg)")

# Prefixes of secrets: before letters and digits alone, and before a text that may hold - and _ as well.
SOLID = ("ghp_ gho_ ghu_ ghs_ ghr_ hf_ api_org_ sk- sk_live_ sk_test_ rk_live_ rk_test_ npm_ r8_ gsk_ xai- "
         "pplx- dapi dop_v1_ shpat_ "
         "lin_api_ ntn_ sbp_ dckr_pat_ whsec_ KGAT_ tvly- SEC").split()
JOINED = ("github_pat_ glpat- gldt- glrt- glcbt- glptt- glsoat- sk-proj- sk-ant- sk-or- sk-svcacct- "
          "sk-admin- nvapi- pypi-AgE xoxb- xoxp- "
          "xoxa- xoxe- xoxs- xoxr- xapp- AIza GOCSPX- ya29. SG. hvs. wandb_v1_ lsv2_ pcsk_ ATATT3 tskey- "
          "AGE-SECRET-KEY-").split()
LONG = r"[A-Za-z0-9-]{16}|://"       # what a text needs for one of these, and a key for any shape
SOLID_TAIL = r"(?:[A-Za-z0-9]{30,}|(?=[a-z0-9]*[A-Z])(?=[A-Z0-9]*[a-z])(?=[A-Za-z]*\d)[A-Za-z0-9]{16,})"
# (texts of which one must be there, pattern; its group, else all of it, is the secret)
SHAPES = (
    (("-----BEGIN",),
     r"(?s)-----BEGIN [^-]{0,40}PRIVATE KEY[^-]{0,9}-----.*?(?:-----END [^-]{0,60}-----|\Z)"),
    (("PRIVATE KEY-----",), r"(?s)\A.*-----END [^-]{0,40}PRIVATE KEY-----"),       # its head was cut off
    (("://",), r"(?<=://)[^\s/:@\"'<>]{0,256}:([^\s/\"'<>]{1,512})@"),
    (("://",), r"(?<=://)(?=[^\s/:@]{0,256}\d)([\w.~%-]{20,256})@"),
    (("hook", "sctapi.", "api.day.app"),
     r"(?:hooks\.slack\.com/\w{1,20}/|/open-apis/bot/(?:v2/)?hook/|discord(?:app)?\.com/api/webhooks/|/webhook/send\?key=|"
     r"\.webhook\.office\.com/webhookb2/|sctapi\.ftqq\.com/|api\.day\.app/)([\w/@.-]{8,})"),
    ((":AA",), r"(?<!\d)\d{6,12}:AA[\w-]{30,}"),
    (("eyJ",), r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),
    (("AKIA", "ASIA"), r"(?<![A-Za-z0-9])A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])"),
    (("LTAI", "AKID"), r"(?<![A-Za-z0-9])(?:LTAI|AKID)(?=[A-Za-z]{0,40}\d)[A-Za-z0-9]{12,40}(?![A-Za-z0-9])"),
    (("Q~",), r"\w{3}\dQ~[\w.~-]{31,34}"),
    (("earer ",), r"\b[Bb]earer ((?=[\w.~+/-]{0,99}\d)[\w.~+/-]{8,}=*|[\w.~+/-]{24,}=*)"),
    (("Basic ",), r"\bBasic ([A-Za-z0-9+/]{6,}={1,2}|(?=[A-Za-z0-9+/]{0,99}\d)[A-Za-z0-9+/]{24,})"),
    (("sshpass ", " login "),
     r"(?:sshpass|(?:docker|podman|registry|az|oc) login(?: .{0,200})?) -p ?['\"]?([^\s'\"]{1,256})"),
    ((" login ",),
     r"(?:wandb|swanlab|comet|hf|huggingface-cli) login (?:-\S{1,99} ){0,3}([A-Za-z0-9]{20,256})"),
    (("mysql", "mariadb"), r"\bm(?:ysql|ariadb)[\w-]{0,12} (?:.{0,200}? )?-p([^\s'\"]{1,256})"),
    (("curl ", "wget "), r"\s(?:-u|--user) ?['\"]?[^\s:'\"]{1,64}:([^\s'\"]{1,256})"),
    (("密码", "口令", "令牌", "密钥", "秘钥"),
     r"(?:密码|口令|(?:令牌|密钥|秘钥)(?=.{0,40}[A-Za-z]))[\"'”]?\s{0,3}(?:是|为|[:：=])\s{0,3}[\"'“]?((?=[!-~]{0,99}[0-9A-Za-z])[!#-&(-+./-:<-~-]{4,256})"),
)
PREFIXES = (*SOLID, *JOINED)
MARKERS = tuple({marker: None for markers, _ in SHAPES for marker in markers})
NAME = rf"(?i)(?<![\w.\-])(?:(?:api|access|secret|private|auth) )?[\w.\-]{{0,128}}?(?:{STEM})[\w.\-]{{0,64}}"
TAIL = (r"([\\\"'\])]{0,5})(\s{0,4}(?:=>|:=|==?|[:：])\s{0,4}|\s{1,4}(?:is\s{1,4})?)"
        r"(?:(Bearer|Basic|Token|Digest|ApiKey)\s{1,4})?"
        r"(?:[bfru]{0,2}(?:\"((?:\\.|[^\"\\\n]){0,4096})\"|'((?:\\.|[^'\\\n]){0,4096})'|\\+\"([^\"\\\n]{0,4096})\\+\"|\\+'([^'\\\n]{0,4096})\\+')"
        r"|(?!\[masked)[\"']?([^\s\"'`,;&)}\]]{1,2048}))")


def masked(value, not_secret=frozenset()):
    """Return a plain value (dict, list, str, number, bool, None) with MASK in place of each secret in it.

    not_secret: the `names` of keys whose values are written as they are; "*" among them means all keys.
    """
    return value if "*" in not_secret else _masked(value, not_secret, "", NONE)


def names(keys):
    """Return the names of keys (iterable of str, or one str) as `masked` compares them: "hf-tokenFile" is
    "hf_token_file"."""
    return frozenset("*" if key == "*" else "_".join(_words(str(key)))
                     for key in ([keys] if isinstance(keys, str) else keys or ()))


def without_masks(values):
    """Return a dict that was read from a file without the keys whose values hold a mask: those are no values
    to go on with."""
    plain = {key: without_masks(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in plain.items() if isinstance(value, dict) or not _holds_mask(value)}


def _holds_mask(value):
    if isinstance(value, (dict, list)):
        return any(map(_holds_mask, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and MASK in value


def _masked(value, allowed, key, inherited):
    """key: of the dict that holds `value`. inherited: what a key above said of all below it."""
    if isinstance(value, str):
        return MASK if _is_secret(inherited, value) else _text(value, allowed)
    if isinstance(value, dict):
        # {"name": "HF_TOKEN", "value": …}
        named = value.get("name", value.get("key")) if isinstance(value.get("value"), str) else None
        return {_text(name, allowed) if len(name) > 24 and re.search(LONG, name)
                else name: _field(item, allowed, named if name == "value" and isinstance(named, str) else key,
                                  name, inherited) for name, item in value.items()}
    return _list(value, allowed, key, inherited) if isinstance(value, (list, tuple)) else value


def _field(value, allowed, above, key, inherited):
    if value is None or isinstance(value, (bool, float)) or allowed and "_".join(_words(key)) in allowed:
        return value
    kind = max(_kind(key), _kind(f"{above}_{key}"))
    if isinstance(value, int):
        return MASK if kind == PASSWORD and value >= 1000 else value
    if isinstance(value, dict) and (key[-1:] not in "sS" or key[-4:].lower() == "pass"):
        kind = NONE             # below "password" stand settings, below "passwords" and "api_keys" secrets
    if kind == WORD and not isinstance(value, str):
        kind = RANDOM           # several words are those of a text
    return _masked(value, allowed, key, max(kind, inherited))


def _list(values, allowed, key, inherited):
    """Return a list, masked. It may be a command line: the text behind `--password` goes with it."""
    result, before, spared = [], NONE, False
    for value in values:
        text = value if isinstance(value, str) else ""
        name, equals, tail = text.partition("=")
        name = name if text[:1] == "-" or equals and re.fullmatch(r"[+~]*[\w./@\-]{1,255}", name) else ""
        follows, kind = text[:1] != "-", _kind(name)
        if allowed and (name and "_".join(_words(name)) in allowed or follows and spared):
            result.append(value)
        elif follows and _is_secret(before, text):
            result.append(MASK)
        elif equals and _is_secret(kind, tail):
            result.append(f"{name}={MASK}")
        else:
            result.append(_masked(value, allowed, key, inherited))
        spared = name[:1] == "-" and not equals and "_".join(_words(name)) in allowed
        before = NONE if follows or equals else kind
    return result


def _words(key):
    # Most keys, and cheaper than a first use of a pattern
    if key.isascii() and key.islower() and key.replace("_", "").isalnum():
        return [word for word in key[-200:].split("_") if word]
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_",
                                         key[-200:]).lower())


@lru_cache(maxsize=1024)
def _kind(key):
    """Return what a key says of its value: NONE, MIXED, RANDOM, WORD, SECRET or PASSWORD."""
    words = _words(key)
    while words and (words[-1] in SUFFIXES or words[-1].isdigit() and words[-2:-1] != ["pass"]):
        words.pop()
    if not words:
        return NONE
    last, before = (words[-1].rstrip("0123456789"),
                    words[-2] if len(words) > 1 and not key.endswith("." + words[-1]) else "")
    stem = last[:-1] if last.endswith("s") and not last.endswith("ss") else last
    if stem.endswith(PASSWORDS):
        return PASSWORD
    if last in ("pwd", "pw", "psw", "sshpass") or last == "pass" and before not in PASSES:
        return SECRET
    if (stem.endswith(SECRETS) or stem in ("cred", "authorization") or stem == "key" and words[-2:-1]
            and words[-2] in KEYS):
        return SECRET
    if stem.endswith(("token", "令牌")):
        if stem == "token":
            return WORD if before in ACCOUNTS or key.isupper() or not before and last == stem else RANDOM
        return WORD if stem[:-5] in ACCOUNTS or stem.endswith("令牌") else RANDOM
    return (RANDOM if stem in ("auth", "cookie", "signature", "sig", "ak", "sk") else MIXED
            if stem == "key" and before else NONE)


def _is_secret(kind, value):
    """Whether the text `value` of a key of this kind is a secret, and no placeholder, path or address."""
    if not kind or len(value) < 256 and re.fullmatch(f"{PLACEHOLDER}|{PATH}", value):
        return False
    if kind >= SECRET:
        return True
    value = re.sub(r"^(?:Bearer|Basic|Token) ", "", value)
    if kind == WORD:
        return len(value) > 3 and not value.isdigit() and re.search(r"[\s<>|\[\]]", value) is None
    pattern = (r"(?!.*[-_./][a-z]+[-_./])[\w+/=.~:%-]{16,}" if kind == RANDOM
               else r"(?=.*[A-Z])(?=.*[a-z])[A-Za-z0-9]{20,}={0,2}")
    return re.fullmatch(r"(?=.*\d)(?=.*[A-Za-z])" + pattern, value[:1024]) is not None


def _text(text, allowed):
    for prefixes, tail in ((JOINED, r"[\w-]{16,}(?:\.[\w-]{8,})?"),
                           (SOLID, SOLID_TAIL)) if _may_hold_prefix(text) else ():
        for prefix in prefixes:
            if prefix in text:
                text = re.sub(f"(?<![A-Za-z0-9]){re.escape(prefix)}{tail}", MASK, text)
    for markers, pattern in SHAPES if _holds(text, MARKERS) else ():
        if _holds(text, markers):
            text = re.sub(pattern, _hide, text)
    return _keyed(text, allowed) if _may_hold_key(text) else text


def _holds(text, words):
    return any(map(text.__contains__, words))


# Without a pattern: a run whose command line and config have nothing of the kind begins before any is made.
def _may_hold_prefix(text):
    return _holds(text, PREFIXES) and re.search(LONG, text) is not None


def _may_hold_key(text):
    return _holds(text.lower(), STEMS) if text.isascii() else re.search(f"(?i){STEM}", text) is not None


def _hide(match):
    (start, end), offset = match.span(match.lastindex or 0), match.start()
    if re.fullmatch(PLACEHOLDER, match[match.lastindex or 0][:256]):
        return match[0]
    return match[0][:start - offset] + MASK + match[0][end - offset:]


def _keyed(text, allowed):
    """Mask the values of `key=value`, `"key": "value"`, `--key value` and the like within a text."""
    pieces, end_before = [], 0
    for name in re.finditer(NAME, text):
        kind = _kind(name[0]) if name.start() >= end_before else NONE
        tail = (kind and not (allowed and "_".join(_words(name[0])) in allowed)
                and re.compile(TAIL).match(text, name.end()))
        if tail and _is_secret(kind, tail[tail.lastindex]) and _is_value(kind, name[0], tail):
            start, end = tail.span(tail.lastindex)
            pieces += [text[end_before:start], MASK]
            end_before = end
    return "".join(pieces) + text[end_before:]


def _is_value(kind, name, tail):
    """Whether what follows a key within a text is its value: not the next word of a sentence, nor an
    expression of a program."""
    closed, sign, scheme, quoted, value = (tail[1], tail[2].strip(), tail[3], tail.lastindex < 8,
                                           tail[tail.lastindex])
    if scheme or quoted and (closed or "=" in sign) or name[0] == "-" and sign in ("", "="):
        return True
    if closed[:1] == "]" or not quoted and re.search(r"[(\[{]|^[A-Za-z_]\w*\.[A-Za-z_]", value):
        # table[token] = x, password=getpass(…), token=args.token
        return False
    if "=" in sign:
        return len(value) > 64 or not _kind(value)              # token=hf_token
    if kind == PASSWORD and sign not in ("", "is") and tail.string[tail.end():tail.end() + 1] in ("", "\n"):
        return name.lower() != "pass"
    odd = re.search(r"\d", value) is not None and (re.search(r"[A-Za-z]", value) is not None
                                                   or kind == PASSWORD and len(value) > 5)
    return (odd and name.lower() != "pass" and len(value) > (4 if kind >= SECRET else 7)
            and (kind == PASSWORD or sign not in ("", "is")))
