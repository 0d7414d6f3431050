using Broker.Domain;
using Broker.Groups;
using Broker.State;

namespace Broker.Tests.Simulation;

/// <summary>
/// What became of the records of a shard's topics in the consumer group, as its consumers know it: what may be settled,
/// what must stay so, who has what. A turn is what lies between two seeks of the group in one topic.
/// </summary>
internal sealed partial class GroupHistory(SimulatedGroup group)
{
    private readonly Dictionary<(int Group, int Topic, int Turn), Turn> _turns = [];
    private readonly Dictionary<int, long> _purgedTo = [];
    private readonly Dictionary<(int Group, int Topic, int Turn, long Offset), long> _deadNumbers = [];
    private readonly Dictionary<LogIndex, ulong> _digests = [];

    /// <summary>
    /// They were deleted. A leader whose node has not heard so may open one once more: nobody cares what it does.
    /// </summary>
    private readonly HashSet<int> _closed = [];

    /// <summary>The last entry that any replica has applied.</summary>
    private LogIndex _last;

    /// <summary>Nobody looks any more: an operator may give up what was committed.</summary>
    public bool IsOver { get; set; }

    /// <summary>A copy of a record in the dead letters has a value that no other has.</summary>
    public long DeadNumber(int number, in DyingRecord dying)
    {
        var key = (number, dying.Topic, dying.Turn, dying.Offset);
        if (!_deadNumbers.TryGetValue(key, out var value))
        {
            _deadNumbers[key] = value = group.World.NextValue();
        }

        return value;
    }

    /// <summary>A leader knows that a topic keeps nothing before an offset.</summary>
    public void NotePurged(int topic, long first) =>
        _purgedTo[topic] = Math.Max(first, _purgedTo.GetValueOrDefault(topic));

    /// <summary>A leader begins anew with a topic: its leases there are void.</summary>
    public void NoteFollowed(int number, int topic, int turn, Term term)
    {
        var given = TurnOf(number, topic, turn).Given;
        foreach (var offset in given.Where(each => each.Value.Term == term.Value).Select(each => each.Key).ToArray())
        {
            given.Remove(offset);
        }
    }

