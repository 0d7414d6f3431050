using System.Globalization;
using Microsoft.Extensions.Configuration;

namespace Broker.Client;

/// <summary>
/// A service that has gRPC addresses, as the app model tells it in environment variables:
/// <c>services__broker-1__grpc__0=http://localhost:7001</c>. The one reader of these settings.
/// </summary>
/// <param name="Name">The service's name, "broker-1".</param>
/// <param name="Addresses">Its addresses in the order of their numbers; at least one.</param>
internal sealed record DiscoveredService(string Name, IReadOnlyList<Uri> Addresses)
{
    /// <summary>Where brokers reach it, its endpoint "peer": no business of clients. Often empty.</summary>
    public IReadOnlyList<Uri> PeerAddresses { get; init; } = [];

    /// <summary>The name without the number at its end, "broker-": those that share it are one cluster.</summary>
    public string Family => FamilyOf(Name);

    /// <summary>The number at the name's end; 0 without one.</summary>
    public int Number =>
        int.TryParse(Name.AsSpan(Family.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : 0;

    /// <summary>All services of the configuration with an endpoint "grpc", in the order of their numbers.</summary>
    /// <exception cref="InvalidOperationException">An address is no absolute http or https one.</exception>
    public static IReadOnlyList<DiscoveredService> ReadAll(IConfiguration configuration) =>
    [
        .. configuration.GetSection("services").GetChildren()
            .Select(service => new DiscoveredService(service.Key, ReadAddresses(service.GetSection("grpc")))
            {
                PeerAddresses = ReadAddresses(service.GetSection("peer")),
            })
            .Where(service => service.Addresses.Count > 0)
            .OrderBy(service => service.Number).ThenBy(service => service.Name, StringComparer.Ordinal),
    ];

    public static string FamilyOf(string name) => name.TrimEnd("0123456789".ToCharArray());

    private static List<Uri> ReadAddresses(IConfigurationSection endpoint) =>
        [.. endpoint.GetChildren().Where(entry => !string.IsNullOrWhiteSpace(entry.Value)).Select(ReadAddress)];

    private static Uri ReadAddress(IConfigurationSection entry) =>
        Uri.TryCreate(entry.Value, UriKind.Absolute, out var address)
        && (address.Scheme == Uri.UriSchemeHttp || address.Scheme == Uri.UriSchemeHttps)
            ? address
            : throw new InvalidOperationException(
                $"The setting {entry.Path.Replace(":", "__", StringComparison.Ordinal)} is '{entry.Value}'. It must be "
                + "an address such as http://localhost:7001.");
}
