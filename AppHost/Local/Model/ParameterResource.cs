namespace Aspire.Hosting.ApplicationModel;

/// <summary>A value from configuration, <c>Parameters:{name}</c>, or a password that is made once and kept.</summary>
public class ParameterResource : Resource, IValueProvider, IManifestExpressionProvider
{
    private readonly Lazy<string> _value;

    internal ParameterResource(string name, Func<string> value, bool secret = false)
        : base(name)
    {
        _value = new Lazy<string>(value);
        Secret = secret;
    }

    public bool Secret { get; }

    public string ValueExpression => $"{{{Name}.value}}";

    public ValueTask<string?> GetValueAsync(CancellationToken cancellationToken) =>
        ValueTask.FromResult<string?>(_value.Value);
}
