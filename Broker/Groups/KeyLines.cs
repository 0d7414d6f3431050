using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Broker.ClusterState;
using Broker.Domain;

namespace Broker.Groups;

/// <summary>
/// Groups in which keys or priorities decide what goes next. The keys of records ahead are looked up, and each key's
/// records stand in a line; lines take turns, those of a higher priority first. Where the order of keys is kept, a line
/// gives its next record when the one before is finished: that is committed, for a leader that follows would give it
/// again.
/// </summary>
/// <param name="settings">How the group delivers.</param>
/// <param name="due">What comes again.</param>
internal sealed class KeyLines(ConsumerGroupSettings settings, DueRecords due)
{
    /// <summary>Priorities of records are 0 to 9.</summary>
    public const int Priorities = Limits.MostPriority + 1;

    /// <summary>Records of a line, in one turn, when others wait.</summary>
    private const int LineTurn = 16;

    private const int MostKeysAtOnce = 10_000;

    private readonly Queue<KeyLine>[] _lines =
        [.. Enumerable.Range(0, Priorities).Select(static _ => new Queue<KeyLine>())];

    private readonly Queue<DispatchLane> _keyless = [];

    private ConsumerGroupSettings _settings = settings;

    /// <summary>Runs in lines: each is a hole for the shard to remember, once records behind it are settled.</summary>
    public int Runs { get; private set; }

    public bool IsAny => Array.Exists(_lines, static queue => queue.Count > 0);

    /// <summary>Keys are looked up also of records that are known already.</summary>
    private bool LooksAtKnown => _settings.KeepsKeyOrder || _settings.GoesByPriority;

    /// <summary>The settings are other ones: all keys are looked up anew.</summary>
    public void Begin(ConsumerGroupSettings settings, IReadOnlyCollection<DispatchLane> lanes)
    {
        _settings = settings;
        foreach (var queue in _lines)
        {
            queue.Clear();
        }

        Runs = 0;
        due.Begin(settings);
        foreach (var lane in lanes)
        {
            foreach (var line in lane.Lines.Values)
            {
                line.IsOver = true;
            }

            lane.Lines.Clear();
            lane.KeysWanted.Clear();
            foreach (var (offset, record) in lane.Records.ToArray())
            {
                Forget(lane, offset);
                if (record.State == RecordState.Waiting)
                {
                    due.Add(lane, offset, record.DueUnixMs);
                }
            }

            Begin(lane);
        }
    }

    /// <summary>From where on the topic's keys are to be looked up.</summary>
    public void Begin(DispatchLane lane)
    {
        // All before that is settled.
        lane.KeysTo = lane.Records.Count == 0 ? lane.Cursor : Math.Min(lane.Cursor, lane.Records.Keys.Min());
        foreach (var offset in lane.IsOfTheDead && LooksAtKnown ? lane.Records.Keys.Order() : Enumerable.Empty<long>())
        {
            lane.KeysWanted.Enqueue(offset);
        }
    }

    /// <summary>The topic's lines go with it.</summary>
    public void End(DispatchLane lane)
    {
        foreach (var line in lane.Lines.Values)
        {
            line.IsOver = true;
            Runs -= line.Runs;
        }
    }

    /// <summary>There are records in the topic of which keys are to be looked up.</summary>
    public void Want(DispatchLane lane)
    {
        if (!lane.WantsKeys && !lane.IsGone)
        {
            lane.WantsKeys = true;
            _keyless.Enqueue(lane);
        }
    }

    /// <summary>A dead letter is sent on its way again.</summary>
    public void WantDead(DispatchLane lane, long offset)
    {
        if (LooksAtKnown)
        {
            lane.KeysWanted.Enqueue(offset);
            Want(lane);
        }
    }

    /// <summary>See <see cref="GroupDispatcher.TryWantKeys"/>.</summary>
    public bool TryWant(out int topic, out OffsetRange range)
    {
        (topic, range) = (0, default);
        while (_keyless.TryPeek(out var lane))
        {
            if (!lane.IsGone && lane.IsOfTheDead && lane.KeysWanted.TryPeek(out var wanted))
            {
                var count = lane.KeysWanted.Take(MostKeysAtOnce).TakeWhile((offset, i) => offset == wanted + i).Count();
                (topic, range) = (lane.Topic, new OffsetRange(wanted, wanted + count));
                return true;
            }

            // What is settled already needs no key; where the keys of others count, it may be among those.
            lane.KeysTo = lane.FirstUnsettled(lane.KeysTo, isFresh: !LooksAtKnown);
            if (lane is { IsGone: false, IsOfTheDead: false } && lane.KeysTo < lane.Next)
            {
                (topic, range) = (lane.Topic, new OffsetRange(
                    lane.KeysTo, Math.Min(lane.Next, lane.KeysTo + MostKeysAtOnce)));
                return true;
            }

            _keyless.Dequeue();
            lane.WantsKeys = false;
        }

        return false;
    }

    /// <summary>See <see cref="GroupDispatcher.AddKeys"/>.</summary>
    public void Add(DispatchLane lane, long first, ReadOnlySpan<RecordKey> keys)
    {
        for (var i = 0; i < keys.Length; i++)
        {
            if (lane.TryTakeKey(first + i))
            {
                Line(lane, first + i, keys[i]);
            }
        }

        // Another topic's are looked up next.
        if (_keyless.TryPeek(out var at) && at == lane)
        {
            _keyless.Enqueue(_keyless.Dequeue());
        }
    }

