using Broker.Domain;

namespace Broker.Consensus;

/// <summary>
/// What a leader knows of the other members of its group, voters and learners, and what a majority of the voters has in
/// common, with the leader itself when it is one. Empty on replicas that do not lead.
/// </summary>
internal sealed class FollowerTable(NodeId leader, RaftTimes times)
{
    private readonly List<Follower> _followers = [];

    /// <summary>The losses that it heard of, at most one a node.</summary>
    private readonly List<ReplicaLoss> _losses = [];

    public NodeId Leader { get; } = leader;

    /// <summary>That in force while it leads: there is a follower for each member of it but the leader.</summary>
    public GroupConfiguration Configuration { get; private set; } = GroupConfiguration.None;

    /// <summary>Committed when the last heartbeat left: who has it has caught up (compare Raft thesis 4.2.1).</summary>
    public LogIndex HeartbeatCommitIndex { get; set; }

    public int Count => _followers.Count;

    /// <summary>
    /// When a follower is to be told that the last entry has committed, or goes on after it was held back;
    /// long.MaxValue: none is.
    /// </summary>
    public long NextDueMs
    {
        get
        {
            var due = long.MaxValue;
            foreach (var follower in _followers)
            {
                due = Math.Min(due, Math.Min(follower.CommitNoticeDueMs, follower.HeldUntilMs));
            }

            return due;
        }
    }

    public List<Follower>.Enumerator GetEnumerator() => _followers.GetEnumerator();

    public Follower? Find(NodeId node)
    {
        foreach (var follower in _followers)
        {
            if (follower.Id == node)
            {
                return follower;
            }
        }

        return null;
    }

    /// <summary>Its answer came within the shortest election timeout.</summary>
    public bool IsRecentlyActive(Follower follower, long nowMs) => nowMs - follower.LastContactMs < times.ElectionMinMs;

    public bool IsCaughtUp(Follower follower, long nowMs) =>
        follower.Loss is null && IsRecentlyActive(follower, nowMs) && follower.MatchIndex >= HeartbeatCommitIndex;

    /// <summary>For callers outside. A copy.</summary>
    public IReadOnlyList<FollowerProgress> ToProgress(long nowMs) =>
        [.. _followers.Select(f => new FollowerProgress(
            f.Id, f.MatchIndex, f.NextIndex, IsRecentlyActive(f, nowMs), !f.IsVoter, f.AwaitsChange,
            IsCaughtUp(f, nowMs), f.IsHampered, f.IsHollow))];

    /// <summary>Makes the followers those of a configuration; who is new is probed from an index on.</summary>
    public void Adopt(GroupConfiguration configuration, LogIndex nextIndex, long nowMs)
    {
        Configuration = configuration;
        for (var i = _followers.Count - 1; i >= 0; i--)
        {
            if (!configuration.Contains(_followers[i].Id))
            {
                _followers.RemoveAt(i);
            }
        }

        foreach (var voter in configuration.Voters)
        {
            Follow(voter, isVoter: true, nextIndex, nowMs);
        }

        foreach (var learner in configuration.Learners)
        {
            Follow(learner, isVoter: false, nextIndex, nowMs);
        }
    }

    public void Clear()
    {
        _followers.Clear();
        _losses.Clear();
        Configuration = GroupConfiguration.None;
    }

    /// <summary>What a majority has flushed. The leader counts by what it has flushed itself.</summary>
    public LogIndex FlushedByMajority(LogIndex ownFlushedIndex)
    {
        Span<long> flushed = stackalloc long[Configuration.Voters.Length];
        var count = 0;
        if (Configuration.IsVoter(Leader))
        {
            flushed[count++] = ownFlushedIndex.Value;
        }

        foreach (var follower in _followers)
        {
            if (follower.IsVoter)
            {
                flushed[count++] = follower.MatchIndex.Value;
            }
        }

        Invariant.Check(count == flushed.Length, "a leader knows every voter");
        return new LogIndex(Quorum.ReachedByMajority(flushed));
    }

