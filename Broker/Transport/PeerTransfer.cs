using Broker.ServiceDefaults;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>What all transfers have in common: how long they wait, and when they try again.</summary>
internal static class PeerTransfer
{
    /// <summary>
    /// A peer that neither takes nor gives a piece in so long is away. Far above what the throttle holds a piece back,
    /// as several transfers may share it.
    /// </summary>
    public static readonly TimeSpan StepLimit = TimeSpan.FromSeconds(10);

    /// <summary>The answer of a peer that is not to have what is asked for: nothing is lost there.</summary>
    public const StatusCode KeptElsewhere = StatusCode.OutOfRange;

    private static readonly TimeSpan RetryDelayMin = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan RetryDelayMax = TimeSpan.FromSeconds(5);

    /// <summary>Whether the same call may succeed a little later.</summary>
    public static bool IsTransient(RpcException failure) => failure.StatusCode
        is StatusCode.Unavailable
        or StatusCode.DeadlineExceeded
        or StatusCode.ResourceExhausted
        or StatusCode.DataLoss
        or StatusCode.Internal
        or StatusCode.Unknown
        or StatusCode.Cancelled;

    /// <summary>
    /// Whether a call has ended under whoever writes to it. gRPC gives its status where it knows one; what the socket
    /// says, or that the call is complete, where it does not.
    /// </summary>
    public static bool IsBrokenCall(Exception failure) => failure
        is RpcException or IOException or HttpRequestException or InvalidOperationException;

    /// <summary>Waits before another attempt, from 1.</summary>
    public static Task PauseAsync(int attempt, TimeProvider time, CancellationToken cancellationToken) =>
        Task.Delay(Backoff.Draw(attempt, RetryDelayMin, RetryDelayMax), time, cancellationToken);

    public static RpcException Refuse(StatusCode code, string reason) => new(new Status(code, reason));
}
