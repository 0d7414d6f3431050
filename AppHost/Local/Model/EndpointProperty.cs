namespace Aspire.Hosting.ApplicationModel;

/// <summary>What of an endpoint is asked for.</summary>
public enum EndpointProperty
{
    Url,
    Host,
    IPV4Host,
    Port,
    Scheme,
    TargetPort,
    HostAndPort,
}
