using System.CommandLine;
using Broker.Cli.Text;

namespace Broker.Cli;

/// <summary>Options that every verb takes, before it or behind it.</summary>
internal static class GlobalOptions
{
    public const string ServersVariable = "BROKER_SERVERS";
    public const string ContextVariable = "BROKER_CONTEXT";
    public const string StandardServer = "http://localhost:7001";

    public static readonly Option<string[]> Servers = new("--server", "-s")
    {
        Description = "Addresses of brokers (gRPC); one is enough, several by commas or by several options. "
            + $"Default: the context's, or {ServersVariable}, or {StandardServer}.",
        Recursive = true,
        DefaultValueFactory = _ => [],
        HelpName = "address",
    };

    public static readonly Option<string?> Context = new("--context")
    {
        Description = $"A saved connection, see 'broker context'. Default: {ContextVariable}, or the one that is used.",
        Recursive = true,
        HelpName = "name",
    };

    public static readonly Option<OutputFormat?> Format = Values.Choice<OutputFormat>(
        "--output",
        "How to print. Default: table for a terminal, plain (columns by tabs, no header) for a pipe. "
        + "json: one document, or a line each for what has no end.",
        "-o",
        recursive: true);

    public static readonly Option<TimeSpan?> Timeout = Values.Duration(
        "--timeout", "How long brokers may take to answer, e.g. 500ms, 10s. Default: 30s.", recursive: true);
}
