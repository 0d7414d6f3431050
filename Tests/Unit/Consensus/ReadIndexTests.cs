using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>Reads without a log entry: Raft thesis 6.4.</summary>
public sealed class ReadIndexTests
{
    private static readonly NodeId Two = new(2);

    /// <summary>Raft thesis 6.4, step 3: a round of heartbeats, sent after the read began, confirms it.</summary>
    [Fact]
    public void Read_is_answered_with_the_commit_index_after_a_majority_confirmed_the_leader()
    {
        var leader = ReplicationTests.LeaderOfThree();
        Assert.True(leader.Node.TryReadIndex(7));
        leader.Drain();
        Assert.Empty(leader.Reads);
        var heartbeat = leader.TakeSent().First(m => m.To == Two);

        leader.Receive(Answer(leader, heartbeat));

        Assert.Equal([new ReadResult(7, new LogIndex(1), false)], leader.Reads);
    }

    /// <summary>Raft thesis 6.4, step 1: the leader must have committed an entry of its own term.</summary>
    [Fact]
    public void Read_waits_for_an_entry_of_the_leaders_term_and_for_a_leader()
    {
        var cluster = new Cluster(3) { Lose = message => message.EntryCount > 0 };
        var leader = cluster.Elect(1);
        Assert.False(leader.Node.TryReadIndex(1));
        Assert.False(cluster[2].Node.TryReadIndex(1));

        cluster.Lose = _ => false;
        cluster.Run(300);

        Assert.True(leader.Node.TryReadIndex(1));
    }

    [Fact]
    public void Answer_to_an_earlier_heartbeat_confirms_nothing()
    {
        var leader = ReplicationTests.LeaderOfThree();
        Assert.True(leader.Node.TryReadIndex(1));
        leader.Drain();
        var first = leader.TakeSent().First(m => m.To == Two);
        leader.Receive(Answer(leader, first));
        Assert.True(leader.Node.TryReadIndex(2));
        leader.Drain();
        var second = leader.TakeSent().First(m => m.To == Two);

        leader.Receive(Answer(leader, first));
        Assert.Single(leader.Reads);

        leader.Receive(Answer(leader, second));
        Assert.Equal([1, 2], leader.Reads.Select(read => read.Context));
    }

    /// <summary>Raft thesis 6.4: one round serves all reads that wait for it.</summary>
    [Fact]
    public void Reads_that_come_while_a_round_is_under_way_share_the_next()
    {
        var leader = ReplicationTests.LeaderOfThree();
        Assert.True(leader.Node.TryReadIndex(1));
        Assert.True(leader.Node.TryReadIndex(2));
        leader.Drain();
        var first = Assert.Single(leader.TakeSent(), m => m.To == Two);
        Assert.True(leader.Node.TryReadIndex(3));
        Assert.True(leader.Node.TryReadIndex(4));
        leader.Drain();
        Assert.Empty(leader.TakeSent());

        leader.Receive(Answer(leader, first));
        Assert.Equal([1, 2], leader.Reads.Select(read => read.Context));
        var second = Assert.Single(leader.TakeSent(), m => m.To == Two);
        Assert.True(second.Context > first.Context);

        leader.Receive(Answer(leader, second));
        Assert.Equal([1, 2, 3, 4], leader.Reads.Select(read => read.Context));
    }

    [Fact]
    public void Lost_round_is_made_good_by_the_next_heartbeat()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster.Lose = message => message.Kind == RaftMessageKind.Heartbeat;
        Assert.True(leader.Node.TryReadIndex(1));
        leader.Drain();
        cluster.Pump();
        Assert.Empty(leader.Reads);

        cluster.Lose = _ => false;
        cluster.Run(120);

        Assert.Single(leader.Reads);
    }

    [Fact]
    public void Leader_without_a_majority_answers_no_read_and_refuses_it_when_it_steps_down()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster.Isolate(1);
        Assert.True(leader.Node.TryReadIndex(9));
        cluster.Run(400);
        Assert.Empty(leader.Reads);

        cluster.Run(1_500);

        Assert.Equal([new ReadResult(9, LogIndex.None, true)], leader.Reads);
    }

    [Fact]
    public void Only_voter_answers_at_once()
    {
        var leader = new Cluster(1).Elect();
        leader.Propose(7);

        Assert.True(leader.Node.TryReadIndex(3));
        leader.Drain();

        Assert.Equal([new ReadResult(3, leader.Node.CommitIndex, false)], leader.Reads);
    }

    [Fact]
    public void Learner_confirms_no_read()
    {
        var cluster = new Cluster(4, voters: 3);
        var leader = cluster.Elect(1);
        leader.Change(MembershipChangeKind.AddLearner, 4);
        cluster.Run(200);
        cluster.Cut(1, 2);
        cluster.Cut(1, 3);

        Assert.True(leader.Node.TryReadIndex(1));
        cluster.Run(300);

        Assert.Empty(leader.Reads);
    }

    [Fact]
    public void Reads_that_wait_are_bounded()
    {
        var leader = ReplicationTests.LeaderOfThree(o => o with { MaxPendingReads = 2 });

        Assert.True(leader.Node.TryReadIndex(1));
        Assert.True(leader.Node.TryReadIndex(2));
        Assert.False(leader.Node.TryReadIndex(3));
    }

    [Fact]
    public void Reads_are_released_when_the_leader_is_left_alone_by_a_change()
    {
        var cluster = new Cluster(2);
        var leader = cluster.Elect(1);
        cluster.Lose = message => message.Kind == RaftMessageKind.Heartbeat;
        Assert.True(leader.Node.TryReadIndex(1));
        leader.Change(MembershipChangeKind.Remove, 2);

        cluster.Run(300);

        Assert.Single(leader.Reads);
    }

    private static RaftMessage Answer(Replica leader, RaftMessage heartbeat) => new()
    {
        Kind = RaftMessageKind.HeartbeatResponse,
        From = heartbeat.To,
        To = leader.Id,
        Term = leader.Node.Term,
        LogIndex = leader.Node.LastIndex,
        Context = heartbeat.Context,
    };
}
