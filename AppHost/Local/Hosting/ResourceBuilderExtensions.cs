namespace Aspire.Hosting;

/// <summary>Adds facts to resources: environment, references, endpoints, waits and health checks.</summary>
public static partial class ResourceBuilderExtensions
{
    public static IResourceBuilder<T> WithArgs<T>(this IResourceBuilder<T> builder, params string[] args)
        where T : IResourceWithArgs => builder.WithArgs(context =>
        {
            foreach (var arg in args)
            {
                context.Args.Add(arg);
            }
        });

    public static IResourceBuilder<T> WithArgs<T>(
        this IResourceBuilder<T> builder, Action<CommandLineArgsCallbackContext> callback)
        where T : IResourceWithArgs => builder.WithArgs(context =>
        {
            callback(context);
            return Task.CompletedTask;
        });

    public static IResourceBuilder<T> WithArgs<T>(
        this IResourceBuilder<T> builder, Func<CommandLineArgsCallbackContext, Task> callback)
        where T : IResourceWithArgs => builder.WithAnnotation(new CommandLineArgsCallbackAnnotation(callback));

    public static IResourceBuilder<T> WithEnvironment<T>(this IResourceBuilder<T> builder, string name, string? value)
        where T : IResourceWithEnvironment => builder.Set(name, value ?? "");

    public static IResourceBuilder<T> WithEnvironment<T>(
        this IResourceBuilder<T> builder, string name, ReferenceExpression value)
        where T : IResourceWithEnvironment => builder.Set(name, value);

    public static IResourceBuilder<T> WithEnvironment<T>(
        this IResourceBuilder<T> builder, string name, EndpointReference endpointReference)
        where T : IResourceWithEnvironment => builder.Set(name, endpointReference);

    public static IResourceBuilder<T> WithEnvironment<T>(
        this IResourceBuilder<T> builder, string name, IResourceBuilder<ParameterResource> parameter)
        where T : IResourceWithEnvironment => builder.Set(name, parameter.Resource);

    public static IResourceBuilder<T> WithEnvironment<T>(
        this IResourceBuilder<T> builder, Action<EnvironmentCallbackContext> callback)
        where T : IResourceWithEnvironment => builder.WithEnvironment(context =>
        {
            callback(context);
            return Task.CompletedTask;
        });

    public static IResourceBuilder<T> WithEnvironment<T>(
        this IResourceBuilder<T> builder, Func<EnvironmentCallbackContext, Task> callback)
        where T : IResourceWithEnvironment => builder.WithAnnotation(new EnvironmentCallbackAnnotation(callback));

    /// <summary>Gives the connection string as <c>ConnectionStrings__{name}</c>.</summary>
    public static IResourceBuilder<TDestination> WithReference<TDestination>(
        this IResourceBuilder<TDestination> builder,
        IResourceBuilder<IResourceWithConnectionString> source,
        string? connectionName = null)
        where TDestination : IResourceWithEnvironment
    {
        var resource = source.Resource;
        return builder.Refer(resource).Set(
            resource.ConnectionStringEnvironmentVariable ?? $"ConnectionStrings__{connectionName ?? resource.Name}",
            resource.ConnectionStringExpression);
    }

    /// <summary>Gives the addresses of all endpoints.</summary>
    public static IResourceBuilder<TDestination> WithReference<TDestination>(
        this IResourceBuilder<TDestination> builder, IResourceBuilder<IResourceWithServiceDiscovery> source)
        where TDestination : IResourceWithEnvironment => builder.Refer(source.Resource).WithEnvironment(context =>
        {
            foreach (var endpoint in source.Resource.GetEndpoints())
            {
                AddAddress(context, endpoint);
            }
        });

    /// <summary>
    /// Gives the address as <c>services__{resource}__{endpoint}__0</c> and as <c>{RESOURCE}_{ENDPOINT}</c>.
    /// </summary>
    public static IResourceBuilder<TDestination> WithReference<TDestination>(
        this IResourceBuilder<TDestination> builder, EndpointReference endpointReference)
        where TDestination : IResourceWithEnvironment =>
        builder.Refer(endpointReference.Resource).WithEnvironment(context => AddAddress(context, endpointReference));

    private static IResourceBuilder<T> Refer<T>(this IResourceBuilder<T> builder, IResource resource)
        where T : IResource => builder.WithAnnotation(new ResourceRelationshipAnnotation(resource, "Reference"));

    private static void AddAddress(EnvironmentCallbackContext context, EndpointReference endpoint)
    {
        var resource = endpoint.Resource.Name;
        context.EnvironmentVariables[$"services__{resource}__{endpoint.EndpointName}__0"] = endpoint;
        context.EnvironmentVariables[Encode($"{resource}_{endpoint.EndpointName}")] = endpoint;
    }

    // A shell accepts only letters, digits and '_' in a variable's name: broker-1_grpc is BROKER_1_GRPC.
    private static string Encode(string name) =>
        string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) ? char.ToUpperInvariant(c) : '_'));

    private static IResourceBuilder<T> Set<T>(this IResourceBuilder<T> builder, string name, object value)
        where T : IResourceWithEnvironment =>
        builder.WithEnvironment(context => context.EnvironmentVariables[name] = value);
}
