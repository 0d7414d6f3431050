using System.Runtime.InteropServices;
using Broker.Groups;
using Broker.Topics;

namespace Broker.Delivery;

/// <summary>
/// Looks ahead in the log where keys or priorities decide what a group's dispatcher gives next, and tells it those of
/// each record. As the <see cref="GroupServing"/> that owns it, it is used in the turns of a <see cref="ShardGroups"/>
/// alone.
/// </summary>
internal sealed class GroupLookAhead(
    ShardPlace shard, GroupDispatcher dispatcher, FollowedTopics topics, SingleRecords records)
{
    private const int PagesAtOnce = 8;

    /// <summary>References of which the records' keys are looked up at once: a read each.</summary>
    private const int FollowedAtOnce = 64;

    private readonly List<RecordKey> _keys = [];
    private readonly List<long> _references = [];

    /// <summary>
    /// What could not be read is tried again then; <see cref="long.MaxValue"/>: everything could.
    /// </summary>
    public long NotBeforeUnixMs { get; private set; } = long.MaxValue;

    /// <summary>True: there is more to look up than the others should wait for.</summary>
    public bool LookUpKeys()
    {
        if (NotBeforeUnixMs != long.MaxValue && shard.NowUnixMs < NotBeforeUnixMs)
        {
            return false;
        }

        NotBeforeUnixMs = long.MaxValue;
        for (var pages = 0; dispatcher.TryWantKeys(out var topic, out var range); pages++)
        {
            if (pages == PagesAtOnce)
            {
                return true;
            }

            if (topics.TryGet(topic, out var view) && !TryLookUp(view, range))
            {
                NotBeforeUnixMs = shard.NowUnixMs + ShardPlace.RetryMs;
                return false;
            }
        }

        return false;
    }

    /// <summary>False: nothing can be read now.</summary>
    private bool TryLookUp(in TopicView view, OffsetRange range)
    {
        if (DueTopic.IsOne(view.Name))
        {
            return TryLookUpDue(view, range);
        }

        var page = shard.Reader.ReadRange(view, range.First, range.End);
        var end = page is not null
            ? Math.Min(range.End, page.NextOffset)
            : shard.Reader.FindGoneEnd(view, range.First, range.End);
        if (end <= range.First)
        {
            return false;
        }

        // What is gone, or lost, has no key; that it is gone is seen when it is to be sent.
        _keys.Clear();
        foreach (var batch in page?.Batches ?? [])
        {
            Pad(Math.Min(batch.BaseOffset, end), range.First);
            var rest = batch.Batch.Span;
            var offset = batch.BaseOffset;
            for (; offset < end && RecordBatchScanner.TryTakeRecord(ref rest, out var record); offset++)
            {
                if (offset == range.First + _keys.Count)
                {
                    var key = RecordBatchScanner.KeyOf(record, out _, out var priority);
                    _keys.Add(new RecordKey(HashOf(key), priority));
                }
            }
        }

        Pad(end, range.First);
        return TakeKeys(view, range.First);
    }

    /// <summary>False: nothing can be read now.</summary>
    private bool TryLookUpDue(in TopicView due, OffsetRange range)
    {
        _keys.Clear();
        var few = range with { End = Math.Min(range.End, range.First + FollowedAtOnce) };
        if (!records.TryReadReferences(due, few, _references))
        {
            return false;
        }

        foreach (var reference in _references)
        {
            if (!records.TryFollow(due, reference, out var record))
            {
                break;
            }

            _keys.Add(record.Bytes.IsEmpty ? default : KeyOf(record.Bytes.Span));
        }

        return TakeKeys(due, range.First);
    }

    /// <summary>False: there is none.</summary>
    private bool TakeKeys(in TopicView view, long first)
    {
        if (_keys.Count > 0)
        {
            dispatcher.AddKeys(view.Number, first, CollectionsMarshal.AsSpan(_keys));
        }

        return _keys.Count > 0;
    }

    /// <summary>Of the one record of a batch.</summary>
    private static RecordKey KeyOf(ReadOnlySpan<byte> batch) =>
        RecordBatchScanner.TryTakeRecord(ref batch, out var record)
            ? new RecordKey(HashOf(RecordBatchScanner.KeyOf(record, out _, out var priority)), priority)
            : default;

    /// <summary>Good within this process: nobody else hears it.</summary>
    private static ulong HashOf(ReadOnlySpan<byte> key)
    {
        if (key.IsEmpty)
        {
            return 0;
        }

        var (hash, other) = (default(HashCode), default(HashCode));
        hash.AddBytes(key);
        other.Add(key.Length);
        other.AddBytes(key);
        return ((ulong)(uint)hash.ToHashCode() << 32) | (uint)other.ToHashCode() | 1;
    }

    private void Pad(long to, long first)
    {
        while (first + _keys.Count < to)
        {
            _keys.Add(default);
        }
    }
}
