namespace Aspire.Hosting.ApplicationModel;

/// <summary>Names an endpoint of a resource; its address is known once the application has started.</summary>
public sealed class EndpointReference : IValueProvider, IManifestExpressionProvider
{
    public EndpointReference(IResourceWithEndpoints owner, string endpointName)
    {
        ArgumentNullException.ThrowIfNull(owner);
        ArgumentException.ThrowIfNullOrWhiteSpace(endpointName);
        Resource = owner;
        EndpointName = endpointName;
    }

    public IResourceWithEndpoints Resource { get; }

    public string EndpointName { get; }

    public EndpointAnnotation EndpointAnnotation => Find() ?? throw new InvalidOperationException(
        $"The resource '{Resource.Name}' has no endpoint '{EndpointName}'.");

    public bool Exists => Find() is not null;

    public bool IsAllocated => Find()?.AllocatedEndpoint is not null;

    public int Port => Allocated.Port;

    public int? TargetPort => EndpointAnnotation.TargetPort;

    public string Host => Allocated.Address;

    public string Scheme => EndpointAnnotation.UriScheme;

    public string Url => Allocated.UriString;

    public string ValueExpression => $"{{{Resource.Name}.bindings.{EndpointName}.url}}";

    private AllocatedEndpoint Allocated => EndpointAnnotation.AllocatedEndpoint ?? throw new InvalidOperationException(
        $"The endpoint '{EndpointName}' of '{Resource.Name}' has no address before the application starts.");

    public EndpointReferenceExpression Property(EndpointProperty property) => new(this, property);

    public ValueTask<string?> GetValueAsync(CancellationToken cancellationToken = default) =>
        ValueTask.FromResult<string?>(Url);

    private EndpointAnnotation? Find() => Resource.Annotations.OfType<EndpointAnnotation>()
        .FirstOrDefault(e => string.Equals(e.Name, EndpointName, StringComparison.OrdinalIgnoreCase));
}
