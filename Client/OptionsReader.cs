using System.Globalization;
using Microsoft.Extensions.Configuration;

namespace Broker.Client;

/// <summary>
/// Reads options from the configuration, setting by setting: a binder would need reflection, which a trimmed program
/// does not have, and it would pass over what it cannot read.
/// </summary>
internal static class OptionsReader
{
    private const string Section = "Aspire:Broker:Client";

    public static BrokerClientOptions Read(IConfiguration configuration, string connectionName)
    {
        var common = configuration.GetSection(Section);
        var options = Read(
            common.GetSection(connectionName), Read(common, new BrokerClientOptions()));
        if (configuration.GetConnectionString(connectionName) is { } text && !string.IsNullOrWhiteSpace(text))
        {
            return options with { Addresses = ParseAddresses(text, connectionName) };
        }

        return options.Addresses.Count > 0
            ? options
            : options with { Addresses = [.. Discovered(configuration, connectionName)] };
    }

    /// <summary>For an address that nothing names.</summary>
    public static InvalidOperationException NoAddress(string connectionName) => new(
        "No broker address is configured. "
        + $"Set ConnectionStrings:{connectionName} (e.g. \"http://localhost:7001\"), "
        + $"{Section}:Addresses, or services:{connectionName}-1:grpc:0 as service discovery does.");

    public static IReadOnlyList<Uri> ParseAddresses(string list, string connectionName) =>
    [
        .. list.Split([';', ','], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Select(text => Uri.TryCreate(text, UriKind.Absolute, out var address)
                ? address
                : throw new InvalidOperationException(
                    $"'{text}' of connection '{connectionName}' is no address; expected e.g. "
                    + "\"http://localhost:7001\".")),
    ];

    private static BrokerClientOptions Read(IConfigurationSection section, BrokerClientOptions below)
    {
        var addresses = section.GetSection(nameof(below.Addresses)).GetChildren()
            .Where(static entry => !string.IsNullOrWhiteSpace(entry.Value))
            .Select(static entry => Parse(entry, ToUri)).ToArray();
        return below with
        {
            Addresses = addresses.Length > 0 ? addresses : below.Addresses,
            ClientName = section[nameof(below.ClientName)] is { Length: > 0 } name ? name : below.ClientName,
            PublishTimeout = Span(section, nameof(below.PublishTimeout), below.PublishTimeout),
            OperationTimeout = Span(section, nameof(below.OperationTimeout), below.OperationTimeout),
            ConnectTimeout = Span(section, nameof(below.ConnectTimeout), below.ConnectTimeout),
            AnswerTimeout = Span(section, nameof(below.AnswerTimeout), below.AnswerTimeout),
            DrainTimeout = Span(section, nameof(below.DrainTimeout), below.DrainTimeout),
            RetryDelayMin = Span(section, nameof(below.RetryDelayMin), below.RetryDelayMin),
            RetryDelayMax = Span(section, nameof(below.RetryDelayMax), below.RetryDelayMax),
            BatchBytes = (int)Number(section, nameof(below.BatchBytes), below.BatchBytes),
            BatchRecords = (int)Number(section, nameof(below.BatchRecords), below.BatchRecords),
            MaxInFlightBatchesPerTopic = (int)Number(
                section, nameof(below.MaxInFlightBatchesPerTopic), below.MaxInFlightBatchesPerTopic),
            MaxBufferedBytes = Number(section, nameof(below.MaxBufferedBytes), below.MaxBufferedBytes, long.MaxValue),
            MaxWaitingPublishes = (int)Number(section, nameof(below.MaxWaitingPublishes), below.MaxWaitingPublishes),
            ProducerId = section.GetSection(nameof(below.ProducerId)) is { Value.Length: > 0 } id
                ? Parse(id, static text => ulong.Parse(text, CultureInfo.InvariantCulture))
                : below.ProducerId,
        };
    }

    private static TimeSpan Span(IConfigurationSection section, string name, TimeSpan otherwise) =>
        section.GetSection(name) is { Value.Length: > 0 } setting
            ? Parse(setting, static text => TimeSpan.Parse(text, CultureInfo.InvariantCulture))
            : otherwise;

    private static long Number(
        IConfigurationSection section, string name, long otherwise, long most = int.MaxValue)
    {
        var number = section.GetSection(name) is { Value.Length: > 0 } setting
            ? Parse(setting, static text => long.Parse(text, CultureInfo.InvariantCulture))
            : otherwise;
        return number <= most
            ? number
            : throw new InvalidOperationException($"The setting {section.Path}:{name} is {number}; at most {most}.");
    }

    private static T Parse<T>(IConfigurationSection setting, Func<string, T> parse)
    {
        try
        {
            return parse(setting.Value!);
        }
        catch (Exception malformed) when (malformed is FormatException or OverflowException)
        {
            throw new InvalidOperationException(
                $"The setting {setting.Path} is '{setting.Value}': {malformed.Message}", malformed);
        }
    }

    private static Uri ToUri(string text) => Uri.TryCreate(text, UriKind.Absolute, out var address)
        ? address
        : throw new FormatException("expected an address such as http://localhost:7001.");

    private static IEnumerable<Uri> Discovered(IConfiguration configuration, string name) =>
        DiscoveredService.ReadAll(configuration)
            .Where(service => service.Name.Equals(name, StringComparison.OrdinalIgnoreCase)
                || (service.Family.Equals(name + "-", StringComparison.OrdinalIgnoreCase) && service.Number > 0))
            .SelectMany(service => service.Addresses);
}
