using System.Runtime.InteropServices;
using Broker.Groups;
using Broker.Topics;

namespace Broker.Delivery;

/// <content>Looking ahead in the log, where keys or priorities decide what goes next.</content>
internal sealed partial class GroupServing
{
    private const int PagesAtOnce = 8;

    private readonly List<RecordKey> _keys = [];

    // What could not be read is tried again then; long.MaxValue: everything could.
    private long _keysNotBeforeUnixMs = long.MaxValue;

    /// <summary>True: there is more to look up than the others should wait for.</summary>
    private bool LookUpKeys()
    {
        if (_keysNotBeforeUnixMs != long.MaxValue && Now < _keysNotBeforeUnixMs)
        {
            return false;
        }

        _keysNotBeforeUnixMs = long.MaxValue;
        for (var pages = 0; _dispatcher.TryWantKeys(out var topic, out var range); pages++)
        {
            if (pages == PagesAtOnce)
            {
                return true;
            }

            if (!shard.Topics.TryGetTopic(_places[topic], out var view) || view.Number != topic)
            {
                Unfollow(topic);
            }
            else if (!TryLookUp(view, range))
            {
                _keysNotBeforeUnixMs = Now + RetryMs;
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

    /// <summary>False: there is none.</summary>
    private bool TakeKeys(in TopicView view, long first)
    {
        if (_keys.Count > 0)
        {
            _dispatcher.AddKeys(view.Number, first, CollectionsMarshal.AsSpan(_keys));
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
