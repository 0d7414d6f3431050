using Grpc.Core;
using Grpc.Wire;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.Extensions.DependencyInjection;

namespace Grpc.AspNetCore.Server.Internal;

/// <summary>
/// Serves the calls of one method: checks the request, runs the handler, ends the call with a status.
/// </summary>
internal abstract class MethodHandler<TService, TRequest, TResponse>(
    Method<TRequest, TResponse> method, ServerSettings settings)
    where TService : class
    where TRequest : class
    where TResponse : class
{
    /// <summary>Made at its first use: a registered service may have no constructor that it would find.</summary>
    private ObjectFactory<TService>? _createService;

    protected Method<TRequest, TResponse> Method => method;

    public async Task HandleAsync(HttpContext http)
    {
        if (!TryAccept(http))
        {
            return;
        }

        LiftTransportLimits(http);
        using var call = new ServerCall(http, method, settings);
        try
        {
            call.Start();
            var service = http.RequestServices.GetService<TService>();
            if (service is not null)
            {
                await InvokeAsync(service, call);
            }
            else
            {
                await InvokeTransientAsync(call);
            }
        }
        catch (Exception exception)
        {
            call.Fail(exception);
        }

        call.End();
    }

    protected abstract Task InvokeAsync(TService service, ServerCall call);

    private async Task InvokeTransientAsync(ServerCall call)
    {
        _createService ??= ActivatorUtilities.CreateFactory<TService>(Type.EmptyTypes);
        var service = _createService(call.HttpContext.RequestServices, null);
        try
        {
            await InvokeAsync(service, call);
        }
        finally
        {
            if (service is IAsyncDisposable asyncDisposable)
            {
                await asyncDisposable.DisposeAsync();
            }
            else
            {
                (service as IDisposable)?.Dispose();
            }
        }
    }

    private bool TryAccept(HttpContext http)
    {
        if (!GrpcHeaders.IsGrpcContentType(http.Request.ContentType))
        {
            var reason = $"content-type '{http.Request.ContentType}' is not application/grpc";
            Refuse(http, StatusCodes.Status415UnsupportedMediaType, reason);
            return false;
        }

        if (!HttpProtocol.IsHttp2(http.Request.Protocol) && !HttpProtocol.IsHttp3(http.Request.Protocol))
        {
            http.Response.Headers.Upgrade = "h2c";
            Refuse(http, StatusCodes.Status426UpgradeRequired, $"gRPC needs HTTP/2, not {http.Request.Protocol}");
            return false;
        }

        return true;
    }

    private void Refuse(HttpContext http, int httpStatus, string reason)
    {
        http.Response.StatusCode = httpStatus;
        ServerCall.WriteStatus(http.Response.Headers, new Status(StatusCode.Internal, reason));
        GrpcServerLog.RequestRefused(settings.Logger, method.FullName, reason);
    }

    /// <summary>Messages have their own limit, and a stream may be as long and as slow as its sender likes.</summary>
    private static void LiftTransportLimits(HttpContext http)
    {
        var size = http.Features.Get<IHttpMaxRequestBodySizeFeature>();
        if (size is { IsReadOnly: false })
        {
            size.MaxRequestBodySize = null;
        }

        var rate = http.Features.Get<IHttpMinRequestBodyDataRateFeature>();
        if (rate is not null)
        {
            rate.MinDataRate = null;
        }
    }
}
