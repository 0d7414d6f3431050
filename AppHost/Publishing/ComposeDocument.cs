using YamlDotNet.Core;
using YamlDotNet.Serialization;
using YamlDotNet.Serialization.EventEmitters;
using YamlDotNet.Serialization.NamingConventions;

namespace Broker.AppHost.Publishing;

/// <summary>The part of the compose specification that the system needs; a property's name is the key.</summary>
internal sealed class ComposeDocument
{
    public string Name { get; } = "broker-aspire";

    public Dictionary<string, ComposeService> Services { get; } = [];

    public Dictionary<string, object> Volumes { get; } = [];

    public string ToYaml() => new SerializerBuilder()
        .WithNamingConvention(UnderscoredNamingConvention.Instance)
        .ConfigureDefaultValuesHandling(DefaultValuesHandling.OmitNull)

        // Otherwise compose would read "true" and "8080" as what they are not: the value of a variable is text.
        .WithQuotingNecessaryStrings(quoteYaml1_1Strings: true)
        .WithIndentedSequences()
        .WithEventEmitter(next => new LinesAsTheyAre(next))
        .DisableAliases()
        .Build()
        .Serialize(this);

    /// <summary>A script and a configuration keep their lines, so that they can be read.</summary>
    private sealed class LinesAsTheyAre(IEventEmitter next) : ChainedEventEmitter(next)
    {
        public override void Emit(ScalarEventInfo eventInfo, IEmitter emitter)
        {
            if (eventInfo.Source.Value is string text && text.Contains('\n', StringComparison.Ordinal))
            {
                eventInfo.Style = ScalarStyle.Literal;
            }

            base.Emit(eventInfo, emitter);
        }
    }
}

internal sealed class ComposeService
{
    public required string Image { get; init; }

    public string? PullPolicy { get; init; }

    public List<string>? Entrypoint { get; init; }

    public List<string>? Command { get; init; }

    public Dictionary<string, string>? Environment { get; init; }

    public Dictionary<string, ComposeDependency>? DependsOn { get; init; }

    public ComposeHealthCheck? Healthcheck { get; init; }

    public List<string>? Ports { get; init; }

    public List<string>? Volumes { get; init; }

    public required string Restart { get; init; }

    /// <summary>Longer than a service takes to end its streams; Docker would kill it after ten seconds.</summary>
    public string StopGracePeriod { get; } = "30s";

    public ComposeLogging Logging { get; } = new();
}

/// <param name="Condition">service_started, service_healthy or service_completed_successfully.</param>
internal sealed record ComposeDependency(string Condition);

/// <param name="Test">CMD and a program with its arguments, or CMD-SHELL and a line for the shell.</param>
internal sealed record ComposeHealthCheck(List<string> Test)
{
    public string Interval { get; } = "5s";

    public string Timeout { get; } = "5s";

    public int Retries { get; } = 3;

    /// <summary>Failures do not count so long: a broker replays its log, Postgres makes its folder.</summary>
    public string StartPeriod { get; } = "60s";
}

/// <summary>Docker keeps all that a container has ever printed, unless it is told otherwise.</summary>
internal sealed class ComposeLogging
{
    public string Driver { get; } = "json-file";

    public Dictionary<string, string> Options { get; } = new()
    {
        ["max-size"] = "10m",
        ["max-file"] = "3",
    };
}
