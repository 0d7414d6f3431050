using Broker.Consensus;
using Broker.Domain;
using Broker.Topics;

namespace Broker.Tests.Simulation;

/// <summary>
/// What a whole group has done, seen from outside, and what must hold of it at every step (Raft thesis, figure 3.2,
/// and this broker's own promises). A node that breaks one of these ends the run.
/// </summary>
internal sealed class History(SimulatedGroup group)
{
    private readonly Dictionary<Term, NodeId> _leaders = [];

    /// <summary>Every entry that any log ever held: index and term name it and all before it (log matching).</summary>
    private readonly Dictionary<(LogIndex Index, Term Term), ulong> _entries = [];

    /// <summary>The committed log, and the term in which each entry committed.</summary>
    private readonly List<(Entry Entry, Term CommitTerm)> _committed = [];

    private readonly List<(LogIndex Index, Entry Entry)> _acknowledged = [];

    /// <summary>Every vote that a message ever revealed, of each voter and term.</summary>
    private readonly Dictionary<(NodeId Voter, Term Term), NodeId> _votes = [];

    private readonly List<Entry> _log = [];
    private readonly Dictionary<LogIndex, ulong> _states = [];
    private readonly Dictionary<long, List<(string Topic, long Offset, long TimestampUnixMs)>> _stored = [];
    private readonly Dictionary<string, long> _nextOffsets = [];

    /// <summary>The first offset that some replica still keeps of a topic.</summary>
    private readonly Dictionary<string, long> _firsts = [];

    /// <summary>How many records each stored batch has.</summary>
    private readonly Dictionary<(string Topic, long Offset), int> _sizes = [];
    private readonly HashSet<long> _refused = [];
    private readonly Dictionary<string, KeyedTopic> _keyed = [];

    /// <summary>Every configuration that a leader ever appended, in that order.</summary>
    private readonly List<GroupConfiguration> _configurations = [];

    /// <summary>Entries that were not seen on a majority when they were applied.</summary>
    private readonly List<(LogIndex Index, Entry Entry, SimulatedNode? Committer, SimulatedNode? Except)> _doubts =
        [];
    private bool _isWithinPump;

    /// <summary>Where logs hold, or held, an entry that names the members; not all of them committed.</summary>
    private readonly HashSet<(LogIndex Index, Term Term)> _memberEntries = [];

    public int Acknowledged => _acknowledged.Count;

    public int Committed => _committed.Count;

    public int Elections => _leaders.Count;

    /// <summary>The highest entry that any client was told of.</summary>
    public LogIndex LastAcknowledged { get; private set; }

    /// <summary>How many publishes were refused because of a full disk.</summary>
    public int ToldOfFullDisk { get; private set; }

    public Action<LogIndex, long>? OnAcknowledged { get; set; }

    /// <summary>The members of a new cluster.</summary>
    private GroupConfiguration First { get; } =
        new(LogIndex.None, SimulatedNode.FoundersOf(group), []);

    public void NoteConfiguration(GroupConfiguration configuration)
    {
        foreach (var voter in configuration.Voters)
        {
            World.Check(
                group.World.MachineOf(voter.Value).MayVoteIn(group.Id),
                $"node {voter} votes in group {group.Id}, which is none of its roles'");
        }

        if (!_configurations.Exists(configuration.Equals))
        {
            _configurations.Add(configuration);
        }
    }

    public void NoteMemberEntry(LogIndex index, Term term) => _memberEntries.Add((index, term));

    /// <summary>A snapshot brings the members that hold at its end, or later ones come with it.</summary>
    public void CheckMembersKnown(SimulatedNode node, LogIndex through, LogIndex known)
    {
        foreach (var (index, term) in _memberEntries)
        {
            var isMissed = index > known && index <= through && CommittedAt(index).Term == term;
            World.Check(!isMissed, $"node {node.Id} has a snapshot at {through}, but not the members of entry {index}");
        }
    }

    /// <summary>
    /// An operator has the group go on from a replica that has nothing behind an entry: what has committed there, and
    /// no client was told of, is given up.
    /// </summary>
    public void GiveUpBehind(LogIndex last)
    {
        World.Check(last >= LastAcknowledged, $"a recovery gives up entry {LastAcknowledged}, which was acknowledged");
        if (last.Value < _committed.Count)
        {
            _committed.RemoveRange((int)last.Value, _committed.Count - (int)last.Value);
        }

        foreach (var index in _states.Keys.Where(index => index > last).ToArray())
        {
            _states.Remove(index);
        }
    }