    /// <summary>The latest round of reads that a majority has answered, of those that the leader has begun.</summary>
    public long RoundOfMajority(long begunRound)
    {
        Span<long> rounds = stackalloc long[Configuration.Voters.Length];
        var count = 0;
        if (Configuration.IsVoter(Leader))
        {
            rounds[count++] = begunRound;
        }

        foreach (var follower in _followers)
        {
            if (follower.IsVoter)
            {
                rounds[count++] = follower.ConfirmedRound;
            }
        }

        Invariant.Check(count == rounds.Length, "a leader knows every voter");
        return Quorum.ReachedByMajority(rounds);
    }

    /// <summary>
    /// Whether a majority answered within the longest election timeout. Counts voters only; not those that lost their
    /// log, which cannot tell whether they have promised themselves to another leader.
    /// </summary>
    public bool HearsMajority(long nowMs)
    {
        var heard = Configuration.IsVoter(Leader) ? 1 : 0;
        foreach (var follower in _followers)
        {
            var isHeard = nowMs - follower.LastContactMs < times.ElectionMaxMs;
            heard += follower is { IsVoter: true, Loss: null } && isHeard ? 1 : 0;
        }

        return heard >= Quorum.Majority(Configuration.Voters.Length);
    }

    /// <summary>Whether the voters that stay when one goes have a majority that answers and has lost nothing.</summary>
    public bool HearsMajorityWithout(NodeId node, long nowMs)
    {
        var answering = Configuration.IsVoter(Leader) && node != Leader ? 1 : 0;
        foreach (var follower in _followers)
        {
            var stays = follower.IsVoter && follower.Id != node;
            answering += stays && follower.Loss is null && IsRecentlyActive(follower, nowMs) ? 1 : 0;
        }

        return answering > (Configuration.Voters.Length - 1) / 2;
    }

    /// <summary>The voter with the longest flushed log, which can lead at once.</summary>
    public Follower FurthestVoter()
    {
        Follower? furthest = null;
        foreach (var follower in _followers)
        {
            if (follower.IsVoter && (furthest is null || follower.MatchIndex > furthest.MatchIndex))
            {
                furthest = follower;
            }
        }

        Invariant.Check(furthest is not null, "the last voter is never removed");
        return furthest;
    }

    /// <summary>A follower says that its log is gone.</summary>
    public void HearOfLoss(Follower follower, long number, LogIndex lastIndex)
    {
        if (FindLoss(follower.Id) is { } known)
        {
            if (known.Number == number)
            {
                return;
            }

            _losses.Remove(known);
        }

        if (_losses.Count == GroupConfiguration.MaxMembers)
        {
            // That of a node that went and did not come back.
            _losses.RemoveAt(0);
        }

        var loss = new ReplicaLoss(follower.Id, number, lastIndex);
        follower.Lose(loss);
        _losses.Add(loss);
    }

    /// <summary>A follower tells of its fence; the number may also be that of a loss that is over.</summary>
    public void HearOfFence(Follower follower, long number, LogIndex lastIndex)
    {
        if (FindLoss(follower.Id)?.Number != number)
        {
            follower.HearOfFence(number, lastIndex);
        }
    }

    private void Follow(NodeId member, bool isVoter, LogIndex nextIndex, long nowMs)
    {
        if (member == Leader)
        {
            return;
        }

        if (Find(member) is { } follower)
        {
            follower.IsVoter = isVoter;
            return;
        }

        var loss = FindLoss(member);
        _followers.Add(new Follower(member, isVoter, nextIndex, nowMs)
        {
            Loss = loss is { IsOver: false } ? loss : null,
            Hollow = isVoter ? 0 : null,
        });
    }

    private ReplicaLoss? FindLoss(NodeId node)
    {
        foreach (var loss in _losses)
        {
            if (loss.Node == node)
            {
                return loss;
            }
        }

        return null;
    }
}