    /// <summary>A leader gives records to a consumer: nobody else has them, and they are counted.</summary>
    /// <param name="node">The leader's node.</param>
    /// <param name="number">The group.</param>
    /// <param name="token">Names them.</param>
    /// <param name="nowMs">The time.</param>
    public void CheckGiven(ReplicaNode node, int number, in DeliveryToken token, long nowMs)
    {
        var turn = TurnOf(number, token.Topic, token.Turn);
        var progress = node.Groups!.Groups[number].Find(token.Topic);
        World.Check(
            (progress?.Turn ?? 0) == token.Turn,
            $"node {node.Id} delivers {token.Topic}/{token.Range} of turn {token.Turn} after a seek");
        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            if (turn.Given.TryGetValue(offset, out var given))
            {
                World.Check(
                    given.Term != token.Term || given.UntilMs <= nowMs,
                    $"node {node.Id} gives {token.Topic}/{offset} to two at a time");
            }

            var counted = progress?.Deliveries.GetValueOrDefault(offset).Count ?? 0;
            World.Check(
                token.Attempt > counted && progress?.Settled.Contains(offset) != true,
                $"node {node.Id} gives {token.Topic}/{offset} at attempt {token.Attempt} after {counted}, or settled");
            turn.Given[offset] = (token.Term, token.Lease, token.DeadlineUnixMs);
            turn.Deliveries[offset] = turn.Deliveries.GetValueOrDefault(offset) + 1;
        }
    }

    /// <summary>
    /// What a leader reads in its log, in short. A key has one record out at a time, so with few keys a group would not
    /// come to an end: an eighth of the records have one of three or none, the others one of forty.
    /// </summary>
    public static RecordKey KeyOf(int topic, long offset)
    {
        var hash = unchecked((uint)((offset * 7_919) + topic) * 2_654_435_761U);
        var key = (hash >> 12) % 8 == 0 ? (hash >> 8) % 4 : 4 + ((hash >> 8) % 40);
        return new RecordKey(key, (byte)((hash >> 16) % 10));
    }

    /// <summary>A record is given when what is before it of its key is finished, on a quorum's disks.</summary>
    public void CheckKeyOrder(ReplicaNode node, int number, in DeliveryToken token)
    {
        var progress = node.Groups!.Groups[number].Find(token.Topic);
        var from = Math.Max(progress?.Settled.Floor ?? 0, _purgedTo.GetValueOrDefault(token.Topic));
        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            var key = KeyOf(token.Topic, offset).Key;
            for (var before = from; before < offset && key != 0; before++)
            {
                World.Check(
                    KeyOf(token.Topic, before).Key != key || progress?.Settled.Contains(before) == true,
                    $"node {node.Id} gives {token.Topic}/{offset} of key {key} before {before} is settled");
            }
        }
    }

    /// <summary>It was not sent: it does not count as a delivery.</summary>
    public void NoteTakenBack(int number, in DeliveryToken token)
    {
        var turn = TurnOf(number, token.Topic, token.Turn);
        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            turn.Given.Remove(offset);
            turn.Deliveries[offset]--;
        }
    }

    /// <summary>The same of records whose time to live is over: nobody need finish them.</summary>
    public void NoteExpired(int number, in DeliveryToken token)
    {
        NoteTakenBack(number, token);
        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            TurnOf(number, token.Topic, token.Turn).MayEnd.Add(offset);
        }
    }

    /// <summary>A consumer asks a leader, which may be another one than the token's: that one hears nothing.</summary>
    public void NoteAsked(
        int number, SettleKind kind, in DeliveryToken token, Term leader, long nowMs, long lengthMs)
    {
        var turn = TurnOf(number, token.Topic, token.Turn);
        for (var offset = token.Range.First; offset < token.Range.End; offset++)
        {
            if (kind is SettleKind.Ack or SettleKind.Terminate)
            {
                turn.MayEnd.Add(offset);
            }

            if (leader.Value == token.Term && turn.Given.TryGetValue(offset, out var given)
                && given.Lease == token.Lease && given.Term == token.Term)
            {
                turn.Given[offset] = given with
                {
                    UntilMs = kind == SettleKind.Extend && given.UntilMs > nowMs ? nowMs + lengthMs : 0,
                };
            }
        }
    }

    /// <summary>A leader gives a record up: a consumer said so, or it was delivered often enough.</summary>
    public void CheckDying(int number, in DyingRecord dying)
    {
        var turn = TurnOf(number, dying.Topic, dying.Turn);
        var deliveries = turn.Deliveries.GetValueOrDefault(dying.Offset);
        World.Check(
            dying.Reason is null ? deliveries >= GroupOperator.MaxDeliveries : turn.MayEnd.Contains(dying.Offset),
            $"{dying.Topic}/{dying.Offset} is given up after {deliveries} deliveries ({dying.Attempts})");
        turn.MayEnd.Add(dying.Offset);
        group.World.Figures.Count(Figure.GroupDead);
    }

    /// <summary>A consumer hears that its records are settled: they are, and then stay so.</summary>
    public void CheckAcked(ReplicaNode node, int number, in DeliveryToken token)
    {
        if (!node.Groups!.Groups.TryGetValue(number, out var here)
            || here.Find(token.Topic) is not { } progress || progress.Turn != token.Turn)
        {
            return;
        }

        // What was purged is gone, whether or not that is committed here.
        var first = Math.Max(token.Range.First, _purgedTo.GetValueOrDefault(token.Topic));
        World.Check(
            first >= token.Range.End || progress.Settled.FirstMissing(first) >= token.Range.End,
            $"node {node.Id} says that {token.Topic}/{token.Range} is settled, and it is not");
    }

    /// <summary>
    /// A replica has applied an entry: if it is about groups they are the same as on the others, what was settled and
    /// counted stays so, and nothing is settled that nobody has finished.
    /// </summary>
    public void CheckApplied(ReplicaNode node, LogEntry entry, GroupProgressModule groups)
    {
        if (IsOver || !IsAboutGroups(entry))
        {
            return;
        }

        var digest = Digest(groups);
        if (entry.Index <= _last)
        {
            // One that is not known was passed by a snapshot.
            World.Check(
                !_digests.TryGetValue(entry.Index, out var known) || known == digest,
                $"node {node.Id} has other groups after entry {entry.Index}");
            return;
        }

        _last = entry.Index;
        _digests.Add(entry.Index, digest);
        NoteStarts(entry, groups);
        CheckResults(entry, groups);
        foreach (var here in groups.Groups.Values)
        {
            foreach (var progress in _closed.Contains(here.Number) ? [] : here.Progress.Values)
            {
                Check($"node {node.Id}, entry {entry.Index}", here.Number, progress);
            }
        }
    }

    private static bool IsAboutGroups(LogEntry entry)
    {
        foreach (var command in new CommandSequence(entry.Body))
        {
            if (command.Kind is CommandKind.OpenGroup or CommandKind.SettleRecords or CommandKind.SeekGroup
                or CommandKind.CloseGroup or CommandKind.BuryRecord or CommandKind.ForgetTopics
                or CommandKind.PublishAndSettle or CommandKind.DelayDue or CommandKind.CancelDelayed)
            {
                return true;
            }
        }

        return false;
    }

    private void Check(string where, int number, GroupProgress progress)
    {
        var turn = TurnOf(number, progress.Topic, progress.Turn);
        var purged = _purgedTo.GetValueOrDefault(progress.Topic);
        var settled = progress.Settled;
        World.Check(settled.Floor >= turn.Floor, $"{where}: the floor of {progress.Topic} falls from {turn.Floor}");
        foreach (var range in turn.Ranges)
        {
            World.Check(
                settled.FirstMissing(range.First) >= range.End,
                $"{where}: {progress.Topic}/{range} is settled no more");
        }

        // What is new: between the ranges of before.
        var at = turn.Floor;
        var before = 0;
        foreach (var range in settled.Ranges.Prepend(new OffsetRange(at, settled.Floor)))
        {
            for (at = Math.Max(at, range.First); at < range.End; at++)
            {
                while (before < turn.Ranges.Count && turn.Ranges[before].End <= at)
                {
                    before++;
                }

                World.Check(
                    at < purged || MayBeSettled(turn, at)
                        || (before < turn.Ranges.Count && turn.Ranges[before].First <= at),
                    $"{where}: {progress.Topic}/{at} is settled in turn {progress.Turn}, and nobody has finished it");
            }
        }

        (turn.IsBegun, turn.Floor) = (true, settled.Floor);
        turn.Ranges.Clear();
        turn.Ranges.AddRange(settled.Ranges);
        CheckCounts(where, turn, progress);
    }

    /// <summary>Where no dead letters are kept, what was delivered often enough is only finished.</summary>
    private static bool MayBeSettled(Turn turn, long offset) =>
        turn.MayEnd.Contains(offset) || turn.Deliveries.GetValueOrDefault(offset) >= GroupOperator.MaxDeliveries;

    private static void CheckCounts(string where, Turn turn, GroupProgress progress)
    {
        foreach (var (offset, count) in turn.Counts)
        {
            var now = progress.Deliveries.GetValueOrDefault(offset).Count;
            World.Check(
                now >= count || progress.Settled.Contains(offset),
                $"{where}: {progress.Topic}/{offset} has {now} deliveries after {count}");
        }

        turn.Counts.Clear();
        foreach (var (offset, tried) in progress.Deliveries)
        {
            var deliveries = turn.Deliveries.GetValueOrDefault(offset);
            World.Check(
                !progress.Settled.Contains(offset) && tried.Count <= deliveries,
                $"{where}: {progress.Topic}/{offset} has {tried.Count} deliveries, of {deliveries}, or is settled");
            turn.Counts.Add(offset, tried.Count);
        }
    }

    /// <summary>Where turns begin. Of two seeks in one entry the last one begins the turn that is seen.</summary>
    private void NoteStarts(LogEntry entry, GroupProgressModule groups)
    {
        var seeks = new Dictionary<(int Group, int Topic), long>();
        foreach (var command in new CommandSequence(entry.Body))
        {
            switch (command.Kind)
            {
                case CommandKind.OpenGroup:
                    var open = GroupCommands.ReadOpen(command);
                    foreach (var (topic, offset) in open.Starts)
                    {
                        // A leader that did not know the first word says another one, of which nothing comes.
                        if (groups.Groups.GetValueOrDefault(open.Group)?.Find(topic)?.Settled.Floor >= offset)
                        {
                            Begin(TurnOf(open.Group, topic, 0), offset);
                        }
                    }

                    break;
                case CommandKind.SeekGroup:
                    var seek = GroupCommands.ReadSeek(command);
                    seeks[(seek.Group, seek.Topic)] = seek.Offset;
                    break;
                case CommandKind.CloseGroup:
                    var closed = GroupCommands.ReadClose(command);
                    World.Check(
                        group.World.ConsumerGroup!.MayBeGone(closed),
                        $"group {closed} is closed while it is there");
                    _closed.Add(closed);
                    break;
            }
        }

        foreach (var ((number, topic), offset) in seeks)
        {
            if (groups.Groups.TryGetValue(number, out var here) && here.Find(topic) is { Turn: > 0 } progress)
            {
                Begin(TurnOf(number, topic, progress.Turn), offset);
            }
        }
    }

    /// <summary>The first word holds.</summary>
    private static void Begin(Turn turn, long start)
    {
        if (!turn.IsBegun)
        {
            (turn.IsBegun, turn.Floor) = (true, start);
        }
    }

    private Turn TurnOf(int number, int topic, int turn)
    {
        if (!_turns.TryGetValue((number, topic, turn), out var found))
        {
            _turns[(number, topic, turn)] = found = new Turn();
        }

        return found;
    }

    private static ulong Digest(GroupProgressModule groups)
    {
        var hash = new StateHasher(0);
        hash.Add(groups.Topics.Delays.Count);
        foreach (var here in groups.Groups.Values)
        {
            hash.Add(here.Number);
            hash.Add(here.OpenedTo);
            foreach (var progress in here.Progress.Values)
            {
                hash.Add(progress.Topic);
                hash.Add(progress.Turn);
                hash.Add(progress.Dead);
                hash.Add(progress.Settled.Floor);
                foreach (var range in progress.Settled.Ranges)
                {
                    hash.Add(range.First);
                    hash.Add(range.End);
                }

                foreach (var (offset, tried) in progress.Deliveries)
                {
                    hash.Add(offset);
                    hash.Add(tried.Count);
                    hash.Add(tried.WaitMs);
                    hash.Add(tried.SinceUnixMs);
                }
            }
        }

        return hash.Value;
    }

    private sealed class Turn
    {
        public bool IsBegun { get; set; }

        /// <summary>As the furthest replica knows it; at first where the turn begins.</summary>
        public long Floor { get; set; }

        /// <summary>What is settled above the floor, as the furthest replica knows it.</summary>
        public List<OffsetRange> Ranges { get; } = [];

        /// <summary>A consumer has finished it, or it was given up.</summary>
        public HashSet<long> MayEnd { get; } = [];

        public Dictionary<long, int> Deliveries { get; } = [];

        /// <summary>What was counted, as the furthest replica knows it.</summary>
        public Dictionary<long, int> Counts { get; } = [];

        public Dictionary<long, (long Term, long Lease, long UntilMs)> Given { get; } = [];
    }
}
