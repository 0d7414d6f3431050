using Broker.Domain;
using Broker.Protocol.V1;
using Grpc.Core;

namespace Broker.Transport;

/// <summary>One snapshot on its way here. Guarded by the lock of its <see cref="SnapshotInbox"/>.</summary>
internal sealed class SnapshotArrival(SnapshotOffer offer)
{
    private readonly uint _dataCrc32C = offer.DataCrc32C;
    private readonly int _sizeBytes = (int)offer.SizeBytes;
    private object? _owner;

    /// <summary>What the latest offer of this data said.</summary>
    public PeerMessage Message { get; private set; } = offer.Message;

    /// <summary>Empty again once it is installed.</summary>
    public byte[] Data { get; private set; } = GC.AllocateUninitializedArray<byte>((int)offer.SizeBytes);

    public int ReceivedBytes { get; private set; }

    public bool IsComplete => ReceivedBytes == _sizeBytes;

    /// <summary>When something last arrived, as a timestamp.</summary>
    public long TouchedAt { get; private set; }

    /// <summary>
    /// What became of it. A stream that comes while it is being installed waits for the same outcome, and a leader that
    /// did not hear of it may ask later.
    /// </summary>
    public TaskCompletionSource<SnapshotOutcome>? Installation { get; set; }

    /// <summary>
    /// Whether the offer is of the same data. Its leader may be another one: equal states make equal snapshots.
    /// </summary>
    public bool IsSameAs(SnapshotOffer other) =>
        other.DataCrc32C == _dataCrc32C
        && (int)other.SizeBytes == _sizeBytes
        && other.Message.LogIndex == Message.LogIndex
        && other.Message.LogTerm == Message.LogTerm;

    public void Own(object owner, PeerMessage message, long now)
    {
        _owner = owner;
        Message = message;
        TouchedAt = now;
    }

    public void Disown() => _owner = null;

    public void ReleaseData() => Data = [];

    public bool IsIntact() => Crc32C.Compute(Data) == _dataCrc32C;

    public void Append(object owner, SnapshotChunk chunk, long now)
    {
        if (_owner != owner)
        {
            throw PeerTransfer.Refuse(StatusCode.Aborted, "Superseded by another offer.");
        }

        if (chunk.Offset != (ulong)ReceivedBytes || chunk.Data.Length > _sizeBytes - ReceivedBytes
            || chunk.Data.Length is 0 or > Limits.TransferChunkBytes)
        {
            throw PeerTransfer.Refuse(
                StatusCode.InvalidArgument,
                $"A chunk of {chunk.Data.Length} bytes at {chunk.Offset}; expected 1 to {Limits.TransferChunkBytes} "
                + $"at {ReceivedBytes}, up to {_sizeBytes}.");
        }

        if (Crc32C.Compute(chunk.Data.Span) != chunk.DataCrc32C)
        {
            throw PeerTransfer.Refuse(StatusCode.DataLoss, $"The chunk at {chunk.Offset} was damaged on its way.");
        }

        chunk.Data.Span.CopyTo(Data.AsSpan(ReceivedBytes));
        ReceivedBytes += chunk.Data.Length;
        TouchedAt = now;
    }
}
