namespace Aspire.Hosting.ApplicationModel;

/// <summary>The resource starts only on command.</summary>
public sealed class ExplicitStartupAnnotation : IResourceAnnotation;
