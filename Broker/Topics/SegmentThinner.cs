using System.Buffers;
using System.Runtime.InteropServices;
using Broker.Domain;
using Broker.Replication;
using Broker.State;

namespace Broker.Topics;

/// <summary>
/// Takes out of the entries of one sealed segment what nobody can read any more: batches that lie before their topic's
/// first offset, those of deleted topics, those that were never stored, because they were refused, and of compacted
/// topics the records that were judged to be gone. What is kept is what the segment's index file and the topics say
/// together; that only ever becomes less, so it does not matter when the topics were looked at. An entry with a command
/// of a kind that is not known here stays as it is.
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

    /// <summary>Of the topics that are compacted, by their numbers.</summary>
    private readonly Dictionary<int, KeyJudgement> _judgements;
    private readonly ArrayBufferWriter<byte> _body = new();

    private SegmentThinner(
        LogIndex first,
        LogIndex last,
        List<ulong> places,
        List<(int Topic, long BaseOffset)> kept,
        Dictionary<int, KeyJudgement> judgements)
    {
        (_first, _last, _judgements) = (first, last, judgements);
        (_places, _kept) = ([.. places], [.. kept]);
        Array.Sort(_places, _kept);
    }

    /// <summary>One that keeps no batch, as others do: the entries then have what decides about each publish.</summary>
    public static SegmentThinner OfAll(LogIndex first, LogIndex last) => new(first, last, [], [], []);

    /// <summary>Null: the segment's index file cannot be read.</summary>
    public static SegmentThinner? TryMake(
        LogIndex first,
        LogIndex last,
        IEnumerable<TopicState> topics,
        CompactionMemory compaction,
        ReadIndexBody readBody)
    {
        var judgements = new Dictionary<int, KeyJudgement>();
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

                if (run.SegmentFirst == first && compaction.Use(topic) is { } judgement)
                {
                    judgements[topic.Number] = judgement;
                }
            }
        }

        return new SegmentThinner(first, last, places, kept, judgements);
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
        var hasJudged = false;
        foreach (var command in new CommandSequence(entry.Body))
        {
            if (TopicCommands.IsPublish(command.Kind))
            {
                hasJudged |= WriteThinned(entry.Index, command);
            }
            else if (AtomicCommands.IsAtomic(command.Kind))
            {
                hasJudged |= WriteThinnedParts(entry.Index, command);
            }
            else
            {
                _body.Write(entry.Body.Span.Slice(
                    command.PayloadPosition - CommandSequence.HeaderBytes,
                    CommandSequence.HeaderBytes + command.Payload.Length));
            }
        }

        if (_body.WrittenCount >= entry.Body.Length && !hasJudged)
        {
            // Of small batches may be left more than they were. Only what is compacted goes even so: a delete marker
            // counts on it that the older records of its key go with it.
            return entry;
        }

        var body = _body.WrittenSpan.ToArray();
        return new LogEntry(
            entry.Index, entry.Term, entry.Kind, entry.Count, entry.TimestampUnixMs, Crc32C.Compute(body), body);
    }

    /// <summary>Whether compaction has taken something out of it.</summary>
    private bool WriteThinned(LogIndex index, in Command command)
    {
        var publish = TopicCommands.ReadPublish(command);
        var kept = Find(index, publish);
        var judgement = JudgementOf(kept, publish);
        var into = _body.GetSpan(ThinnedPublish.MaxBytes(publish, judgement));
        _body.Advance(ThinnedPublish.Write(into, command.Kind, publish, kept, judgement));
        return judgement is not null;
    }

    /// <summary>The parts stay one command: whoever applies it stores all of them or none.</summary>
    private bool WriteThinnedParts(LogIndex index, in Command command)
    {
        var begin = _body.WrittenCount;
        _body.Advance(AtomicCommands.WriteHeader(_body.GetSpan(CommandSequence.HeaderBytes), command.Kind, 0));
        foreach (var settling in AtomicCommands.Settling(command))
        {
            CommandSequence.Begin(_body, settling.Kind, settling.Payload.Length).PutBytes(settling.Payload);
            _body.Advance(CommandSequence.HeaderBytes + settling.Payload.Length);
        }

        var isJudged = false;
        foreach (var part in AtomicCommands.Parts(command))
        {
            isJudged |= WriteThinned(index, part);
        }

        var partsBytes = _body.WrittenCount - begin - CommandSequence.HeaderBytes;
        AtomicCommands.WriteHeader(
            MemoryMarshal.AsMemory(_body.WrittenMemory)[begin..].Span, command.Kind, partsBytes);
        return isJudged;
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

    /// <summary>What takes some of a kept batch's records out; null: all of them stay.</summary>
    private KeyJudgement? JudgementOf((int Topic, long BaseOffset)? kept, in PublishCommand publish) =>
        kept is { } batch && _judgements.TryGetValue(batch.Topic, out var judgement)
        && judgement.TakesAny(batch.BaseOffset, publish.RecordCount)
            ? judgement
            : null;

    /// <summary>Whether something can be taken out of it, and all of its commands are known.</summary>
    private bool HasMore(LogEntry entry)
    {
        var found = false;
        foreach (var command in new CommandSequence(entry.Body))
        {
            // Of a record that is buried, and of what is due, a batch is stored that stands in no publish.
            if (!Enum.IsDefined(command.Kind) || command.Kind is CommandKind.BuryRecord or CommandKind.DelayDue)
            {
                return false;
            }

            if (TopicCommands.IsPublish(command.Kind))
            {
                found |= HasMore(entry.Index, command);
            }
            else if (AtomicCommands.IsAtomic(command.Kind))
            {
                foreach (var part in AtomicCommands.Parts(command))
                {
                    found |= HasMore(entry.Index, part);
                }
            }
        }

        return found;
    }

    private bool HasMore(LogIndex index, in Command command)
    {
        var publish = TopicCommands.ReadPublish(command);
        var kept = Find(index, publish);
        return !(publish.IsThinned && publish.Remains.IsEmpty)
            && (kept is null || JudgementOf(kept, publish) is not null);
    }
}