    public Entry CommittedAt(LogIndex index) => _committed[(int)index.Value - 1].Entry;

    public bool IsCommitted(LogIndex index, Entry entry) =>
        index.Value <= _committed.Count && IsSame(entry, _committed[(int)index.Value - 1].Entry);

    /// <summary>
    /// Election safety: a term has at most one leader. Leader completeness: it has what committed before.
    /// </summary>
    public void CheckLeader(SimulatedNode node)
    {
        if (!_leaders.TryAdd(node.Term, node.Id))
        {
            World.Check(_leaders[node.Term] == node.Id, $"{node.Id} and {_leaders[node.Term]} lead term {node.Term}");
        }

        for (var i = _committed.Count - 1; i >= 0; i--)
        {
            if (_committed[i].CommitTerm < node.Term)
            {
                var holds = IsSame(node.EntryAt(new LogIndex(i + 1)), _committed[i].Entry);
                World.Check(holds, $"leader {node.Id} of term {node.Term} lacks committed entry {i + 1}");
                break;
            }
        }
    }

    /// <summary>A node begins to pump: what it says of its members is what they were before.</summary>
    public void BeginPump() => _isWithinPump = true;

    /// <summary>It has ended, and the node's members are noted.</summary>
    public void EndPump()
    {
        _isWithinPump = false;
        foreach (var (index, entry, committer, except) in _doubts)
        {
            CheckOnMajority(index, entry, committer, except);
        }

        _doubts.Clear();
    }

    /// <summary>An entry that a leader says has committed, though it may not have applied it yet.</summary>
    public void CheckCommitted(SimulatedNode node, LogIndex index)
    {
        if (index.Value > Committed)
        {
            var entry = node.EntryAt(index);
            World.Check(entry is not null, $"node {node.Id} says that entry {index} has committed, and has none");
            CheckOnMajority(index, entry!.Value, node);
        }
    }

    public void CheckAppended(SimulatedNode node, LogIndex index, Entry entry)
    {
        if (!_entries.TryAdd((index, entry.Term), entry.Chain))
        {
            World.Check(
                _entries[(index, entry.Term)] == entry.Chain,
                $"log matching: node {node.Id} has another log before entry {index} of term {entry.Term}");
        }
    }

    /// <summary>State machine safety: all apply the same entries. What commits is on the disks of a majority.</summary>
    public void CheckApplied(SimulatedNode node, LogIndex index, Entry entry, Term term)
    {
        World.Check(
            IsSame(node.DurableAt(index), entry),
            $"node {node.Id} applies entry {index}, which is not on its own disk");
        if (index.Value <= _committed.Count)
        {
            var committed = _committed[(int)index.Value - 1].Entry;
            World.Check(IsSame(committed, entry), $"node {node.Id} applies another entry {index} than those before it");
            return;
        }

        CheckOnMajority(index, entry, node);
        _committed.Add((entry, term));
        foreach (var leader in group.Nodes.Where(n => n.IsLeader && n.Term > term))
        {
            var holds = IsSame(leader.EntryAt(index), entry);
            World.Check(holds, $"leader {leader.Id} of term {leader.Term} lacks entry {index}, committed in {term}");
        }
    }

    /// <summary>
    /// What a replica's disk says of terms and votes: the term never goes back, and a vote once given stays, also
    /// across crashes (Raft thesis 3.4, 3.8).
    /// </summary>
    public static void CheckHardState(SimulatedNode node, HardState before, HardState after)
    {
        World.Check(after.Term >= before.Term, $"node {node.Id}'s disk goes back from {before} to {after}");
        var keepsVote = after.Term > before.Term || before.VotedFor.IsNone || after.VotedFor == before.VotedFor;
        World.Check(keepsVote, $"node {node.Id}'s disk changes its vote from {before} to {after}");
    }

    /// <summary>
    /// A replica removes an entry of its log. A committed one it may only remove in a term that is older than the one
    /// that committed it.
    /// </summary>
    public void CheckTruncated(SimulatedNode node, LogIndex index, Entry entry)
    {
        if (index.Value <= _committed.Count && IsSame(entry, _committed[(int)index.Value - 1].Entry))
        {
            var term = _committed[(int)index.Value - 1].CommitTerm;
            World.Check(node.Term < term, $"node {node.Id} removes entry {index}, which committed in term {term}");
        }
    }

