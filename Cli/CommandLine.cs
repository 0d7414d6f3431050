using System.CommandLine;
using System.CommandLine.Invocation;
using Broker.Cli.Verbs;

namespace Broker.Cli;

/// <summary>All verbs, and what every one of them has: whom to talk to, and how to print.</summary>
internal static class CommandLine
{
    public static RootCommand Create()
    {
        var root = new RootCommand(Verb.WithExamples(
            "Talks to the brokers of Broker.Aspire.",
            "broker -s http://localhost:7001 cluster status",
            "broker context add local http://localhost:7001    # then without -s",
            "broker pub orders.eu.created 'hello'",
            "broker sub 'orders.>'",
            "broker group info billing -o json"))
        {
            GlobalOptions.Servers,
            GlobalOptions.Context,
            GlobalOptions.Format,
            GlobalOptions.Timeout,
        };
        root.Subcommands.Add(PubVerb.Create());
        root.Subcommands.Add(SubVerb.Create());
        root.Subcommands.Add(ReadVerb.Create());
        root.Subcommands.Add(TopicVerbs.Create());
        root.Subcommands.Add(GroupVerbs.Create());
        root.Subcommands.Add(DeadLetterVerbs.Create());
        root.Subcommands.Add(DelayedVerbs.Create());
        root.Subcommands.Add(ClusterVerbs.Create());
        root.Subcommands.Add(BenchVerbs.Create());
        root.Subcommands.Add(TopVerb.Create());
        root.Subcommands.Add(ContextVerbs.Create());
        root.Subcommands.Add(CompletionVerb.Create());
        ExamplesHelp.Use(root);
        return root;
    }

    public static async Task<int> RunAsync(string[] args)
    {
        var parsed = Create().Parse(args);
        if (parsed.Action is ParseErrorAction)
        {
            var error = parsed.InvocationConfiguration.Error;

            // A word that is no verb says more than that a verb is missing.
            var problems = parsed.UnmatchedTokens.Count > 0
                ? [$"'{parsed.UnmatchedTokens[0]}' is not known here."]
                : parsed.Errors.Select(static problem => problem.Message);
            foreach (var problem in problems)
            {
                await error.WriteLineAsync($"broker: {problem}");
            }

            await error.WriteLineAsync($"Try '{PathOf(parsed.CommandResult.Command)} --help'.");
            return (int)ExitCode.Usage;
        }

        return await parsed.InvokeAsync();
    }

    private static string PathOf(Command command)
    {
        var names = new List<string>();
        for (var at = command; at is not RootCommand and not null; at = at.Parents.OfType<Command>().FirstOrDefault())
        {
            names.Insert(0, at.Name);
        }

        return string.Join(' ', ["broker", .. names]);
    }
}
