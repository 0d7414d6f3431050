using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>The log: Raft thesis 3.5, 10.2.1.</summary>
public sealed class ReplicationTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Three = new(3);

    [Fact]
    public void Proposals_reach_every_replica_in_order()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect();

        foreach (var value in Enumerable.Range(1, 100))
        {
            leader.Propose(value);
        }

        cluster.Run(200);

        Assert.All(
            cluster.Replicas,
            r => Assert.Equal(Enumerable.Range(1, 100), r.Applied.Select(item => item.Value).Where(v => v > 0)));
    }

    [Fact]
    public void Followers_learn_of_a_commit_without_waiting_for_a_heartbeat()
    {
        var cluster = new Cluster(3);
        var index = cluster.Elect().Propose(7);

        cluster.Pump();

        Assert.All(cluster.Replicas, r => Assert.Equal(index, r.Node.CommitIndex));
    }

    [Fact]
    public void Proposals_made_before_one_ready_leave_in_one_message()
    {
        var leader = LeaderOfThree();

        for (var i = 0; i < 5; i++)
        {
            Assert.Equal(ProposeResult.Accepted, leader.Node.TryPropose(100, out _));
            leader.Log.Add(new Item(leader.Node.Term, i));
        }

        leader.Drain();

        Assert.All(leader.TakeSent(), m => Assert.Equal(5, m.EntryCount));
    }

    [Fact]
    public void Follower_that_proposes_is_told_that_it_does_not_lead()
    {
        Assert.Equal(ProposeResult.NotLeader, new Replica(1, 3).Node.TryPropose(1, out var index));
        Assert.Equal(LogIndex.None, index);
    }

    /// <summary>Raft thesis 3.5, figure 3.6: missing and extra entries of every kind are repaired.</summary>
    [Theory]
    [InlineData("1 1 1 4 4 5 5 6 6")]
    [InlineData("1 1 1 4")]
    [InlineData("1 1 1 4 4 5 5 6 6 6 6")]
    [InlineData("1 1 1 4 4 5 5 6 6 6 7 7")]
    [InlineData("1 1 1 4 4 4 4")]
    [InlineData("1 1 1 2 2 2 3 3 3 3 3")]
    [InlineData("")]
    public void Follower_log_is_brought_to_the_leaders(string followerTerms)
    {
        int[] terms = [.. followerTerms.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)];
        int[] leaderTerms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
        var state = new HardState(new Term(7), NodeId.None);
        var cluster = new Cluster(
            [new Replica(1, 3, hardState: state, logTerms: leaderTerms),
            new Replica(2, 3, hardState: state, logTerms: terms),
            new Replica(3, 3, hardState: state, logTerms: leaderTerms)]);

        var leader = cluster.Elect(1);
        cluster.Pump();

        Assert.Equal(leader.Log, cluster[2].Log);
        Assert.Equal(leader.Log, cluster[2].DurableLog);
        Assert.Equal(11, cluster[2].Applied.Count);
    }

    /// <summary>Raft paper 5.3, end: one round for each conflicting term, not for each entry.</summary>
    [Fact]
    public void Conflicts_are_backed_up_a_term_at_a_time()
    {
        var state = new HardState(new Term(9), NodeId.None);
        int[] common = [1, 1, 1];
        var cluster = new Cluster(
            [new Replica(1, 3, hardState: state, logTerms: [.. common, .. Enumerable.Repeat(8, 500)]),
            new Replica(2, 3, hardState: state, logTerms: [.. common, .. Enumerable.Repeat(2, 400)]),
            new Replica(3, 3, hardState: state, logTerms: common)]);
        var rejections = 0;
        cluster.Lose = message =>
        {
            rejections += message is { Reject: true, Kind: RaftMessageKind.AppendEntriesResponse } ? 1 : 0;
            return false;
        };

        cluster.Elect(1);
        cluster.Pump();

        Assert.Equal(cluster[1].Log, cluster[2].Log);
        Assert.InRange(rejections, 2, 4);
    }

    [Fact]
    public void Messages_stay_within_their_byte_bound_and_one_entry_always_goes()
    {
        var leader = LeaderOfThree(o => o with { MaxAppendBytes = 1000 });

        foreach (var size in new[] { 400, 400, 400, 5000, 100 })
        {
            leader.Node.TryPropose(size, out _);
            leader.Log.Add(new Item(leader.Node.Term, size));
        }

        leader.Drain();

        var counts = leader.TakeSent().Where(m => m.To == Two).Select(m => m.EntryCount);
        Assert.Equal([2, 1, 1, 1], counts);
    }

    [Fact]
    public void Entries_in_flight_to_a_follower_stay_within_the_window()
    {
        var leader = LeaderOfThree(o => o with { MaxAppendBytes = 100, MaxInFlightBytes = 300 });
        for (var i = 0; i < 10; i++)
        {
            leader.Propose(i);
        }

        var first = leader.TakeSent().Where(m => m.To == Two).ToArray();
        Assert.Equal(3, first.Length);

        leader.Receive(Ack(Two, leader, first[0].LogIndex.Next()));
        var next = Assert.Single(leader.TakeSent(), m => m.To == Two);
        Assert.Equal(first[^1].LogIndex.Next(), next.LogIndex);
    }

    [Fact]
    public void Lost_entries_are_sent_again_after_a_heartbeat()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster.Lose = message => message is { EntryCount: > 0 } && message.To == Three;
        leader.Propose(7);
        cluster.Pump();
        cluster.Lose = _ => false;
        Assert.NotEqual(leader.Log, cluster[3].Log);

        cluster.Run(250);

        Assert.Equal(leader.Log, cluster[3].Log);
        Assert.Equal(leader.Node.CommitIndex, cluster[3].Node.CommitIndex);
    }

    [Fact]
    public void Lost_acknowledgements_are_told_again_after_a_heartbeat()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster.Lose = message => message.Kind == RaftMessageKind.AppendEntriesResponse;
        var index = leader.Propose(7);
        cluster.Pump();
        Assert.True(leader.Node.CommitIndex < index);
        cluster.Lose = _ => false;

        cluster.Run(150);

        Assert.Equal(index, leader.Node.CommitIndex);
    }

    [Fact]
    public void Stream_with_a_hole_is_repaired_and_the_window_freed()
    {
        var cluster = new Cluster(3, configure: o => o with { MaxAppendBytes = 100, MaxInFlightBytes = 1000 });
        var leader = cluster.Elect(1);
        var count = 0;
        cluster.Lose = message => message is { EntryCount: > 0 } && count++ % 3 == 0;

        for (var i = 0; i < 100; i++)
        {
            leader.Propose(i);
            cluster.Run(5);
        }

        cluster.Lose = _ => false;
        cluster.Run(1_000);

        Assert.All(cluster.Replicas, r => Assert.Equal(leader.Node.LastIndex, r.Node.CommitIndex));
        Assert.All(cluster.Replicas, r => Assert.Equal(leader.Log, r.Log));
    }

    [Fact]
    public void Follower_that_restarts_catches_up_and_learns_the_commit_index_of_an_idle_group()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        leader.Propose(7);
        cluster.Pump();
        cluster[3].Crash();
        cluster.Restart(3);

        cluster.Run(300);

        Assert.Equal(leader.Applied, cluster[3].Applied);
    }

    [Fact]
    public void Nothing_is_sent_to_an_unreachable_follower_until_it_is_reachable_again()
    {
        var leader = LeaderOfThree();
        leader.Node.ReportUnreachable(Two);

        leader.Propose(7);
        Assert.DoesNotContain(leader.TakeSent(), m => m.To == Two);

        leader.Node.ReportReachable(Two);
        leader.Drain();
        Assert.Equal(1, Assert.Single(leader.TakeSent(), m => m.To == Two).EntryCount);
    }

    [Fact]
    public void Stalled_follower_is_not_sent_the_same_entries_at_every_heartbeat()
    {
        var leader = LeaderOfThree();
        leader.Propose(7);
        leader.TakeSent();

        leader.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.HeartbeatResponse,
            From = Two,
            To = One,
            Term = leader.Node.Term,
            LogIndex = new LogIndex(1),
        });

        var sent = leader.TakeOnly(RaftMessageKind.AppendEntries);
        Assert.Equal((0, leader.Node.LastIndex), (sent.EntryCount, sent.LogIndex));
    }

    [Fact]
    public void Overload_refuses_proposals_and_keeps_the_leader()
    {
        var leader = LeaderOfThree(o => o with { MaxUncommittedBytes = 1000 });
        leader.Propose(1, sizeBytes: 600);

        Assert.Equal(ProposeResult.Overloaded, leader.Node.TryPropose(600, out _));
        Assert.Equal(RaftRole.Leader, leader.Node.Role);

        leader.Receive(Ack(Two, leader, leader.Node.LastIndex));
        Assert.Equal(ProposeResult.Accepted, leader.Node.TryPropose(5000, out _));
    }

    [Fact]
    public void New_leader_counts_what_its_predecessors_left_uncommitted()
    {
        // Ten entries of 100 bytes that nobody knows to be committed.
        var state = new HardState(new Term(1), NodeId.None);
        var cluster = new Cluster([.. Enumerable.Range(1, 3).Select(id => new Replica(
            id, 3, id, configure: o => o with { MaxUncommittedBytes = 800 }, hardState: state,
            logTerms: Enumerable.Repeat(1, 10)))]);
        cluster.Lose = message => message is { EntryCount: > 0 };
        var leader = cluster.Elect(1);

        Assert.Equal(ProposeResult.Overloaded, leader.Node.TryPropose(100, out _));

        cluster.Lose = _ => false;
        cluster.Run(300);
        Assert.Equal(new LogIndex(11), leader.Node.CommitIndex);
        Assert.Equal(ProposeResult.Accepted, leader.Node.TryPropose(100, out _));
    }

    [Fact]
    public void Figures_of_followers_tell_match_next_and_contact()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster[3].Crash();
        leader.Propose(7);
        cluster.Run(600);

        var progress = leader.Node.Followers;

        Assert.Equal([Two, Three], progress.Select(p => p.NodeId));
        Assert.Equal((leader.Node.LastIndex, true), (progress[0].MatchIndex, progress[0].RecentlyActive));
        Assert.Equal((new LogIndex(1), false), (progress[1].MatchIndex, progress[1].RecentlyActive));
        Assert.Empty(cluster[2].Node.Followers);
    }

    /// <summary>A leader in term 1 whose no-op every follower has, and which has nothing to send.</summary>
    internal static Replica LeaderOfThree(Func<RaftOptions, RaftOptions>? configure = null)
    {
        var cluster = new Cluster(3, configure: configure);
        var leader = cluster.Elect(1);
        Assert.Equal(new LogIndex(1), leader.Node.CommitIndex);
        Assert.Empty(leader.Sent);
        return leader;
    }

    internal static RaftMessage Ack(NodeId from, Replica leader, LogIndex match) => new()
    {
        Kind = RaftMessageKind.AppendEntriesResponse,
        From = from,
        To = leader.Id,
        Term = leader.Node.Term,
        LogIndex = match,
        RejectHint = match,
    };
}
