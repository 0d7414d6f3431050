namespace Aspire.Hosting.Local;

/// <summary>A process that is about to start.</summary>
internal sealed record LaunchPlan
{
    public required string FileName { get; init; }

    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>Set on top of the environment of the AppHost.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    public required string WorkingDirectory { get; init; }

    /// <summary>The signal that asks for an orderly end.</summary>
    public int StopSignal { get; init; } = Signals.Terminate;

    /// <summary>Arguments for setpriv that make the process another user's.</summary>
    public IReadOnlyList<string> Privileges { get; init; } = [];
}
