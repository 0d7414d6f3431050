using System.Net.Sockets;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>A port that a resource listens on.</summary>
public sealed class EndpointAnnotation : IResourceAnnotation
{
    private string? _transport;

    public EndpointAnnotation(
        ProtocolType protocol,
        string? uriScheme = null,
        string? transport = null,
        string? name = null,
        int? port = null,
        int? targetPort = null,
        bool? isExternal = null)
    {
        Protocol = protocol;
        UriScheme = uriScheme ?? (protocol == ProtocolType.Udp ? "udp" : "tcp");
        Name = name ?? UriScheme;
        _transport = transport;
        Port = port;
        TargetPort = targetPort;
        IsExternal = isExternal ?? false;
    }

    public string Name { get; set; }

    public ProtocolType Protocol { get; set; }

    /// <summary>The port that clients use; chosen at start when null.</summary>
    public int? Port { get; set; }

    /// <summary>
    /// The port that the resource itself listens on; in a container, a port of the container's own network.
    /// </summary>
    public int? TargetPort { get; set; }

    public string UriScheme { get; set; }

    /// <summary><c>http</c>, <c>http2</c> or <c>tcp</c>.</summary>
    public string Transport
    {
        get => _transport ?? (UriScheme is "http" or "https" ? "http" : Protocol == ProtocolType.Udp ? "udp" : "tcp");
        set => _transport = value;
    }

    public bool IsExternal { get; set; }

    /// <summary>The address, once the application has started.</summary>
    public AllocatedEndpoint? AllocatedEndpoint { get; set; }

    /// <summary>The variable that tells the resource its port; such an endpoint is not in ASPNETCORE_URLS.</summary>
    internal string? TargetPortEnvironmentVariable { get; set; }
}
