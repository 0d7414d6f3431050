namespace Grpc.Core;

/// <summary>The outgoing messages of a call. One write at a time.</summary>
public interface IAsyncStreamWriter<in T>
{
    /// <summary>Used for the writes that follow. Null: the options of the call.</summary>
    WriteOptions? WriteOptions { get; set; }

    /// <summary>Completes when the message is handed to the transport, which holds a fast sender back.</summary>
    Task WriteAsync(T message);

    Task WriteAsync(T message, CancellationToken cancellationToken)
    {
        if (cancellationToken.CanBeCanceled)
        {
            throw new NotSupportedException("This writer cannot cancel a write.");
        }

        return WriteAsync(message);
    }
}
