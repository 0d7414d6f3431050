using Broker.Consensus;
using Broker.Domain;
using Xunit;
using static Broker.Tests.Unit.Consensus.DamageScenes;

namespace Broker.Tests.Unit.Consensus;

/// <summary>
/// Replicas whose log has lost an end that they acknowledged, or may have. Raft thesis 3.8 assumes that there are none;
/// compare "Protocol-Aware Recovery for Consensus-Based Storage" (FAST 2018).
/// </summary>
public sealed class FenceTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Three = new(3);

    [Fact]
    public void Fenced_replica_votes_only_for_candidates_that_reach_the_fence()
    {
        var cluster = ThreeWithTenEntries(out _);
        var fenced = cluster[3];
        fenced.LoseEnd(keep: 4);
        fenced.Restart(0);
        Assert.True(fenced.Node.IsFenced);
        Assert.Equal(new LogPosition(new LogIndex(11), new Term(1)), fenced.DurableFence);

        fenced.Receive(VoteRequest(RaftMessageKind.RequestPreVote, term: 2, last: 10));
        Assert.True(fenced.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);
        fenced.Receive(VoteRequest(RaftMessageKind.RequestVote, term: 2, last: 10));
        Assert.True(fenced.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
        fenced.Receive(VoteRequest(RaftMessageKind.RequestPreVote, term: 3, last: 11));
        Assert.False(fenced.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);
        fenced.Receive(VoteRequest(RaftMessageKind.RequestVote, term: 3, last: 11));
        Assert.False(fenced.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
    }

    [Fact]
    public void Fenced_replica_does_not_campaign_not_even_when_told_to()
    {
        var cluster = ThreeWithTenEntries(out _);
        var fenced = cluster[3];
        fenced.LoseEnd(keep: 4);
        fenced.Restart(0);

        fenced.Tick(10_000);
        Assert.Equal(RaftRole.Follower, fenced.Node.Role);
        fenced.Receive(Heartbeat());
        fenced.TakeSent();
        fenced.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.TimeoutNow,
            From = One,
            To = Three,
            Term = new Term(1),
        });

        Assert.Equal((RaftRole.Follower, new Term(1)), (fenced.Node.Role, fenced.Node.Term));
    }

    /// <summary>The leader of before remembers what the replica acknowledged, and must unlearn it.</summary>
    [Fact]
    public void Fenced_replica_is_sent_again_what_it_lost_and_its_fence_falls()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        cluster[3].LoseEnd(keep: 4);
        cluster.Restart(3);

        cluster.Run(300);

        Assert.Equal(new Term(1), leader.Node.Term);
        Assert.Equal(leader.Log, cluster[3].DurableLog);
        Assert.False(cluster[3].Node.IsFenced);
        Assert.Equal(LogPosition.None, cluster[3].DurableFence);
    }

    /// <summary>A flipped bit in the last write before a kill looks like a write that never returned.</summary>
    [Theory]
    [InlineData(Notice.None)]
    [InlineData(Notice.Doubt)]
    internal void Replica_that_lost_what_it_acknowledged_unknowingly_is_sent_it_again(Notice notice)
    {
        var cluster = ThreeWithTenEntries(out var leader);
        cluster[3].LoseEnd(keep: 10, notice);
        cluster.Restart(3);

        cluster.Run(300);

        Assert.Equal(new Term(1), leader.Node.Term);
        Assert.Equal(leader.Log, cluster[3].DurableLog);
    }

    [Fact]
    public void Replica_in_doubt_leaves_the_lead_to_those_that_have_what_it_may_have_lost()
    {
        var cluster = ThreeWithTenEntries(out _);
        var doubtful = cluster[3];
        doubtful.LoseEnd(keep: 10, Notice.Doubt);
        doubtful.Restart(0);

        doubtful.Receive(VoteRequest(RaftMessageKind.RequestPreVote, term: 2, last: 10));
        Assert.True(doubtful.TakeOnly(RaftMessageKind.RequestPreVoteResponse).Reject);
        doubtful.Receive(VoteRequest(RaftMessageKind.RequestVote, term: 2, last: 10));
        Assert.True(doubtful.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
        doubtful.Tick(4_999);
        Assert.Equal(RaftRole.Follower, doubtful.Node.Role);
        doubtful.Receive(VoteRequest(RaftMessageKind.RequestVote, term: 3, last: 11));
        Assert.False(doubtful.TakeOnly(RaftMessageKind.RequestVoteResponse).Reject);
    }

    /// <summary>Where the power fails everywhere in the middle of a write, nobody has it, and all doubt.</summary>
    [Fact]
    public void Group_does_not_wait_for_ever_for_a_write_that_nobody_has()
    {
        var cluster = ThreeWithTenEntries(out _);
        for (var node = 1; node <= 3; node++)
        {
            cluster[node].LoseEnd(keep: 10, Notice.Doubt);
        }

        for (var node = 1; node <= 3; node++)
        {
            cluster.Restart(node);
        }

        cluster.Run(4_900);
        Assert.DoesNotContain(Enumerable.Range(1, 3), node => cluster[node].Node.Role == RaftRole.Leader);
        cluster.Run(3_000);
        Assert.Single(Enumerable.Range(1, 3), node => cluster[node].Node.Role == RaftRole.Leader);
    }

    [Fact]
    public void Fence_stands_until_the_log_that_reaches_it_is_flushed()
    {
        var cluster = ThreeWithTenEntries(out var leader);
        var fenced = cluster[3];
        fenced.LoseEnd(keep: 10);
        cluster.Restart(3);
        fenced.AutoPersist = false;

        cluster.Run(300);
        Assert.Equal(leader.Node.LastIndex, fenced.Node.LastIndex);
        Assert.True(fenced.Node.IsFenced);

        fenced.FinishWrites();
        Assert.False(fenced.Node.IsFenced);
    }

    [Fact]
    public void Fence_falls_when_a_newer_term_shows_that_what_was_lost_never_committed()
    {
        var cluster = new Cluster(3);
        var old = cluster.Elect(1);
        cluster.Isolate(1);
        old.Propose(1);
        old.Propose(2);
        old.LoseEnd(keep: 1);
        cluster.Run(3_000);
        cluster.Restart(1);
        Assert.True(old.Node.IsFenced);
        cluster.Heal();

        cluster.Run(1_000);

        Assert.False(old.Node.IsFenced);
        Assert.Equal(cluster[2].Log, old.DurableLog);
    }
}
