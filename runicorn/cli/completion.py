"""Completion scripts for bash, zsh and PowerShell, made from the commands' own parsers.

`eval "$(runicorn --completion bash)"` in ~/.bashrc, `eval "$(runicorn --completion zsh)"` in ~/.zshrc, or in
PowerShell's $PROFILE `runicorn --completion powershell | Out-String | Invoke-Expression`. Where no command,
subcommand or option fits, the shell offers file names as it always does.
"""

from __future__ import annotations

import contextlib
import io
import re
from typing import TYPE_CHECKING

from runicorn.cli import main as cli
from runicorn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SHELLS = ("bash", "zsh", "powershell")
# Its variables are named so that none is special in zsh, as `path` and `words` are.
FUNCTION = """\
_runicorn() {
    local offered cur="${COMP_WORDS[COMP_CWORD]}" under="" word
    for word in "${COMP_WORDS[@]:1:$((COMP_CWORD - 1))}"; do
        case " $(_runicorn_words "$under") " in
            *" $word "*) [[ $word != -* ]] && under="${under:+$under }$word";;
        esac
    done
    offered="$(_runicorn_words "$under")"
    [[ $cur == -* ]] || offered="$(printf '%s\\n' $offered | grep -v '^-')"
    COMPREPLY=($(compgen -W "$offered" -- "$cur"))
}
complete -o default -F _runicorn runicorn
"""
# zsh runs bash's completions once its own are there, which a bare ~/.zshrc has not begun.
ZSH = """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
autoload -Uz bashcompinit && bashcompinit
"""
# For Windows PowerShell 5.1 and later. The last word before the cursor is the one being typed, unless that is
# empty.
POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName runicorn -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $known = @{
%s    }
    $typed = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
    if ($wordToComplete) { $typed = @($typed | Select-Object -SkipLast 1) }
    $under = ''
    foreach ($word in $typed) {
        $next = "$under $word".Trim()
        if ($known.ContainsKey($next)) { $under = $next }
    }
    $known[$under] |
        Where-Object { $_.StartsWith($wordToComplete, 'Ordinal') -and ($wordToComplete -or $_[0] -ne '-') } |
        ForEach-Object { [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_) }
}
"""


def parsers() -> dict[str, Any]:
    """Return {command: its parser, or the main(argv) of one that parses for itself}."""
    return {name: cli.door(cli.COMMANDS[name][0]).main if name in cli.OWN_ARGUMENTS else cli.parser_of(name)
            for name in cli.COMMANDS}


def script(shell: str) -> str:
    """Return the script for `shell` ("bash", "zsh" or "powershell"). Raises UsageError for another shell."""
    if shell not in SHELLS:
        raise UsageError(f"completion is for {', '.join(SHELLS[:-1])} or {SHELLS[-1]}: runicorn "
                         f"--completion bash")
    words_by_path = {"": [*cli.COMMANDS, "generate-manifest", "--help", "--version", "--completion"]}
    for name, parser in parsers().items():
        words_by_path.update(words_of(parser, name))
    words_by_path["generate-manifest"] = words_by_path["manifest"]
    if shell == "powershell":
        return POWERSHELL % "".join(f"        '{path}' = @({', '.join(map(repr, words))})\n"
                                    for path, words in words_by_path.items())
    cases = "".join(f'        "{path}") echo "{" ".join(words)}";;\n'
                    for path, words in words_by_path.items())
    words = f'_runicorn_words() {{\n    case "$1" in\n{cases}    esac\n}}\n'
    return f'{ZSH if shell == "zsh" else ""}{words}{FUNCTION}'


def words_of(parser: Any, path: str) -> dict[str, Any]:
    """Return {path: [options and subcommands]} of a parser and all below it."""
    if callable(parser):
        return {path: sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", help_of(parser))))}
    words = {path: []}
    for action in parser._actions:
        words[path] += [option for option in action.option_strings if option.startswith("--")]
        if isinstance(action.choices, dict):        # subcommands
            words[path] += list(action.choices)
            for name, child in action.choices.items():
                words.update(words_of(child, f"{path} {name}"))
    return words


def help_of(main: Callable[..., Any]) -> str:
    """Return what `main(["--help"])` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main(["--help"])
    return printed.getvalue()
