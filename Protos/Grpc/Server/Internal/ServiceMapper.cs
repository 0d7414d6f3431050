using System.Reflection;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Patterns;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Grpc.AspNetCore.Server.Internal;

/// <summary>Turns services into endpoints, and unknown methods into UNIMPLEMENTED.</summary>
internal sealed class ServiceMapper(
    IOptions<GrpcServiceOptions> options, ILoggerFactory loggers, TimeProvider? timeProvider = null)
{
    private readonly ServerSettings _settings = new(
        Checked(options.Value), timeProvider ?? TimeProvider.System, loggers.CreateLogger("Grpc.AspNetCore.Server"));

    private int _hasFallback;

    public IReadOnlyList<IEndpointConventionBuilder> Map<TService>(IEndpointRouteBuilder endpoints)
        where TService : class
    {
        var (bind, serviceBase) = FindBindMethod(typeof(TService));
        var binder = new ServiceBinder<TService>(_settings, endpoints);

        // Generated code takes a null service to mean: name the methods, without handlers.
        bind.Invoke(null, BindingFlags.DoNotWrapExceptions, null, [binder, null], null);
        if (binder.Endpoints.Count == 0)
        {
            throw new InvalidOperationException($"The service {serviceBase} has no methods.");
        }

        if (_settings.Options.IgnoreUnknownServices is not true && Interlocked.Exchange(ref _hasFallback, 1) == 0)
        {
            MapFallback(endpoints);
        }

        return binder.Endpoints;
    }

    private static GrpcServiceOptions Checked(GrpcServiceOptions options) =>
        options.ResponseCompressionAlgorithm is null or Wire.GrpcHeaders.Gzip or Wire.GrpcHeaders.Identity
            ? options
            : throw new InvalidOperationException(
                $"The ResponseCompressionAlgorithm '{options.ResponseCompressionAlgorithm}' is not known: gzip is.");

    private static (MethodInfo Bind, Type ServiceBase) FindBindMethod(Type service)
    {
        for (var type = service; type is not null; type = type.BaseType)
        {
            if (type.GetCustomAttribute<BindServiceMethodAttribute>(inherit: false) is not { } attribute)
            {
                continue;
            }

            var method = attribute.BindType.GetMethod(
                attribute.BindMethodName,
                BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic,
                [typeof(ServiceBinderBase), type]);
            return method is null
                ? throw new InvalidOperationException(
                    $"{attribute.BindType}.{attribute.BindMethodName}(ServiceBinderBase, {type}) does not exist.")
                : (method, type);
        }

        throw new InvalidOperationException(
            $"{service} is not a gRPC service: none of its base types carries BindServiceMethodAttribute.");
    }

    /// <summary>Answers "/{service}/{method}" of gRPC requests that no mapped method answers.</summary>
    private void MapFallback(IEndpointRouteBuilder endpoints)
    {
        var pattern = RoutePatternFactory.Pattern(
            RoutePatternFactory.Segment(RoutePatternFactory.ParameterPart(
                "grpcService",
                @default: null,
                RoutePatternParameterKind.Standard,
                RoutePatternFactory.ParameterPolicy(new GrpcRequestConstraint()))),
            RoutePatternFactory.Segment(RoutePatternFactory.ParameterPart("grpcMethod")));
        endpoints.Map(pattern, RefuseUnknownMethodAsync)
            .WithDisplayName("gRPC: unknown method")
            .Add(builder => ((RouteEndpointBuilder)builder).Order = int.MaxValue);
    }

    private Task RefuseUnknownMethodAsync(HttpContext http)
    {
        var path = http.Request.Path.Value;
        http.Response.ContentType = Wire.GrpcHeaders.ContentType;
        ServerCall.WriteStatus(http.Response.Headers, new Status(
            StatusCode.Unimplemented,
            $"Method '{path}' is not known to this server; check the service and method name, and the server's "
            + "version."));
        GrpcServerLog.RequestRefused(_settings.Logger, path ?? "", "unknown method");
        return Task.CompletedTask;
    }

    private sealed class GrpcRequestConstraint : IRouteConstraint
    {
        public bool Match(
            HttpContext? httpContext,
            IRouter? route,
            string routeKey,
            RouteValueDictionary values,
            RouteDirection routeDirection) =>
            httpContext is not null
            && HttpMethods.IsPost(httpContext.Request.Method)
            && Wire.GrpcHeaders.IsGrpcContentType(httpContext.Request.ContentType);
    }
}
