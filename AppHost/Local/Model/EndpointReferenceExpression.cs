using System.Globalization;

namespace Aspire.Hosting.ApplicationModel;

/// <summary>One property of an endpoint.</summary>
public class EndpointReferenceExpression(EndpointReference endpointReference, EndpointProperty property)
    : IValueProvider, IManifestExpressionProvider
{
    public EndpointReference Endpoint { get; } = endpointReference;

    public EndpointProperty Property { get; } = property;

    public string ValueExpression =>
        $"{{{Endpoint.Resource.Name}.bindings.{Endpoint.EndpointName}.{Property.ToString().ToLowerInvariant()}}}";

    public ValueTask<string?> GetValueAsync(CancellationToken cancellationToken = default) =>
        ValueTask.FromResult<string?>(
        Property switch
        {
            EndpointProperty.Url => Endpoint.Url,
            EndpointProperty.Host => Endpoint.Host,
            EndpointProperty.IPV4Host => "127.0.0.1",
            EndpointProperty.Scheme => Endpoint.Scheme,
            EndpointProperty.HostAndPort => $"{Endpoint.Host}:{Endpoint.Port}",

            // Nothing stands between a client and the process, so both ports are the same.
            EndpointProperty.Port or EndpointProperty.TargetPort =>
                Endpoint.Port.ToString(CultureInfo.InvariantCulture),
            _ => throw new InvalidOperationException($"The endpoint property '{Property}' is unknown."),
        });

    public ValueTask<string?> GetValueAsync(
        ValueProviderContext context, CancellationToken cancellationToken = default) =>
        GetValueAsync(cancellationToken);
}
