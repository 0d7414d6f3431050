using System.Net.Http.Headers;

namespace Broker.Client.Connections;

/// <summary>Puts the program's credentials into each call.</summary>
internal sealed class AuthorizationHandler(
    Func<Uri, CancellationToken, ValueTask<string?>> credentials, Uri broker, HttpMessageHandler inner)
    : DelegatingHandler(inner)
{
    /// <summary>Whether a secret may go there: over TLS, or it does not leave the machine.</summary>
    public static bool IsSafe(Uri address) => address.Scheme == Uri.UriSchemeHttps || address.IsLoopback;

    protected override async Task<HttpResponseMessage> SendAsync(
        HttpRequestMessage request, CancellationToken cancellationToken)
    {
        if (await AskAsync(cancellationToken) is { } value)
        {
            request.Headers.Remove("authorization");
            request.Headers.Add("authorization", AuthenticationHeaderValue.Parse(value).ToString());
        }

        return await base.SendAsync(request, cancellationToken);
    }

    private async ValueTask<string?> AskAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await credentials(broker, cancellationToken);
        }
        catch (Exception failure) when (failure is not OperationCanceledException)
        {
            // As if there were no connection: nothing was sent, and it is tried again.
            throw new HttpRequestException(
                HttpRequestError.ConnectionError, $"The credentials could not be got: {failure.Message}", failure);
        }
    }
}
