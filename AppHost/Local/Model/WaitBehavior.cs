namespace Aspire.Hosting.ApplicationModel;

/// <summary>What a wait does when the resource has stopped.</summary>
public enum WaitBehavior
{
    /// <summary>Waits on: somebody may start it again.</summary>
    WaitOnResourceUnavailable,

    /// <summary>Throws.</summary>
    StopOnResourceUnavailable,
}
