using Broker.Consensus;
using Broker.Domain;
using Xunit;
using static Broker.Tests.Unit.Consensus.DamageScenes;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// Most replicas have lost what they promised: which of the others is elected even so, and how an operator has the
/// group go on from one of them.
/// </summary>
public sealed class RecoveryTests
{
    private const int FarBeyond = 10_000;

    /// <summary>
    /// Files that are cut short do not tell what was in them. What a leader committed was on its own disk first.
    /// </summary>
    [Fact]
    public void Former_leader_is_elected_by_replicas_that_lost_an_end_of_unknown_length()
    {
        var cluster = ThreeWithTenEntries(out _);
        LoseEnds(cluster, 2, 3);
        cluster.Restart(1);

        var leader = cluster.Elect();

        Assert.Equal(new NodeId(1), leader.Id);
        cluster.Run(2_000);
        Assert.All(cluster.Replicas, replica => Assert.Equal(leader.Log, replica.DurableLog));
        Assert.All(cluster.Replicas, static replica => Assert.False(replica.Node.IsFenced));
    }

    /// <summary>The two others may have committed what it lacks.</summary>
    [Fact]
    public void Former_follower_is_not_elected_by_replicas_that_lost_an_end_of_unknown_length()
    {
        var cluster = ThreeWithTenEntries(out _);
        LoseEnds(cluster, 1, 3);
        cluster.Restart(2);

        cluster.Run(20_000);

        Assert.Empty(cluster.Leaders);
    }

    [Fact]
    public void Group_goes_on_from_one_intact_replica_and_the_others_come_back()
    {
        var cluster = ThreeWithTenEntries(out _);
        LoseDisks(cluster, 1, 3);
        cluster.Restart(2);
        cluster.Run(5_000);
        Assert.Empty(cluster.Leaders);
        var before = cluster[2].DurableLog.ToArray();

        Assert.True(cluster[2].ForceRecovery(1, 3));
        cluster.Pump();

        Assert.Equal(RaftRole.Leader, cluster[2].Node.Role);
        Assert.Equal(before, cluster[2].DurableLog.Take(before.Length));
        Assert.Equal(before, cluster[2].Applied.Take(before.Length));
        Assert.Equal([new NodeId(2)], cluster[2].Node.Configuration.Voters);
        ComeBack(cluster, 2, 1, 3);
        Assert.All(cluster.Replicas, replica => Assert.Equal(cluster[2].Log, replica.DurableLog));
    }

    [Fact]
    public void Group_goes_on_from_one_replica_when_the_ends_of_all_are_lost()
    {
        var cluster = ThreeWithTenEntries(out _);
        LoseEnds(cluster, 1, 2, 3);
        cluster[2].LoseEnd(keep: 6, beyond: FarBeyond);
        cluster.Restart(2);
        cluster.Run(5_000);
        Assert.Empty(cluster.Leaders);

        Assert.True(cluster[1].ForceRecovery(2, 3));
        cluster.Pump();

        Assert.Equal(RaftRole.Leader, cluster[1].Node.Role);
        Assert.False(cluster[1].Node.IsFenced);
        ComeBack(cluster, 1, 2, 3);
    }

    /// <summary>Each majority of the members before has the one that went on, or one that gave up its vote.</summary>
    [Fact]
    public void Unreachable_replica_with_a_longer_log_is_not_elected_when_it_comes_back()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        cluster.Isolate(1);
        leader.Propose(11);
        leader.Propose(12);
        LoseEnds(cluster, 3);
        cluster.Run(5_000);
        Assert.Empty(cluster.Leaders);

        // Replica 3 would have voted for replica 1, which has all that it lost.
        Assert.True(cluster[2].ForceRecovery(3));
        cluster.Pump();
        Assert.Equal(RaftRole.Leader, cluster[2].Node.Role);
        cluster.Heal();
        cluster.Cut(1, 2);
        cluster.Cut(2, 3);
        cluster.Run(20_000);

