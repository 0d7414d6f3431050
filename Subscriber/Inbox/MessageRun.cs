namespace Subscriber.Inbox;

/// <summary>Where a message came from, as stored in the inbox.</summary>
internal enum MessageSource : short
{
    Live = 1,
    Log = 2,
}

/// <summary>One message. Headers are encoded as fields 3 of broker.v1.Record; empty: none.</summary>
internal readonly record struct InboxRecord(
    long TimestampUnixMs, ReadOnlyMemory<byte> Key, ReadOnlyMemory<byte> Value, ReadOnlyMemory<byte> Headers)
{
    public int SizeBytes => 64 + Key.Length + Value.Length + Headers.Length;
}

/// <summary>Messages of one topic at consecutive offsets.</summary>
internal sealed class MessageRun
{
    private readonly ArraySegment<InboxRecord> _records;

    public MessageRun(long baseOffset, ArraySegment<InboxRecord> records, MessageSource source)
    {
        BaseOffset = baseOffset;
        _records = records;
        Source = source;
        foreach (var record in records)
        {
            SizeBytes += record.SizeBytes;
        }
    }

    public long BaseOffset { get; }

    public long EndOffset => BaseOffset + _records.Count;

    public int Count => _records.Count;

    public MessageSource Source { get; }

    public int SizeBytes { get; }

    public InboxRecord this[int index] => _records[index];

    /// <summary>What the run has from an offset on.</summary>
    public MessageRun From(long offset) =>
        offset <= BaseOffset ? this : new MessageRun(offset, _records[(int)(offset - BaseOffset)..], Source);
}
