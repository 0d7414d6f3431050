using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using Broker.Cli.Verbs;

namespace Broker.Cli;

/// <summary>
/// The help of a verb ends with its examples. They stand in its description (<see cref="Verb.WithExamples"/>), of which
/// the help of the verb above it shows the first part alone.
/// </summary>
internal sealed class ExamplesHelp(HelpAction help, IReadOnlyDictionary<Command, string> examples)
    : SynchronousCommandLineAction
{
    public static void Use(RootCommand root)
    {
        var examples = new Dictionary<Command, string>();
        TakeExamples(root, examples);
        var option = root.Options.OfType<HelpOption>().Single();
        option.Action = new ExamplesHelp((HelpAction)option.Action!, examples);
    }

    public override int Invoke(ParseResult parseResult)
    {
        var code = help.Invoke(parseResult);
        if (examples.TryGetValue(parseResult.CommandResult.Command, out var text))
        {
            parseResult.InvocationConfiguration.Output.WriteLine(text);
        }

        return code;
    }

    private static void TakeExamples(Command command, Dictionary<Command, string> examples)
    {
        var description = command.Description ?? "";
        var at = description.IndexOf(Verb.ExamplesBegin, StringComparison.Ordinal);
        if (at >= 0)
        {
            examples[command] = description[at..].TrimStart();
            command.Description = description[..at];
        }

        foreach (var verb in command.Subcommands)
        {
            TakeExamples(verb, examples);
        }
    }
}
