namespace Aspire.Hosting.ApplicationModel;

/// <summary>Something that can be named before its value is known.</summary>
public interface IManifestExpressionProvider
{
    /// <summary>For example <c>{cache.bindings.tcp.port}</c>.</summary>
    string ValueExpression { get; }
}
