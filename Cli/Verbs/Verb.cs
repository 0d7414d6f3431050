using System.CommandLine;
using System.Text.Json.Nodes;
using Broker.Cli.Text;
using Broker.Client;

namespace Broker.Cli.Verbs;

/// <summary>What all verbs have in common: help with examples, one way to fail.</summary>
internal static class Verb
{
    /// <param name="name">As it is typed.</param>
    /// <param name="description">For the help: what it does, then examples (see <see cref="WithExamples"/>).</param>
    /// <param name="symbols">Its arguments, in their order, and options.</param>
    /// <param name="run">What it does.</param>
    public static Command Make(
        string name,
        string description,
        IEnumerable<Symbol> symbols,
        Func<Session, ParseResult, CancellationToken, Task> run)
    {
        var command = new Command(name, description);
        foreach (var symbol in symbols)
        {
            switch (symbol)
            {
                case Argument argument:
                    command.Arguments.Add(argument);
                    break;
                case Option option:
                    command.Options.Add(option);
                    break;
                default:
                    throw new ArgumentException($"{symbol.Name} is neither argument nor option.", nameof(symbols));
            }
        }

        command.SetAction((parsed, cancellationToken) => RunAsync(parsed, run, cancellationToken));
        return command;
    }

    /// <summary>Verbs under a common name.</summary>
    public static Command Family(string name, string description, params Command[] verbs)
    {
        var command = new Command(name, description);
        foreach (var verb in verbs)
        {
            command.Subcommands.Add(verb);
        }

        return command;
    }

    /// <summary>What stands between a description and its examples.</summary>
    public const string ExamplesBegin = "\n\nExamples:\n";

    public static string WithExamples(string description, params string[] examples) =>
        $"{description}{ExamplesBegin}{string.Join('\n', examples.Select(static example => $"  {example}"))}";

    public static Argument<string> Name(string name, string description) => new(name) { Description = description };

    public static Option<bool> Flag(string name, string description) => new(name) { Description = description };

    public static Option<bool> Yes() => Flag("--yes", "Do not ask.");

    public static Option<string?> Text(string name, string description, string value = "text") =>
        new(name) { Description = description, HelpName = value };

    private static async Task<int> RunAsync(
        ParseResult parsed,
        Func<Session, ParseResult, CancellationToken, Task> run,
        CancellationToken cancellationToken)
    {
        var isJson = parsed.GetValue(GlobalOptions.Format) == OutputFormat.Json;
        var error = parsed.InvocationConfiguration.Error;
        try
        {
            await using var session = Session.Open(parsed);
            await run(session, parsed, cancellationToken);
            return (int)ExitCode.Done;
        }
        catch (UsageException wrong)
        {
            return await FailAsync(error, isJson, ExitCode.Usage, wrong.Message, "");
        }
        catch (BrokerClientException refused)
        {
            var words = refused.Message.Replace(
                "that Addresses names", "that --server names", StringComparison.Ordinal);
            return await FailAsync(error, isJson, ExitCodes.Of(refused.Code), words, refused.Reason);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return (int)ExitCode.Cancelled;
        }
        catch (IOException broken)
        {
            // A file that is not there, or whoever read this program's output has gone (head).
            return await FailAsync(error, isJson, ExitCode.Usage, broken.Message, "");
        }
        catch (UnauthorizedAccessException forbidden)
        {
            return await FailAsync(error, isJson, ExitCode.Usage, forbidden.Message, "");
        }
        catch (ArgumentException wrong)
        {
            return await FailAsync(error, isJson, ExitCode.Usage, wrong.Message, "");
        }
    }

    private static async Task<int> FailAsync(
        TextWriter error, bool isJson, ExitCode code, string message, string reason)
    {
        if (isJson)
        {
            var json = new JsonObject { ["error"] = message, ["exit_code"] = (int)code };
            if (reason.Length > 0)
            {
                json["reason"] = reason;
            }

            await error.WriteLineAsync(json.ToJsonString());
        }
        else
        {
            await error.WriteLineAsync($"broker: {message}");
        }

        return (int)code;
    }
}
