namespace Aspire.Hosting.ApplicationModel;

/// <summary>A container; here, the program that its image is made of.</summary>
public class ContainerResource(string name)
    : Resource(name), IResourceWithEnvironment, IResourceWithArgs, IResourceWithEndpoints, IResourceWithWaitSupport;
