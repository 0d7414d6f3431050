namespace Grpc.Core;

/// <summary>The incoming messages of a call. One read at a time.</summary>
public interface IAsyncStreamReader<out T>
{
    /// <summary>The message that the last successful MoveNext brought.</summary>
    T Current { get; }

    /// <summary>Waits for the next message; false when there are no more.</summary>
    Task<bool> MoveNext(CancellationToken cancellationToken);
}
