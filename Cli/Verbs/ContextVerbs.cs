using System.CommandLine;

namespace Broker.Cli.Verbs;

/// <summary>Saved connections.</summary>
internal static class ContextVerbs
{
    private static readonly Argument<string> Name = Verb.Name("name", "Its name.");

    private static readonly Argument<string[]> Servers = new("address")
    {
        Description = "Addresses of brokers (gRPC), e.g. http://localhost:7001; one is enough.",
        Arity = ArgumentArity.OneOrMore,
    };

    public static Command Create() => Verb.Family(
        "context",
        "Saved connections: their names stand for addresses.",
        Verb.Make(
            "add",
            Verb.WithExamples(
                "Saves a connection, or another one in its place, and uses it from now on.",
                "broker context add prod http://a:7001 http://b:7001"),
            [Name, Servers],
            Add),
        Verb.Make("use", "Uses a saved connection from now on.", [Name], Use),
        Verb.Make("list", "Lists saved connections.", [], List),
        Verb.Make("remove", "Forgets a saved connection.", [Name], Remove));

    private static Task Add(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        var servers = Addresses.Parse(parsed.GetRequiredValue(Servers), "the context");
        var saved = SavedContexts.Load();
        saved.Contexts[name] = [.. servers.Select(static server => server.OriginalString)];
        saved.Current = name;
        saved.Save();
        session.Output.Done($"Context '{name}' is saved and used.", ("name", name));
        return Task.CompletedTask;
    }

    private static Task Use(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        var saved = SavedContexts.Load();
        saved.Find(name);
        saved.Current = name;
        saved.Save();
        session.Output.Done($"Context '{name}' is used.", ("name", name));
        return Task.CompletedTask;
    }

    private static Task List(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var saved = SavedContexts.Load();
        session.Output.List(
            saved.Contexts,
            new("name", static context => context.Key),
            new("used", context => context.Key == saved.Current),
            new("servers", static context => context.Value));
        return Task.CompletedTask;
    }

    private static Task Remove(Session session, ParseResult parsed, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(Name);
        var saved = SavedContexts.Load();
        if (!saved.Contexts.Remove(name))
        {
            throw saved.Unknown(name);
        }

        saved.Current = saved.Current == name ? null : saved.Current;
        saved.Save();
        session.Output.Done($"Context '{name}' is forgotten.", ("name", name));
        return Task.CompletedTask;
    }
}
