using Grpc.Reflection;
using Grpc.Reflection.Internal;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers gRPC reflection.</summary>
public static class GrpcReflectionServiceExtensions
{
    /// <summary>Shows the services that are mapped, unless the application has registered what to show.</summary>
    public static IServiceCollection AddGrpcReflection(this IServiceCollection services)
    {
        ArgumentNullException.ThrowIfNull(services);
        services.TryAddSingleton<ReflectionMarker>();
        services.TryAddSingleton(static provider =>
            new ReflectionV1ServiceImpl(ServiceDescriptors.Of(provider.GetRequiredService<EndpointDataSource>())));
        services.TryAddSingleton(static provider =>
            new ReflectionServiceImpl(ServiceDescriptors.Of(provider.GetRequiredService<EndpointDataSource>())));
        return services;
    }
}
