using System.Buffers;
using Broker.Domain;

namespace Broker.Topics;

/// <summary>Snapshots and indexes, which nothing calls yet.</summary>
public sealed partial class MetadataStateMachine
{
    public LogIndex FirstNeeded => new(1);

    public void WriteSnapshot(IBufferWriter<byte> into) => throw new NotSupportedException();

    public void Restore(ReadOnlySpan<byte> snapshot) => throw new NotSupportedException();

    public bool TryWriteIndex(
        LogIndex first, LogIndex last, IBufferWriter<byte> directory, IBufferWriter<byte> body) => false;

    public void UseIndex(LogIndex first, LogIndex last, ReadOnlyMemory<byte> directory) =>
        throw new NotSupportedException();

    public void DropIndexes(LogIndex through) => throw new NotSupportedException();
}