    /// <summary>
    /// A replica removes an entry from its disk. Of a committed one it may only remove a copy that the majority does
    /// not rest on.
    /// </summary>
    public void CheckRemoved(SimulatedNode node, LogIndex index, Entry entry)
    {
        group.World.Figures.Count(Figure.EntriesTruncated);
        if (index.Value <= _committed.Count && IsSame(entry, _committed[(int)index.Value - 1].Entry))
        {
            CheckOnMajority(index, entry, null, except: node);
        }
    }

    /// <summary>A client is told that its proposal, the number-th of all, is safe.</summary>
    public void Acknowledge(SimulatedNode node, LogIndex index, Entry entry, long number)
    {
        CheckOnMajority(index, entry, null);
        World.Check(
            IsSame(_committed[(int)index.Value - 1].Entry, entry), $"node {node.Id} acknowledges what has committed");
        _acknowledged.Add((index, entry));
        LastAcknowledged = LogIndex.Max(LastAcknowledged, index);
        OnAcknowledged?.Invoke(index, number);
    }

    /// <summary>The same entries give the same state on every replica.</summary>
    public void CheckState(SimulatedNode node, LogIndex index, ulong hash)
    {
        if (!_states.TryAdd(index, hash))
        {
            World.Check(_states[index] == hash, $"node {node.Id} has another state after entry {index} than others");
        }
    }

    /// <summary>
    /// A snapshot gives the state that applying the entries up to there gave others. Only commands change it, so it is
    /// that of the last of them.
    /// </summary>
    public void CheckRestored(SimulatedNode node, LogIndex index, ulong hash)
    {
        World.Check(index.Value <= _committed.Count, $"node {node.Id} restores entry {index}, which nobody applied");
        while (index > LogIndex.None && !_states.ContainsKey(index))
        {
            index = index.Previous();
        }

        if (index > LogIndex.None)
        {
            CheckState(node, index, hash);
        }
    }

    /// <summary>
    /// A batch is stored: once, at the end of its topic, and not when its publisher was told that nothing is. One that
    /// is sent again may be stored again when its producer has been forgotten, which takes its time.
    /// </summary>
    public void CheckStored(
        SimulatedNode node, string topic, long offset, int count, long number, long timestampUnixMs)
    {
        World.Check(!_refused.Contains(number), $"node {node.Id} stores publish {number}, which was refused");
        if (!_stored.TryGetValue(number, out var places))
        {
            _stored[number] = places = [];
        }

        if (places.Contains((topic, offset, timestampUnixMs)))
        {
            return;
        }

        World.Check(
            places.Count == 0
                || (topic == Crowd.Topic && offset > places[^1].Offset
                    && timestampUnixMs - places[^1].TimestampUnixMs >= group.World.Scenario.ProducerExpiryMs),
            $"publish {number} is stored at {places.LastOrDefault()} and {offset}");
        places.Add((topic, offset, timestampUnixMs));
        _sizes[(topic, offset)] = count;
        group.World.Figures.Count(Figure.StoredAgain, places.Count - 1);
        var expected = _nextOffsets.GetValueOrDefault(topic);
        World.Check(offset == expected, $"node {node.Id} gives {topic} offset {offset} after {expected - 1}");
        _nextOffsets[topic] = expected + count;
    }

    public void CountMerged() => group.World.Figures.Count(Figure.SegmentsMerged);

    public void CountThinned(int entries) => group.World.Figures.Count(Figure.EntryThinned, entries);

    /// <summary>A batch of which records are gone has the place that it got as a whole, on another replica.</summary>
    public void CheckThinned(SimulatedNode node, string topic, long offset, int count)
    {
        group.World.Figures.Count(Figure.ThinnedApplied);
        World.Check(
            _sizes.GetValueOrDefault((topic, offset)) == count,
            $"node {node.Id} gives {topic} offset {offset} for {count} records, which nobody stored there");
    }

    /// <summary>A replica has applied that what lies before an offset goes.</summary>
    public void NoteFirst(string topic, long offset) =>
        _firsts[topic] = Math.Max(offset, _firsts.GetValueOrDefault(topic));

