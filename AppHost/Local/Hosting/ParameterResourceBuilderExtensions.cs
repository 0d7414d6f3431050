using Aspire.Hosting.Local;

namespace Aspire.Hosting;

/// <summary>Adds values from outside.</summary>
public static class ParameterResourceBuilderExtensions
{
    /// <summary>The value is <c>Parameters:{name}</c> of the configuration; asking for a missing one throws.</summary>
    public static IResourceBuilder<ParameterResource> AddParameter(
        this IDistributedApplicationBuilder builder, string name, bool secret = false) =>
        builder.AddResource(new ParameterResource(
            name,
            () => builder.Configuration[$"Parameters:{name}"] ?? throw new DistributedApplicationException(
                $"The parameter '{name}' has no value. Pass --Parameters:{name}=… or set Parameters__{name}."),
            secret));

    public static IResourceBuilder<ParameterResource> AddParameter(
        this IDistributedApplicationBuilder builder,
        string name,
        string value,
        bool publishValueAsDefault = false,
        bool secret = false) =>
        builder.AddResource(new ParameterResource(name, () => value, secret));

    /// <summary>
    /// A password that is made at the first start and kept in the data root, so that a second run of the application
    /// can still open the data of the first.
    /// </summary>
    public static ParameterResource CreateDefaultPasswordParameter(IDistributedApplicationBuilder builder, string name)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return new ParameterResource(
            name,
            () => builder.Configuration[$"Parameters:{name}"] ?? DataRoot.From(builder).GetOrCreateSecret(name),
            secret: true);
    }
}
