using System.Globalization;

namespace Broker.AppHost.Publishing;

/// <summary>
/// The model's values as compose.yaml has them: a service is reached under its name at the port that it listens at, a
/// parameter is a variable that the user sets.
/// </summary>
internal sealed class ComposeValues
{
    private readonly SortedSet<string> _variables = new(StringComparer.Ordinal);

    /// <summary>Those that have been used so far.</summary>
    public IReadOnlyCollection<string> Variables => _variables;

    /// <summary>A dollar sign begins a variable, so one that is meant is written twice.</summary>
    public static string Literal(string text) => text.Replace("$", "$$", StringComparison.Ordinal);

    /// <summary>cache-password: CACHE_PASSWORD.</summary>
    public static string VariableOf(string name) => name.ToUpperInvariant().Replace('-', '_');

    public static int PortOf(EndpointReference endpoint) => endpoint.EndpointAnnotation.TargetPort
        ?? throw new DistributedApplicationException(
            $"The endpoint '{endpoint.EndpointName}' of '{endpoint.Resource.Name}' has no target port. A published "
            + "system needs fixed ones: give it a targetPort.");

    public string Text(object? value) => value switch
    {
        null => "",
        string text => Literal(text),
        bool or int or long => Convert.ToString(value, CultureInfo.InvariantCulture)!,
        ParameterResource parameter => Variable(parameter),
        EndpointReference endpoint => Property(endpoint, EndpointProperty.Url),
        EndpointReferenceExpression one => Property(one.Endpoint, one.Property),
        ReferenceExpression { IsConditional: true } one => Text(Chosen(one)),
        ReferenceExpression one => Filled(one),
        ConnectionStringReference one => Text(one.Resource.ConnectionStringExpression),
        IResourceWithConnectionString one => Text(one.ConnectionStringExpression),
        IResourceBuilder<IResource> builder => Text(builder.Resource),
        _ => throw new DistributedApplicationException(
            $"A value of the type {value.GetType().Name} cannot be written into compose.yaml: "
            + $"{nameof(ComposeValues)} must learn it."),
    };

    private ReferenceExpression? Chosen(ReferenceExpression expression) =>
        string.Equals(Text(expression.Condition), expression.MatchValue, StringComparison.OrdinalIgnoreCase)
            ? expression.WhenTrue
            : expression.WhenFalse;

    /// <summary>
    /// Passwords are letters and digits (.env says so), so a parameter needs no encoding inside an address.
    /// </summary>
    private string Filled(ReferenceExpression expression) => string.Format(
        CultureInfo.InvariantCulture,
        Literal(expression.Format),
        [.. expression.ValueProviders.Select(Text)]);

    private string Variable(ParameterResource parameter)
    {
        var variable = VariableOf(parameter.Name);
        _variables.Add(variable);
        return $"${{{variable}:?is not set. Give it a value in .env}}";
    }

    private static string Property(EndpointReference endpoint, EndpointProperty property)
    {
        var (name, port) = (endpoint.Resource.Name, PortOf(endpoint));
        return property switch
        {
            EndpointProperty.Url => $"{endpoint.EndpointAnnotation.UriScheme}://{name}:{port}",
            EndpointProperty.Host or EndpointProperty.IPV4Host => name,
            EndpointProperty.Port or EndpointProperty.TargetPort => $"{port}",
            EndpointProperty.HostAndPort => $"{name}:{port}",
            EndpointProperty.Scheme => endpoint.EndpointAnnotation.UriScheme,
            EndpointProperty.TlsEnabled => $"{endpoint.EndpointAnnotation.TlsEnabled}",
            _ => throw new DistributedApplicationException(
                $"The property {property} of an endpoint cannot be written into compose.yaml."),
        };
    }
}