    /// <summary>
    /// What a replica reads of a topic is all that it keeps: each record, in its place, with the value that was stored.
    /// </summary>
    public void CheckRead(SimulatedNode node, string topic, long first, long end, IReadOnlyList<(long, long)> read)
    {
        // A replica that has not applied a purge may have had the log of one that has.
        var gone = Math.Min(end, _firsts.GetValueOrDefault(topic));
        var keyed = _keyed.GetValueOrDefault(topic);
        var next = first;
        foreach (var (offset, number) in read)
        {
            next = StepOver(keyed, next, offset, gone);
            World.Check(
                offset == next || (offset > next && next < gone),
                $"node {node.Id} reads offset {offset} of {topic} in place of {next}");
            World.Check(
                _stored.TryGetValue(number, out var places) && places.Exists(place => place.Topic == topic
                    && place.Offset <= offset && offset < place.Offset + _sizes[(topic, place.Offset)]),
                $"node {node.Id} reads {number} at offset {offset} of {topic}, which was not stored there");
            next = offset + 1;
        }

        next = StepOver(keyed, next, end, gone);
        World.Check(
            next == end || gone == end, $"node {node.Id} reads offsets {first} to {next} of {topic}, which has {end}");
        group.World.Figures.Count(Figure.TopicRead);
    }

    /// <summary>
    /// Who asks for the last record of each key gets it, and no other, also where nothing was taken out yet. What is
    /// purged elsewhere may be gone here.
    /// </summary>
    public void CheckLast(SimulatedNode node, string topic, TopicView view, HashSet<long> read)
    {
        var keyed = Keyed(topic);
        var (through, markersMs) = (view.Compacted.Through, view.Compacted.MarkersMs);
        var first = Math.Max(view.FirstOffset, _firsts.GetValueOrDefault(topic));
        for (var offset = first; offset < view.NextOffset; offset++)
        {
            var isWanted = keyed.IsWanted(offset, view.NextOffset, through, markersMs);
            var isExcused = isWanted ? keyed.MayBeGone(offset) : keyed.MayBeLastLeft(offset, view.NextOffset);
            World.Check(
                isWanted == read.Contains(offset) || isExcused,
                $"node {node.Id} is asked for the last record of each key of {topic}, and "
                + $"{(isWanted ? "leaves out" : "gives")} offset {offset} with key '{keyed.KeyAt(offset)}'");
        }

        group.World.Figures.Count(Figure.LastPerKeyRead);
    }

    public KeyedTopic Keyed(string topic)
    {
        if (!_keyed.TryGetValue(topic, out var keyed))
        {
            _keyed[topic] = keyed = new KeyedTopic();
        }

        return keyed;
    }

    public void NoteCompacted(string topic, long through, long markersMs) => group.World.Figures.Count(
        Figure.TopicCompacted, Keyed(topic).NoteCompacted(through, markersMs) ? 1 : 0);

    /// <summary>Steps over records that compaction may have taken out.</summary>
    private long StepOver(KeyedTopic? keyed, long next, long end, long gone)
    {
        while (keyed is not null && next < end && (next < gone || keyed.MayBeGone(next)))
        {
            group.World.Figures.Count(Figure.RecordCompactedAway, next < gone ? 0 : 1);
            next++;
        }

        return next;
    }

    /// <summary>A client is told that its publish is not taken, or what became of it is not known.</summary>
    public void NoteRefusal(BrokerException refusal)
    {
        group.World.Figures.Count(Figure.ClientRefusals);
        ToldOfFullDisk += refusal.Message.Contains("disks are full", StringComparison.Ordinal) ? 1 : 0;
    }

    public void NoteRefused(long number)
    {
        World.Check(!_stored.ContainsKey(number), $"publish {number} is refused, but it is stored");
        _refused.Add(number);
    }

    /// <summary>A message reveals terms, votes and entries: they must be on the sender's disk.</summary>
    public void CheckRevealed(SimulatedNode node, RaftMessage message)
    {
        var onDisk = node.DurableHardState;
        var revealsTerm = message.Kind switch
        {
            RaftMessageKind.RequestPreVote => new Term(message.Term.Value - 1),
            RaftMessageKind.RequestPreVoteResponse when !message.Reject => Term.None,
            RaftMessageKind.RecoveryResponse when message.Reject => Term.None,
            _ => message.Term,
        };
        World.Check(onDisk.Term >= revealsTerm, $"node {node.Id} reveals term {revealsTerm} with {onDisk} on disk");
        var vote = message.Kind switch
        {
            RaftMessageKind.RequestVote => node.Id,
            RaftMessageKind.RequestVoteResponse when !message.Reject => message.To,
            RaftMessageKind.AppendEntries or RaftMessageKind.Heartbeat or RaftMessageKind.RequestRecovery => node.Id,
            RaftMessageKind.RecoveryResponse when !message.Reject => message.To,
            _ => NodeId.None,
        };
        var voteIsDurable = vote.IsNone || onDisk.Term > message.Term || onDisk.VotedFor == vote;
        World.Check(voteIsDurable, $"node {node.Id} reveals a vote for {vote} with {onDisk} on disk");
        if (!vote.IsNone && !_votes.TryAdd((node.Id, message.Term), vote))
        {
            var earlier = _votes[(node.Id, message.Term)];
            World.Check(earlier == vote, $"node {node.Id} votes for {earlier} and {vote} in term {message.Term}");
        }

        var acknowledges = message is
        {
            Kind: RaftMessageKind.AppendEntriesResponse or RaftMessageKind.HeartbeatResponse, Reject: false,
        };
        if (acknowledges && message.LogIndex > LogIndex.None)
        {
            CheckAcknowledgement(node, message);
        }
    }

