using System.CommandLine;
using Broker.Cli.Text;
using Broker.Client;
using Spectre.Console;

namespace Broker.Cli;

/// <summary>One run of a verb: the brokers that it talks to, and where it prints.</summary>
internal sealed class Session : IAsyncDisposable
{
    private readonly ParseResult _parsed;
    private BrokerClient? _client;

    private Session(ParseResult parsed, Output output)
    {
        _parsed = parsed;
        Output = output;
    }

    public Output Output { get; }

    public TextWriter Error => _parsed.InvocationConfiguration.Error;

    public static TimeProvider Clock => TimeProvider.System;

    /// <summary>Connects at its first use: a verb that needs no broker needs none.</summary>
    public BrokerClient Client => _client ??= Connect();

    /// <summary>The addresses that the options, the environment or the context name, in this order.</summary>
    public IReadOnlyList<Uri> Servers => ServersOf(_parsed);

    public static Session Open(ParseResult parsed)
    {
        // Tests give a writer of their own: that is no terminal.
        var isTerminal = parsed.InvocationConfiguration.Output is not StringWriter && !Console.IsOutputRedirected;
        var format = parsed.GetValue(GlobalOptions.Format) ?? (isTerminal ? OutputFormat.Table : OutputFormat.Plain);
        return new Session(parsed, new Output(parsed.InvocationConfiguration.Output, format, isTerminal));
    }

    /// <summary>A client of its own, for loads that need several.</summary>
    public BrokerClient Connect(Func<BrokerClientOptions, BrokerClientOptions>? with = null)
    {
        var patience = _parsed.GetValue(GlobalOptions.Timeout) ?? TimeSpan.FromSeconds(30);
        if (patience <= TimeSpan.Zero)
        {
            throw new UsageException("--timeout is 0; expected a duration above it.");
        }

        var options = new BrokerClientOptions
        {
            Addresses = Servers,
            ClientName = "broker-cli",
            PublishTimeout = patience,
            OperationTimeout = patience,
        };
        return new BrokerClient(with?.Invoke(options) ?? options);
    }

    /// <summary>
    /// Asks whether to do what cannot be undone. Without a terminal nobody can answer, so the command must say it.
    /// </summary>
    /// <exception cref="UsageException">Nobody said yes.</exception>
    public async Task ConfirmAsync(bool yes, string what, CancellationToken cancellationToken)
    {
        if (yes)
        {
            return;
        }

        if (!Output.IsTerminal || Console.IsInputRedirected)
        {
            throw new UsageException($"{what} cannot be undone; say --yes to do it.");
        }

        var prompt = new ConfirmationPrompt($"{Markup.Escape(what)} cannot be undone. Do it?") { DefaultValue = false };
        if (!await prompt.ShowAsync(Output.Terminal, cancellationToken))
        {
            throw new UsageException("Nothing was done.");
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_client is not null)
        {
            await _client.DisposeAsync();
        }
    }

    private static IReadOnlyList<Uri> ServersOf(ParseResult parsed)
    {
        var given = parsed.GetValue(GlobalOptions.Servers) ?? [];
        if (given.Length > 0)
        {
            return Addresses.Parse(given, "--server");
        }

        var saved = SavedContexts.Load();
        if (parsed.GetValue(GlobalOptions.Context) is { Length: > 0 } name)
        {
            return saved.Find(name);
        }

        if (Environment.GetEnvironmentVariable(GlobalOptions.ServersVariable) is { Length: > 0 } servers)
        {
            return Addresses.Parse([servers], GlobalOptions.ServersVariable);
        }

        if (Environment.GetEnvironmentVariable(GlobalOptions.ContextVariable) is { Length: > 0 } context)
        {
            return saved.Find(context);
        }

        return saved.Current is { } current
            ? saved.Find(current)
            : Addresses.Parse([GlobalOptions.StandardServer], "the default");
    }
}

/// <summary>Addresses of brokers as people write them.</summary>
internal static class Addresses
{
    private static readonly char[] Separators = [',', ';', ' '];

    /// <param name="texts">Each one address or several.</param>
    /// <param name="source">Where they stand, for the sentence.</param>
    /// <exception cref="UsageException">One is none, or there is none.</exception>
    public static IReadOnlyList<Uri> Parse(IEnumerable<string> texts, string source)
    {
        var addresses = texts
            .SelectMany(static text => text.Split(Separators, StringSplitOptions.RemoveEmptyEntries))
            .Select(text => Parse(text, source))
            .ToList();
        return addresses.Count is >= 1 and <= 64
            ? addresses
            : throw new UsageException($"{source} names {addresses.Count} brokers; expected 1 to 64 addresses.");
    }

    private static Uri Parse(string text, string source)
    {
        var whole = text.Contains("://", StringComparison.Ordinal) ? text : $"http://{text}";
        return Uri.TryCreate(whole, UriKind.Absolute, out var address) && address.Scheme is "http" or "https"
            ? address
            : throw new UsageException(
                $"{source} has '{text}'; expected the address of a broker's gRPC port, as http://localhost:7001.");
    }
}
