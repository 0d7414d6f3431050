using System.Net;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;

namespace Broker.ServiceDefaults;

/// <summary>
/// Where a service is asked to listen, and the rule for it: without TLS and tokens only this machine may reach a
/// service, unless AllowInsecure=true says that the network around it is trusted.
/// </summary>
internal static class ListenAddresses
{
    private const string AllowInsecureKey = "AllowInsecure";
    private const string DefaultUrl = "http://localhost:5000";

    /// <summary>As ASP.NET Core reads them: addresses, or else ports on every interface, or else its default.</summary>
    public static List<BindingAddress> Http(IConfiguration configuration) =>
        [.. Asked(configuration).Select(asked => asked.Address).DefaultIfEmpty(BindingAddress.Parse(DefaultUrl))];

    /// <summary>
    /// Throws <see cref="StartupException"/> when others than this machine could reach an HTTP address.
    /// </summary>
    public static void RefuseExposedHttp(IConfiguration configuration)
    {
        foreach (var (setting, address) in Asked(configuration).Concat(KestrelEndpoints(configuration)))
        {
            RefuseExposed(configuration, setting, address);
        }
    }

    /// <summary>
    /// The address for gRPC that the setting names: localhost when it is absent, an address of this machine, or * for
    /// all of them.
    /// </summary>
    public static BindingAddress Grpc(IConfiguration configuration, string hostKey, int port)
    {
        var host = configuration[hostKey] is { } text && !string.IsNullOrWhiteSpace(text) ? text.Trim() : "localhost";
        var isAddress = IPAddress.TryParse(host.Trim('[', ']'), out var ip);
        if (!isAddress && host is not ("*" or "+") && !IsLocalName(host))
        {
            throw new StartupException(
                $"The setting {hostKey} is '{host}'. It must be localhost, an IP address of this machine, or * for all "
                + $"of them (environment variable {VariableOf(hostKey)}).");
        }

        var address = BindingAddress.Parse($"http://{(isAddress ? Bracketed(ip!) : host)}:{port}");
        RefuseExposed(configuration, hostKey, address);
        return address;
    }

    public static bool IsLocalName(string host) =>
        string.Equals(host, "localhost", StringComparison.OrdinalIgnoreCase)
        || host.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase);

    public static string VariableOf(string key) => key.Replace(":", "__", StringComparison.Ordinal);

    private static void RefuseExposed(IConfiguration configuration, string setting, BindingAddress address)
    {
        if (IsLoopback(address) || AllowsInsecure(configuration))
        {
            return;
        }

        throw new StartupException(
            $"The setting {setting} asks to listen at {address}, which other machines can reach, and this version has "
            + "neither TLS nor tokens: whoever reaches it reads and publishes everything. Listen at localhost, or set "
            + $"{AllowInsecureKey}=true where only trusted machines reach this one.");
    }

    private static bool AllowsInsecure(IConfiguration configuration)
    {
        var text = configuration[AllowInsecureKey];
        if (string.IsNullOrWhiteSpace(text))
        {
            return false;
        }

        return bool.TryParse(text, out var allowed)
            ? allowed
            : throw new StartupException(
                $"The setting {AllowInsecureKey} is '{text}'. It must be true (listen beyond this machine without TLS "
                + "and tokens) or false.");
    }

    /// <summary>A name that is not this machine's own makes Kestrel listen on every interface.</summary>
    private static bool IsLoopback(BindingAddress address) =>
        address.IsUnixPipe
        || address.IsNamedPipe
        || IsLocalName(address.Host)
        || (IPAddress.TryParse(address.Host.Trim('[', ']'), out var ip) && IPAddress.IsLoopback(ip));

    private static IEnumerable<(string Setting, BindingAddress Address)> Asked(IConfiguration configuration)
    {
        var urls = Split(configuration["urls"]).Select(url => ("ASPNETCORE_URLS", url)).ToList();
        if (urls.Count == 0)
        {
            urls.AddRange(Split(configuration["http_ports"]).Select(port => ("HTTP_PORTS", $"http://*:{port}")));
            urls.AddRange(Split(configuration["https_ports"]).Select(port => ("HTTPS_PORTS", $"https://*:{port}")));
        }

        return urls.Select(one => (one.Item1, Parse(one.Item1, one.Item2)));
    }

    /// <summary>Kestrel reads these by itself, beside the others: Kestrel:Endpoints:{name}:Url.</summary>
    private static IEnumerable<(string Setting, BindingAddress Address)> KestrelEndpoints(
        IConfiguration configuration) => configuration.GetSection("Kestrel:Endpoints").GetChildren()
        .Select(endpoint => endpoint.GetSection("Url"))
        .Where(url => !string.IsNullOrWhiteSpace(url.Value))
        .Select(url => (url.Path, Parse(url.Path, url.Value!)));

    private static BindingAddress Parse(string setting, string address)
    {
        try
        {
            return BindingAddress.Parse(address);
        }
        catch (FormatException exception)
        {
            throw new StartupException(
                $"{setting} has '{address}'. It must be addresses such as {DefaultUrl}, with semicolons between them "
                + "(HTTP_PORTS and HTTPS_PORTS: port numbers).",
                exception);
        }
    }

    private static string Bracketed(IPAddress ip) =>
        ip.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? $"[{ip}]" : ip.ToString();

    private static string[] Split(string? list) =>
        (list ?? "").Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
}
