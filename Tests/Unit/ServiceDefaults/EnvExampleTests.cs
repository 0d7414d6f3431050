using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using Broker.Aspire.Client;
using Broker.Client;
using Broker.Cluster;
using Broker.Tests.Unit.Tidy;
using Microsoft.Extensions.Configuration;
using Publisher;
using Subscriber;
using Xunit;

namespace Broker.Tests.Unit.ServiceDefaults;

/// <summary>
/// .env.example names every setting that the code reads, with its default, and README's table names no other.
/// </summary>
public sealed partial class EnvExampleTests
{
    /// <summary>Sections whose parts are settings, not settings themselves.</summary>
    private static readonly string[] Sections = ["Aspire:Broker:Client", "Kestrel:Endpoints"];

    /// <summary>What .NET and OpenTelemetry read themselves.</summary>
    private static readonly string[] OfLibraries =
    [
        "ASPNETCORE_URLS", "Logging__LogLevel__Default", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_SERVICE_NAME",
        "services__broker-1__grpc__0", "services__broker-1__peer__0",
    ];

    private static readonly Dictionary<string, string> Example = File
        .ReadLines(Path.Combine(SourceFile.Root(), ".env.example"))
        .Select(line => ExampleLine().Match(line))
        .Where(match => match.Success)
        .ToDictionary(match => match.Groups["name"].Value, match => match.Groups["value"].Value);

    [Fact]
    public void It_names_what_the_code_reads_and_nothing_else()
    {
        var read = ReadByName().Concat(OptionsOf<PublisherOptions>("Publisher"))
            .Concat(OptionsOf<SubscriberOptions>("Subscriber"))
            .Concat(OptionsOf<BrokerClientOptions>("Aspire__Broker__Client"))
            .Concat(OptionsOf<BrokerClientSettings>("Aspire__Broker__Client"))
            .Concat(OfLibraries).Distinct().Order(StringComparer.Ordinal);

        Assert.Equal(read, Example.Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Its_values_are_the_defaults()
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection(
            Example.Where(setting => setting.Value != "" && !setting.Key.StartsWith("OTEL", StringComparison.Ordinal))
                .Select(setting => KeyValuePair.Create(
                    setting.Key.Replace("__", ":", StringComparison.Ordinal), (string?)setting.Value))

                // Without a name of its own a node is alone; with one it asks whether it is meant to be.
                .Append(KeyValuePair.Create("Broker:ClusterSize", (string?)"1")))
            .Build();

        AssertSame(new PublisherOptions(), configuration.GetSection("Publisher").Get<PublisherOptions>()!);
        AssertSame(new SubscriberOptions(), configuration.GetSection("Subscriber").Get<SubscriberOptions>()!);
        AssertSame(
            new BrokerClientOptions(), BrokerClientOptions.FromConfiguration(configuration) with { Addresses = [] });
        AssertSame(
            ClusterOptions.From(new ConfigurationBuilder().Build()) with { Nodes = [] },
            ClusterOptions.From(configuration) with { Nodes = [] });
    }

    [Fact]
    public void The_table_of_the_README_names_no_other_setting()
    {
        var named = File.ReadLines(Path.Combine(SourceFile.Root(), "README.md"))
            .Select(line => TableRow().Match(line)).Where(match => match.Success)
            .SelectMany(match => TableName().Matches(match.Groups["names"].Value))
            .Select(match => match.Groups["name"].Value)
            .Where(name => name.Contains("__", StringComparison.Ordinal) || name.All(IsOfVariable))
            .ToList();

        Assert.True(named.Count > 10, "the table is found");
        Assert.Empty(named.Except(Example.Keys));
    }

    private static bool IsOfVariable(char letter) => char.IsAsciiLetterUpper(letter) || letter == '_';

    /// <summary>Keys that stand in the sources as strings, and connection strings by their name.</summary>
    private static IEnumerable<string> ReadByName()
    {
        // AppHosts, ours and those of others, have settings of their own.
        var sources = SourceFile.All().Where(file => !file.IsTest
            && !file.Path.StartsWith("AppHost/", StringComparison.Ordinal)
            && !file.Path.StartsWith("Hosting/", StringComparison.Ordinal)).ToList();
        var keys = sources.SelectMany(file => Key().Matches(file.Text))
            .Select(match => match.Groups["key"].Value)
            .Where(key => !Sections.Contains(key) && !key.StartsWith("Logging:", StringComparison.Ordinal));
        var connections = sources.SelectMany(file => Connection().Matches(file.Text))
            .Select(match => $"ConnectionStrings:{match.Groups["name"].Value}");
        // A gRPC port has its host beside it (ServiceDefaults/GrpcEndpoint.cs).
        var hosts = keys.Where(key => key.EndsWith(":GrpcPort", StringComparison.Ordinal) || key == "Broker:PeerPort")
            .Select(key => key.Replace("Port", "Host", StringComparison.Ordinal));
        return keys.Concat(hosts).Concat(connections).Select(key => key.Replace(":", "__", StringComparison.Ordinal));
    }

    /// <summary>A list is set by its elements.</summary>
    private static IEnumerable<string> OptionsOf<T>(string section) => typeof(T)
        .GetProperties(BindingFlags.Public | BindingFlags.Instance)
        .Where(static property => property.Name is not (nameof(BrokerClientOptions.Serializer)
            or nameof(BrokerClientOptions.Tls) or nameof(BrokerClientOptions.Credentials))) // set in code alone
        .Select(property => property.PropertyType == typeof(string) || property.PropertyType.IsValueType
            ? $"{section}__{property.Name}"
            : $"{section}__{property.Name}__0");

    private static void AssertSame<T>(T expected, T actual)
    {
        foreach (var property in typeof(T).GetProperties(BindingFlags.Public | BindingFlags.Instance))
        {
            Assert.Equal(
                (property.Name, Text(property.GetValue(expected))), (property.Name, Text(property.GetValue(actual))));
        }
    }

    private static string? Text(object? value) => value is System.Collections.IEnumerable and not string
        ? "" : Convert.ToString(value, CultureInfo.InvariantCulture);

    [GeneratedRegex("^#(?<name>[A-Za-z][^ =]*)=(?<value>.*)$")]
    private static partial Regex ExampleLine();

    [GeneratedRegex(@"^\| (?<names>`[^|]*) \|")]
    private static partial Regex TableRow();

    [GeneratedRegex("`(?<name>[A-Za-z][\\w-]*)`")]
    private static partial Regex TableName();

    // "Broker:NodeName", "OTEL_EXPORTER_OTLP_ENDPOINT", AllowInsecureKey = "AllowInsecure"
    [GeneratedRegex(
        """(?:"(?<key>[A-Z]\w+(?::[A-Z]\w+)+|OTEL_[A-Z_]+)"|Key = "(?<key>[A-Z]\w+)")""")]
    private static partial Regex Key();

    [GeneratedRegex("(?:GetConnectionString|AddNpgsqlDataSource|AddRedisClient|AddBrokerClient)\\(\"(?<name>\\w+)\"")]
    private static partial Regex Connection();
}