    /// <summary>At the end, everywhere: all that was acknowledged is there, in its place.</summary>
    public void CheckNothingLost()
    {
        foreach (var node in group.Nodes)
        {
            _log.Clear();
            node.ReadLog(_log);
            foreach (var (index, entry) in _acknowledged)
            {
                var holds = node.AppliedIndex >= index && index.Value <= _log.Count
                    && IsSame(_log[(int)index.Value - 1], entry);
                World.Check(holds, $"node {node.Id} has lost acknowledged entry {index} (value {entry.Value})");
            }
        }
    }

    /// <summary>Values are unique, and a term has one entry at an index: no need to compare more.</summary>
    private static bool IsSame(Entry? left, Entry right) =>
        left is { } entry && entry.Term == right.Term && entry.Value == right.Value;

    private static void CheckAcknowledgement(SimulatedNode node, RaftMessage message)
    {
        var index = message.LogIndex;
        var isDurable = node.EntryAt(index) is { } entry && IsSame(node.DurableAt(index), entry);

        // Said in an earlier term, and held back until that was on the disk: the next leader's entries may have come by
        // then, and have taken the place of what was there. The leader of before cannot commit by that alone.
        var wasDurable = message.Term < node.Term && node.CutAt(index) is { } cut && cut.Term <= message.Term;
        World.Check(
            isDurable || wasDurable, $"node {node.Id} acknowledges entry {index}, which is not on its disk");
    }

    /// <summary>
    /// A leader commits by the members that hold for it. Later the members may be others: then what was committed is
    /// on a majority of some that held since.
    /// </summary>
    private void CheckOnMajority(LogIndex index, Entry entry, SimulatedNode? committer, SimulatedNode? except = null)
    {
        if (committer is { IsLeader: true })
        {
            var (count, size) = CountCopies(committer.Members, index, entry, except);
            var isOfNewer = count <= size / 2 && _configurations.Count > 0 && IsHeldBy(_configurations[^1]);

            // It may have been committed before the change of members began, and be applied after that.
            var isOfOlder = index < committer.Members.Index
                && IsHeldBy(_configurations.FindLast(older => older.Index < committer.Members.Index) ?? First);
            Settle(count > size / 2 || isOfNewer || isOfOlder, count, size);
            return;
        }

        if (IsHeldBy(group.Nodes[0].Members))
        {
            return;
        }

        var found = false;
        for (var i = _configurations.Count - 1; i >= 0 && !found; i--)
        {
            found = IsHeldBy(_configurations[i]);
        }

        var (copies, members) = CountCopies(First, index, entry, except);
        Settle(found || copies > members / 2, copies, members);

        void Settle(bool isHeld, int on, int of)
        {
            if (!isHeld && _isWithinPump)
            {
                // A change of members that a leader has appended a moment ago counts already, and is known when its
                // pump has ended.
                _doubts.Add((index, entry, committer, except));
                return;
            }

            World.Check(isHeld, $"entry {index} is committed, but of {of} disks it is on {on}");
        }

        bool IsHeldBy(GroupConfiguration configuration)
        {
            var (count, size) = CountCopies(configuration, index, entry, except);
            return count > size / 2;
        }
    }

    /// <summary>
    /// A copy that damage took away counts, as long as its replica knows that it lacks it: it gives no vote that would
    /// elect a leader without it.
    /// </summary>
    private (int Count, int Of) CountCopies(
        GroupConfiguration members, LogIndex index, Entry entry, SimulatedNode? except)
    {
        var count = 0;
        foreach (var voter in members.Voters)
        {
            var node = group.NodeOf(voter.Value);
            var holds = IsSame(node.DurableAt(index), entry) || IsSame(node.LostAt(index), entry);
            count += node != except && holds ? 1 : 0;
        }

        return (count, members.Voters.Length);
    }
}
