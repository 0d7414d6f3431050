namespace Aspire.Hosting.Local;

/// <summary>The bounds of the process engine.</summary>
internal static class EngineLimits
{
    /// <summary>
    /// State changes that a sleeping watcher may have outstanding; an application has tens of resources.
    /// </summary>
    public const int EventsPerWatcher = 4096;

    /// <summary>Lines of output kept to explain a failure: a .NET stack trace fits.</summary>
    public const int LastLines = 30;

    /// <summary>Size at which a log file is put aside, once: a chatty process costs at most twice this.</summary>
    public const long LogFileBytes = 32L << 20;

    /// <summary>Attempts to find a free port before giving up.</summary>
    public const int PortAttempts = 200;

    /// <summary>Time that a process has to end by itself after it was asked to.</summary>
    public static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(10);

    /// <summary>Time that a killed process has to be gone; the kernel needs milliseconds.</summary>
    public static readonly TimeSpan KillTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Time in which the output of an ended process must be read to its end.</summary>
    public static readonly TimeSpan OutputTimeout = TimeSpan.FromSeconds(1);

    /// <summary>Time that a short program such as initdb has.</summary>
    public static readonly TimeSpan ToolTimeout = TimeSpan.FromMinutes(2);

    /// <summary>Time that one health check has.</summary>
    public static readonly TimeSpan HealthCheckTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Pause between health checks until a resource is healthy: those that wait for it feel this.</summary>
    public static readonly TimeSpan HealthIntervalUntilHealthy = TimeSpan.FromMilliseconds(100);

    /// <summary>Pause between health checks of a healthy resource.</summary>
    public static readonly TimeSpan HealthIntervalWhenHealthy = TimeSpan.FromSeconds(2);

    /// <summary>Time that all resources together have to stop.</summary>
    public static readonly TimeSpan ShutdownTimeout = TimeSpan.FromSeconds(45);
}
