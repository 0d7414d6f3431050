using System.CommandLine;

namespace Broker.Cli.Verbs;

/// <summary>
/// Scripts that have a shell ask this program what may come next: the parser answers the directive [suggest:POSITION].
/// </summary>
internal static class CompletionVerb
{
    private const string Bash = """
        _broker() {
          local IFS=$'\n'
          COMPREPLY=($(broker "[suggest:${COMP_POINT}]" "${COMP_LINE}" 2>/dev/null))
        }
        complete -o default -F _broker broker
        """;

    private const string Zsh = """
        #compdef broker
        _broker() {
          local -a answers
          answers=("${(@f)$(broker "[suggest:${CURSOR}]" "${BUFFER}" 2>/dev/null)}")
          compadd -a answers
        }
        compdef _broker broker
        """;

    private const string PowerShell = """
        Register-ArgumentCompleter -Native -CommandName broker -ScriptBlock {
            param($word, $ast, $position)
            broker "[suggest:$position]" "$ast" 2>$null | ForEach-Object {
                [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
            }
        }
        """;

    private static readonly Argument<string> Shell = MakeShell();

    public static Command Create() => Verb.Make(
        "completion",
        Verb.WithExamples(
            "Prints what makes a shell complete verbs and options.",
            "source <(broker completion bash)                  # in ~/.bashrc",
            "broker completion zsh > \"${fpath[1]}/_broker\"",
            "broker completion pwsh | Out-String | Invoke-Expression"),
        [Shell],
        static (session, parsed, _) =>
        {
            session.Output.Raw(parsed.GetRequiredValue(Shell) switch
            {
                "bash" => Bash,
                "zsh" => Zsh,
                _ => PowerShell,
            });
            return Task.CompletedTask;
        });

    private static Argument<string> MakeShell()
    {
        var shell = Verb.Name("shell", "Which one.");
        shell.AcceptOnlyFromAmong("bash", "zsh", "pwsh");
        return shell;
    }
}
