namespace Grpc.AspNetCore.HealthChecks;

/// <summary>Options of the gRPC health service.</summary>
public sealed class GrpcHealthChecksOptions
{
    /// <summary>Default: "" stands for all health checks of the application.</summary>
    public ServiceMappingCollection Services { get; } = [];

    /// <summary>
    /// Answer from the health report that was published last, and do not run the health checks for each call. Default:
    /// false.
    /// </summary>
    public bool UseHealthChecksCache { get; set; }

    /// <summary>
    /// Leave Watch calls running when the application stops. Default: false, they hear NOT_SERVING and end, so that
    /// the application need not wait for them.
    /// </summary>
    public bool SuppressCompletionOnShutdown { get; set; }
}
