using Grpc.Reflection;
using Grpc.Reflection.Internal;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Maps gRPC reflection to its endpoints.</summary>
public static class GrpcReflectionEndpointRouteBuilderExtensions
{
    /// <summary>Both versions, v1 and v1alpha.</summary>
    public static IEndpointConventionBuilder MapGrpcReflectionService(this IEndpointRouteBuilder builder)
    {
        ArgumentNullException.ThrowIfNull(builder);
        if (builder.ServiceProvider.GetService<ReflectionMarker>() is null)
        {
            throw new InvalidOperationException(
                "gRPC reflection is not registered: call services.AddGrpcReflection() first.");
        }

        return new GrpcServiceEndpointConventionBuilder([
            builder.MapGrpcService<ReflectionV1ServiceImpl>(),
            builder.MapGrpcService<ReflectionServiceImpl>(),
        ]);
    }
}