        Assert.Equal(RaftRole.Leader, cluster[2].Node.Role);
        Assert.NotEqual(RaftRole.Leader, cluster[1].Node.Role);
        cluster.Heal();
        ComeBack(cluster, 2, 1, 3);
        Assert.DoesNotContain(cluster[1].Log, static item => item.Value is 11 or 12);
    }

    [Fact]
    public void Replica_that_gave_up_its_vote_gives_none_after_a_restart_either()
    {
        var cluster = ThreeWithTenEntries(out _);
        LoseEnds(cluster, 3);
        cluster[3].Receive(RecoveryRequest(last: 11, logTerm: 1));
        Assert.False(cluster[3].TakeOnly(RaftMessageKind.RecoveryResponse).Reject);
        cluster[3].Crash();
        cluster.Restart(3);

        cluster[3].Receive(VoteRequest(RaftMessageKind.RequestVote, term: 2, last: 20_000) with
        {
            Term = new Term(long.MaxValue),
        });

        Assert.True(cluster[3].TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
    }

    /// <summary>The group should go on from the one that has more.</summary>
    [Fact]
    public void Replica_keeps_its_vote_when_it_has_more_or_hears_a_leader()
    {
        var cluster = ThreeWithTenEntries(out _);
        cluster[3].Receive(RecoveryRequest(last: 11, logTerm: 1));
        Assert.True(cluster[3].TakeOnly(RaftMessageKind.RecoveryResponse).Reject);

        cluster.Restart(3);
        cluster[3].Receive(RecoveryRequest(last: 10, logTerm: 1));
        Assert.True(cluster[3].TakeOnly(RaftMessageKind.RecoveryResponse).Reject);
        Assert.Equal(new Term(1), cluster[3].Node.Term);
    }

    [Fact]
    public void Recovery_is_refused_while_a_leader_is_heard_or_when_too_many_are_not_asked()
    {
        var cluster = ThreeWithTenEntries(out _);
        Assert.False(cluster[1].ForceRecovery(2, 3));
        Assert.False(cluster[2].ForceRecovery(1, 3));
        cluster[1].Crash();
        cluster[3].Crash();
        cluster.Run(3_000);
        Assert.False(cluster[2].ForceRecovery());
        Assert.True(cluster[2].ForceRecovery(1, 3));
        cluster.Run(3_000);

        Assert.Equal(RaftRole.PreCandidate, cluster[2].Node.Role);
        LoseDisks(cluster, 3);
        Assert.False(cluster[3].ForceRecovery(1, 2));
    }

    /// <summary>It committed with the one whose disk is lost what the one that went on never had.</summary>
    [Fact]
    public void Replica_whose_committed_entries_were_left_out_takes_part_in_nothing_any_more()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        cluster.Cut(1, 2);
        cluster.Cut(2, 3);
        leader.Propose(11);
        cluster.Pump();
        Assert.Equal(leader.Node.LastIndex, leader.Node.CommitIndex);
        cluster.Cut(1, 3);
        LoseDisks(cluster, 3);
        cluster.Run(3_000);
        Assert.True(cluster[2].ForceRecovery(3));
        cluster[3].Receive(cluster[2].Sent.Last(packet => packet.Message.Kind == RaftMessageKind.RequestRecovery));
        cluster[2].Receive(cluster[3].Sent.Last());
        Assert.Equal(RaftRole.Leader, cluster[2].Node.Role);

        var term = cluster[2].Node.Term;
        var log = cluster[2].Log;
        cluster[1].Receive(Append(term, previous: 11, log));

        Assert.True(cluster[1].Node.IsSuperseded);
        Assert.True(cluster[1].DurableHardState.IsLost);
        cluster[1].TakeSent();
        cluster[1].Receive(VoteRequest(RaftMessageKind.RequestVote, term: 1, last: 99) with
        {
            To = new NodeId(1),
            Term = term.OfRecovery(new NodeId(2)),
        });
        Assert.Empty(cluster[1].TakeSent());
    }

    [Fact]
    public void Term_of_a_recovery_is_above_all_that_elections_reach_and_names_the_node()
    {
        var term = new Term(7);
        var first = term.OfRecovery(new NodeId(2));

        Assert.True(first > new Term(uint.MaxValue));
        Assert.NotEqual(first, term.OfRecovery(new NodeId(3)));
        Assert.Equal(first.Recovery, first.Next().Recovery);
        Assert.True(first.OfRecovery(new NodeId(1)) > new Term(first.Value + uint.MaxValue));
        Assert.Equal(0, term.Recovery);
    }

    private static RaftMessage Append(Term term, int previous, List<Item> log) => new()
    {
        Kind = RaftMessageKind.AppendEntries,
        From = new NodeId(2),
        To = new NodeId(1),
        Term = term,
        LogIndex = new LogIndex(previous),
        LogTerm = log[previous - 1].Term,
        CommitIndex = new LogIndex(log.Count),
        EntryCount = log.Count - previous,
        EntryTerms = [.. log.Skip(previous).Select(static item => item.Term)],
        Configurations = [.. log.Skip(previous).Select(static item => item.Configuration).OfType<GroupConfiguration>()],
    };

    private static RaftMessage RecoveryRequest(int last, int logTerm) => new()
    {
        Kind = RaftMessageKind.RequestRecovery,
        From = new NodeId(2),
        To = new NodeId(3),
        Term = new Term(1).OfRecovery(new NodeId(2)),
        LogIndex = new LogIndex(last),
        LogTerm = new Term(logTerm),
    };

    private static void LoseEnds(Cluster cluster, params int[] replicas)
    {
        foreach (var id in replicas)
        {
            cluster[id].LoseEnd(keep: 8, beyond: FarBeyond);
            cluster.Restart(id);
        }
    }

    private static void LoseDisks(Cluster cluster, params int[] replicas)
    {
        foreach (var id in replicas)
        {
            cluster[id].LoseDisk();
            cluster.Restart(id);
        }
    }

    /// <summary>The leader takes the others in, one after the other, as MembershipChanges does.</summary>
    private static void ComeBack(Cluster cluster, int leader, params int[] others)
    {
        foreach (var other in others)
        {
            Change(MembershipChangeKind.AddLearner);
            cluster.Run(1_000);
            if (cluster[leader].Node.Followers.Single(f => f.NodeId.Value == other).IsLost)
            {
                Change(MembershipChangeKind.AddLearner);
            }

            cluster.RunUntil(
                () => cluster[leader].Node.Followers.Single(f => f.NodeId.Value == other).IsCaughtUp, "it catches up");
            Change(MembershipChangeKind.Promote);
            cluster.Run(1_000);
            Assert.False(cluster[other].Node.IsPassive);

            void Change(MembershipChangeKind kind) => cluster.RunUntil(
                () => cluster[leader].Change(kind, other) == ProposeResult.Accepted, $"{kind} {other}");
        }

        cluster[leader].Propose(100);
        cluster.Run(1_000);
        Assert.All(cluster.Replicas, replica => Assert.Equal(cluster[leader].Node.LastIndex, replica.Node.CommitIndex));
    }
}
