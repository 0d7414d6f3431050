using Microsoft.Extensions.Configuration;

namespace Broker.ServiceDefaults.Discovery;

/// <summary>
/// Lets an HttpClient call services by name: http://publisher, https+http://publisher, http://_grpc.broker-1 (its
/// endpoint "grpc"). A name with several addresses is called in turn. A name that the configuration does not know is
/// left to DNS.
/// </summary>
internal sealed class ServiceDiscoveryHandler(IConfiguration configuration) : DelegatingHandler
{
    private uint _turn;

    protected override async Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var original = request.RequestUri;
        if (original is null)
        {
            return await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
        }

        request.RequestUri = Rewrite(original);
        try
        {
            return await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            // A retry by an outer handler resolves anew.
            request.RequestUri = original;
        }
    }

    private Uri Rewrite(Uri uri)
    {
        var (service, endpoints) = Split(uri);
        foreach (var endpoint in endpoints)
        {
            var addresses = ServiceEndpoints.Resolve(configuration, service, endpoint);
            if (addresses.Count > 0)
            {
                var address = addresses[(int)(Interlocked.Increment(ref _turn) % (uint)addresses.Count)];
                return new UriBuilder(uri) { Scheme = address.Scheme, Host = address.Host, Port = address.Port }.Uri;
            }
        }

        if (uri.Host.StartsWith('_'))
        {
            throw new HttpRequestException(
                $"No address is known for endpoint '{endpoints[0]}' of service '{service}': the setting "
                + $"services__{service}__{endpoints[0]}__0 is missing.");
        }

        // https+http is understood here only; DNS and the sockets below know plain schemes.
        return endpoints.Length > 1 ? new UriBuilder(uri) { Scheme = endpoints[0], Port = uri.Port }.Uri : uri;
    }

    private static (string Service, string[] Endpoints) Split(Uri uri)
    {
        var dot = uri.Host.IndexOf('.', StringComparison.Ordinal);
        return uri.Host.StartsWith('_') && dot > 1
            ? (uri.Host[(dot + 1)..], [uri.Host[1..dot]])
            : (uri.Host, uri.Scheme.Split('+'));
    }
}
