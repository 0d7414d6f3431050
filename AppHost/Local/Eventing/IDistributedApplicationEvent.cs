namespace Aspire.Hosting.Eventing;

/// <summary>A moment in the life of the application.</summary>
public interface IDistributedApplicationEvent;
