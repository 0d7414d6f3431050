namespace Broker.Tests.Demo;

/// <summary>How the main job is run and what is done to it meanwhile.</summary>
public sealed record MainJobOptions
{
    /// <summary>How often the node that leads most topics is killed with kill -9, evenly spread over the run.</summary>
    public int LeaderKills { get; init; } = 2;

    /// <summary>How often Redis is killed with kill -9.</summary>
    public int RedisKills { get; init; } = 1;

    /// <summary>How long a killed process stays away.</summary>
    public TimeSpan Away { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>Messages that are sent and not yet answered.</summary>
    public int Window { get; init; } = 1_000;

    /// <summary>Messages a second; 0: as fast as they go.</summary>
    public int Rate { get; init; }

    /// <summary>How long the subscriber may go without progress before the run counts as stuck.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(60);
}
