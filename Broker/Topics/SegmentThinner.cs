using System.Buffers;
using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// Takes out of the entries of one sealed segment what nobody can read any more: batches that lie before their topic's
/// first offset, those of deleted topics, and those that were never stored, because they were refused. What is kept is
/// what the segment's index file and the topics say together; that only ever becomes less, so it does not matter when
/// the topics were looked at. An entry with a command of a kind that is not known here stays as it is.
/// </summary>
internal sealed class SegmentThinner : IEntryThinner
{
    private const int PositionBits = 32;

    private readonly LogIndex _first;
    private readonly LogIndex _last;

    /// <summary>
    /// Kept batches by entry and position, in the order of the log, and what each is: 24 bytes a batch.
    /// </summary>
    private readonly ulong[] _places;
    private readonly (int Topic, long BaseOffset)[] _kept;
    private readonly ArrayBufferWriter<byte> _body = new();

    private SegmentThinner(
        LogIndex first, LogIndex last, List<ulong> places, List<(int Topic, long BaseOffset)> kept)
    {
        (_first, _last) = (first, last);
        (_places, _kept) = ([.. places], [.. kept]);
        Array.Sort(_places, _kept);
    }

    /// <summary>Null: the segment's index file cannot be read.</summary>
    public static SegmentThinner? TryMake(
        LogIndex first, LogIndex last, IEnumerable<TopicState> topics, ReadIndexBody readBody)
    {
        var places = new List<ulong>();
        var kept = new List<(int Topic, long BaseOffset)>();
        foreach (var topic in topics)
        {
            var parts = topic.Parts;
            foreach (var run in parts.Runs)
            {
                if (run.SegmentFirst == first
                    && !TryAdd(topic.Number, run, parts.FirstOffset, readBody, places, kept))
                {
                    return null;
                }
            }
        }

        return new SegmentThinner(first, last, places, kept);
    }

    public LogEntry Thin(LogEntry entry)
    {
        Invariant.Check(entry.Index >= _first && entry.Index <= _last, "an entry of the segment is thinned");
        if (entry.Kind != EntryKind.Commands || !HasMore(entry))
        {
            return entry;
        }

        _body.ResetWrittenCount();
        CommandSequence.WriteThinnedHeader(_body.GetSpan(CommandSequence.ThinnedHeaderBytes), entry);
        _body.Advance(CommandSequence.ThinnedHeaderBytes);
        foreach (var command in new CommandSequence(entry.Body))
        {
            if (TopicCommands.IsPublish(command.Kind))
            {
                var publish = TopicCommands.ReadPublish(command);
                var into = _body.GetSpan(ThinnedPublish.MaxBytes(publish));
                _body.Advance(ThinnedPublish.Write(into, command.Kind, publish, Find(entry.Index, publish)));
            }
            else
            {
                _body.Write(entry.Body.Span.Slice(
                    command.PayloadPosition - CommandSequence.HeaderBytes,
                    CommandSequence.HeaderBytes + command.Payload.Length));
            }
        }

        if (_body.WrittenCount >= entry.Body.Length)
        {
            // Of small batches may be left more than they were.
            return entry;
        }

        var body = _body.WrittenSpan.ToArray();
        return new LogEntry(
            entry.Index, entry.Term, entry.Kind, entry.Count, entry.TimestampUnixMs, Crc32C.Compute(body), body);
    }

    private static bool TryAdd(
        int topic,
        in IndexedRun run,
        long firstOffset,
        ReadIndexBody readBody,
        List<ulong> places,
        List<(int Topic, long BaseOffset)> kept)
    {
        var batches = new List<BatchLocation>();
        var search = new BatchSearch(Math.Max(run.BaseOffset, firstOffset), run.EndOffset, int.MaxValue, batches);
        if (!search.IsDone && !SegmentIndex.TryRead(readBody, run, ref search))
        {
            return false;
        }

        foreach (var batch in batches)
        {
            places.Add(PlaceOf(batch.LogIndex - run.SegmentFirst, batch.Position));
            kept.Add((topic, batch.BaseOffset));
        }

        return true;
    }

    private static ulong PlaceOf(long entry, int position) => ((ulong)entry << PositionBits) | (uint)position;

    private (int Topic, long BaseOffset)? Find(LogIndex index, in PublishCommand publish)
    {
        if (publish.IsThinned && publish.Remains.IsEmpty)
        {
            return null;
        }

        var at = Array.BinarySearch(_places, PlaceOf(index - _first, publish.BatchPosition));
        return at < 0 ? null : _kept[at];
    }

    /// <summary>Whether something can be taken out of it, and all of its commands are known.</summary>
    private bool HasMore(LogEntry entry)
    {
        var found = false;
        foreach (var command in new CommandSequence(entry.Body))
        {
            switch (command.Kind)
            {
                case CommandKind.Publish or CommandKind.PublishAtOffset or CommandKind.PublishToPartition:
                    var publish = TopicCommands.ReadPublish(command);
                    found |= !(publish.IsThinned && publish.Remains.IsEmpty) && Find(entry.Index, publish) is null;
                    break;
                case CommandKind.PurgeTopic or CommandKind.TrimTopic or CommandKind.CreateTopic
                    or CommandKind.UpdateTopic or CommandKind.DeleteTopic or CommandKind.CreatePartitionedTopic
                    or CommandKind.MakePartitions or CommandKind.PlacePartitions or CommandKind.RemovePartitions
                    or CommandKind.OpenGroup or CommandKind.SettleRecords or CommandKind.SeekGroup
                    or CommandKind.CloseGroup or CommandKind.ForgetTopics:
                    break;
                default:
                    return false;
            }
        }

        return found;
    }
}