    /// <summary>
    /// Takes the next fresh records of a priority, at least one and at most so many: each waits now. False: there are
    /// none.
    /// </summary>
    public bool TryTake(
        int most, int priority, [NotNullWhen(true)] out DispatchLane? lane, out OffsetRange range)
    {
        (lane, range) = (null, default);
        var queue = _lines[priority];
        while (range.Count < most && queue.TryPeek(out var line))
        {
            var isNext = line.TryPeek(out var run, out var its) && its == priority
                && !line.IsOver && line.Lane.IsFresh(run.First);
            if (isNext && lane is not null && (line.Lane != lane || run.First != range.End))
            {
                break;
            }

            queue.Dequeue();
            line.IsQueued = false;
            if (isNext)
            {
                range = lane is null ? new OffsetRange(run.First, run.First) : range;
                lane = line.Lane;
                var left = most - range.Count;
                TakeTurn(line, run, (byte)priority, queue.Count == 0 ? left : Math.Min(LineTurn, left), ref range);
            }

            if (!line.IsOver && !(isNext && line.Blocks))
            {
                Advance(line);
            }
        }

        return lane is not null;
    }

    /// <summary>A record is finished: its line goes on.</summary>
    public void GoOn(KeyLine? line, long offset)
    {
        if (line is { Blocks: true, IsOver: false } && line.TryPeek(out var run, out _) && run.First == offset)
        {
            Pop(line);
            Advance(line);
        }
    }

    private void Line(DispatchLane lane, long offset, RecordKey key)
    {
        var isKnown = lane.Records.TryGetValue(offset, out var record);
        var priority = _settings.GoesByPriority ? Math.Min(key.Priority, (byte)Limits.MostPriority) : (byte)0;
        if (isKnown)
        {
            Rank(lane, offset, priority, ref record);
        }

        if (!lane.IsFresh(offset) && !(isKnown && _settings.KeepsKeyOrder))
        {
            return;
        }

        // Where keys keep no order, each priority of a key is a line of its own.
        var blocks = _settings.KeepsKeyOrder && key.Key != 0;
        var id = (key.Key, blocks ? (byte)0 : priority);
        if (!lane.Lines.TryGetValue(id, out var line))
        {
            lane.Lines.Add(id, line = new KeyLine(lane, id, blocks));
        }

        if (isKnown && !blocks)
        {
            // It is free, and not the line's any more.
            Attach(lane, offset, record, line);
            return;
        }

        var isIdle = line.Runs == 0;
        Runs -= line.Runs;
        line.Add(offset, priority);
        Runs += line.Runs;
        if (isIdle)
        {
            Advance(line);
        }
    }

    /// <summary>Finds the line's next record, and puts the line where that has it.</summary>
    private void Advance(KeyLine line)
    {
        var lane = line.Lane;
        while (line.TryPeek(out var run, out var priority))
        {
            if (lane.IsFresh(run.First))
            {
                if (!line.IsQueued)
                {
                    line.IsQueued = true;
                    _lines[priority].Enqueue(line);
                }

                return;
            }

            // One that an earlier leader gave out, and whose consumer has said something of it since.
            if (lane.Records.TryGetValue(run.First, out var record))
            {
                Rank(lane, run.First, priority, ref record);
                if (_settings.KeepsKeyOrder)
                {
                    Attach(lane, run.First, record, line);
                    if (line.Blocks)
                    {
                        return;
                    }
                }
            }

            Pop(line);
        }

        lane.Lines.Remove(line.Id);
    }

    private void Pop(KeyLine line)
    {
        Runs -= line.Runs;
        line.Take();
        Runs += line.Runs;
    }

    /// <summary>A record is the first of its line: if it waits it may go now, and the line waits for it.</summary>
    private void Attach(DispatchLane lane, long offset, in DispatchedRecord record, KeyLine line)
    {
        lane.Put(offset, record with { Line = line });
        if (record.State == RecordState.Waiting)
        {
            due.Add(lane, offset, record.DueUnixMs);
        }
    }

    /// <summary>The priority of a record is known now.</summary>
    private void Rank(DispatchLane lane, long offset, byte priority, ref DispatchedRecord record)
    {
        if (record.Priority >= priority)
        {
            return;
        }

        record.Priority = priority;
        lane.Put(offset, record);
        if (record.State == RecordState.Waiting)
        {
            // Where it stands already it is passed over.
            due.Add(lane, offset, record.DueUnixMs);
        }
    }

    /// <summary>Takes what follows the range from the line whose turn it is.</summary>
    private void TakeTurn(KeyLine line, OffsetRange run, byte priority, long most, ref OffsetRange range)
    {
        var lane = line.Lane;
        var end = Math.Min(run.End, run.First + (line.Blocks ? 1 : most));
        var at = run.First;
        for (; at < end && lane.IsFresh(at); at++)
        {
            lane.TakeFreshAt(at);
            lane.Put(at, new DispatchedRecord { State = RecordState.Waiting, Line = line, Priority = priority });
            if (!line.Blocks)
            {
                Pop(line);
            }
        }

        range = range with { End = at };
    }

    private static void Forget(DispatchLane lane, long offset)
    {
        ref var record = ref CollectionsMarshal.GetValueRefOrNullRef(lane.Records, offset);
        (record.Line, record.Priority) = (null, 0);
    }
}
