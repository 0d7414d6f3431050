using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>A log that begins after a snapshot: Raft thesis 5.1.</summary>
public sealed class SnapshotTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Three = new(3);

    [Fact]
    public void Follower_behind_the_base_gets_the_snapshot_and_then_the_entries()
    {
        var cluster = BehindTheBase(out var leader);

        cluster.Heal();
        cluster.Run(500);

        Assert.Equal(1, cluster[3].Installed);
        Assert.Equal(new LogIndex(8), cluster[3].Node.BaseIndex);
        Assert.Equal(leader.Log, cluster[3].DurableLog);
        Assert.Equal(leader.Applied, cluster[3].Applied);
        leader.Propose(99);
        cluster.Pump();
        Assert.Equal(leader.Log, cluster[3].DurableLog);
    }

    [Fact]
    public void Replica_restarts_from_its_base()
    {
        var cluster = BehindTheBase(out var leader);
        leader.Crash();
        cluster.Restart(1);

        Assert.Equal((new LogIndex(8), new LogIndex(8)), (leader.Node.BaseIndex, leader.Node.CommitIndex));
        Assert.Equal(new LogIndex(11), leader.Node.LastIndex);
        cluster.Heal();
        cluster.Run(3_000);
        Assert.Single(cluster.Leaders);
        Assert.All(cluster.Replicas, r => Assert.Equal(cluster[1].Log, r.DurableLog));
    }

    [Fact]
    public void Nothing_but_heartbeats_is_sent_while_a_snapshot_is_under_way()
    {
        var leader = LeaderThatSentSnapshot(out var snapshot);
        Assert.Equal((new LogIndex(5), new Term(1)), (snapshot.LogIndex, snapshot.LogTerm));

        leader.Propose(7);
        leader.Receive(HeartbeatAnswer(leader));
        Assert.DoesNotContain(leader.TakeSent(), m => m.To == Three);
        leader.Tick(leader.Node.NextDeadlineMs);
        Assert.Equal(RaftMessageKind.Heartbeat, Assert.Single(leader.TakeSent(), m => m.To == Three).Kind);

        leader.Receive(ReplicationTests.Ack(Three, leader, new LogIndex(5)));
        var next = Assert.Single(leader.TakeSent(), m => m.To == Three);
        Assert.Equal((new LogIndex(5), 2), (next.LogIndex, next.EntryCount));
    }

    [Fact]
    public void Failed_transfer_is_followed_by_a_probe_after_the_next_heartbeat_answer()
    {
        var leader = LeaderThatSentSnapshot(out _);
        leader.Node.ReportSnapshot(Three, sent: false);
        leader.Drain();
        Assert.Empty(leader.TakeSent());

        leader.Receive(HeartbeatAnswer(leader));
        var probe = Assert.Single(leader.TakeSent());
        Assert.Equal((RaftMessageKind.AppendEntries, new LogIndex(5)), (probe.Kind, probe.LogIndex));

        // It does not have the base, so the snapshot leaves again.
        leader.Receive(Rejection(leader, 5));
        Assert.Equal(RaftMessageKind.InstallSnapshot, Assert.Single(leader.TakeSent()).Kind);
    }

    [Fact]
    public void Snapshot_that_arrived_is_not_sent_again_when_only_its_answer_was_lost()
    {
        var leader = LeaderThatSentSnapshot(out _);
        leader.Node.ReportUnreachable(Three);
        leader.Node.ReportReachable(Three);
        leader.Drain();
        var probe = Assert.Single(leader.TakeSent());
        Assert.Equal((RaftMessageKind.AppendEntries, new LogIndex(5)), (probe.Kind, probe.LogIndex));

        leader.Receive(ReplicationTests.Ack(Three, leader, leader.Node.LastIndex));

        Assert.DoesNotContain(leader.TakeSent(), m => m.Kind == RaftMessageKind.InstallSnapshot);
    }

    [Fact]
    public void Snapshot_without_an_answer_is_given_up_after_its_time()
    {
        var leader = LeaderThatSentSnapshot(out _);
        leader.Node.ReportSnapshot(Three, sent: true);
        var end = leader.Node.NextDeadlineMs + (long)leader.Options.SnapshotTimeout.TotalMilliseconds;
        while (leader.Node.NextDeadlineMs <= end)
        {
            leader.Tick(leader.Node.NextDeadlineMs);
            leader.TakeSent();
            leader.Receive(HeartbeatAnswer(leader));
            leader.Receive(HeartbeatAnswer(leader, Two));
        }

        leader.TakeSent();
        leader.Receive(HeartbeatAnswer(leader));

        Assert.Equal(RaftMessageKind.AppendEntries, Assert.Single(leader.TakeSent(), m => m.To == Three).Kind);
    }

    [Fact]
    public void Snapshot_counts_only_when_it_is_durable()
    {
        var follower = new Replica(1, 3, hardState: new HardState(new Term(1), NodeId.None), logTerms: [1, 1])
        {
            AutoPersist = false,
        };
        follower.Receive(Install(5));
        Assert.Empty(follower.TakeSent());
        Assert.Equal(LogIndex.None, follower.Node.CommitIndex);

        follower.FinishWrites();

        Assert.Equal(new LogIndex(5), follower.TakeOnly(RaftMessageKind.AppendEntriesResponse).LogIndex);
        Assert.Equal((new LogIndex(5), new LogIndex(5)), (follower.Node.CommitIndex, follower.Node.FlushedIndex));
    }

    [Fact]
    public void Write_under_way_of_the_old_log_does_not_count_for_the_new_one()
    {
        var follower = new Replica(1, 3) { AutoPersist = false };
        follower.Receive(Append(0, [1, 1, 1, 1, 1, 1, 1, 1]));
        follower.Receive(Install(5, entryTerm: 2, term: 2));

        // The term and the entries of the old log.
        follower.FinishWrite();

        Assert.Equal(LogIndex.None, follower.Node.FlushedIndex);
        follower.FinishWrites();
        Assert.Equal(new LogIndex(5), follower.Node.FlushedIndex);
    }

    [Fact]
    public void Entries_may_follow_a_snapshot_that_is_not_durable_yet()
    {
        var follower = new Replica(1, 3) { AutoPersist = false };
        follower.Receive(Install(5));
        follower.Receive(Append(5, [1, 1]));
        Assert.Equal(new LogIndex(7), follower.Node.LastIndex);

        follower.FinishWrites();

        Assert.Equal(new LogIndex(7), follower.TakeSent()[^1].LogIndex);
        Assert.Equal(7, follower.DurableLog.Count);
    }

    /// <summary>Raft paper, figure 13: a log never goes back to an older snapshot.</summary>
    [Fact]
    public void Older_snapshot_is_acknowledged_and_not_installed()
    {
        var follower = new Replica(1, 3);
        follower.Receive(Append(0, [1, 1, 1, 1, 1, 1, 1], commit: 7));
        follower.TakeSent();

        follower.Receive(Install(5));

        Assert.Equal(new LogIndex(7), follower.TakeOnly(RaftMessageKind.AppendEntriesResponse).LogIndex);
        Assert.Equal((0, new LogIndex(7)), (follower.Installed, follower.Node.LastIndex));
    }

    /// <summary>Raft paper, figure 13, step 6: what follows the snapshot's position is kept.</summary>
    [Fact]
    public void Snapshot_that_the_log_holds_already_only_commits()
    {
        var follower = new Replica(1, 3);
        follower.Receive(Append(0, [1, 1, 1, 1, 1, 1, 1]));
        follower.TakeSent();

        follower.Receive(Install(5));

        Assert.Equal(new LogIndex(7), follower.TakeOnly(RaftMessageKind.AppendEntriesResponse).LogIndex);
        Assert.Equal((0, new LogIndex(7)), (follower.Installed, follower.Node.LastIndex));
        Assert.Equal(new LogIndex(5), follower.Node.CommitIndex);
    }

    [Fact]
    public void Snapshot_replaces_a_log_that_contradicts_it()
    {
        var state = new HardState(new Term(3), NodeId.None);
        var follower = new Replica(1, 3, hardState: state, logTerms: [1, 1, 2, 2, 2, 2, 2, 2]);

        follower.Receive(Install(5, entryTerm: 3, term: 3));

        Assert.Equal((1, new LogIndex(5)), (follower.Installed, follower.Node.LastIndex));
        Assert.Equal(5, follower.DurableLog.Count);
    }

    [Fact]
    public void Snapshot_brings_its_configuration()
    {
        var follower = new Replica(3, 2);
        var configuration = new GroupConfiguration(new LogIndex(4), [One, Two], [Three]);
        follower.Receive(Install(5, to: 3, configuration: configuration));

        Assert.Equal("1 2 learners 3 at 4", follower.DurableConfiguration!.ToString());
        follower.Crash();
        follower.Restart(0);
        Assert.True(follower.Node.Configuration.IsLearner(Three));
    }

    [Fact]
    public void Replica_does_not_campaign_while_a_snapshot_is_on_its_way_to_the_disk()
    {
        var follower = new Replica(1, 3) { AutoPersist = false };
        follower.Receive(Install(5));
        follower.Tick(5_000);
        Assert.Equal(RaftRole.Follower, follower.Node.Role);

        follower.FinishWrites();
        follower.Tick(10_000);

        Assert.Equal(RaftRole.PreCandidate, follower.Node.Role);
    }

    [Fact]
    public void Snapshot_commits_when_it_is_durable_although_the_term_changed_meanwhile()
    {
        var follower = new Replica(1, 3) { AutoPersist = false };
        follower.Receive(Install(5));
        follower.Tick(2_000);
        follower.Receive(ElectionTests.VoteRequest(Three, term: 9));

        follower.FinishWrites();

        Assert.Equal(new LogIndex(5), follower.Node.CommitIndex);
    }

    [Fact]
    public void Entries_below_the_base_are_taken_as_known()
    {
        var follower = new Replica(1, 3);
        follower.Receive(Install(5));
        follower.TakeSent();

        follower.Receive(Append(2, [1, 1]));
        Assert.Equal(new LogIndex(5), follower.TakeOnly(RaftMessageKind.AppendEntriesResponse).LogIndex);
        follower.Receive(Append(2, [1, 1, 1, 1, 1]));
        Assert.Equal(new LogIndex(7), follower.TakeOnly(RaftMessageKind.AppendEntriesResponse).LogIndex);
        Assert.Equal(new LogIndex(7), follower.Node.LastIndex);
    }

    [Fact]
    public void Only_what_is_committed_is_dropped()
    {
        var leader = ReplicationTests.LeaderOfThree();
        var index = leader.Propose(7);

        Assert.Throws<InvariantException>(() => leader.Node.CompactThrough(index));
        leader.Node.CompactThrough(new LogIndex(1));
        leader.Node.CompactThrough(new LogIndex(1));

        Assert.Equal((new LogIndex(1), new Term(1)), (leader.Node.BaseIndex, leader.Node.TermAt(new LogIndex(1))));
    }

    [Fact]
    public void Follower_in_mid_stream_is_asked_for_the_base_when_the_log_is_dropped_before_it()
    {
        var cluster = new Cluster(3, configure: o => o with { MaxAppendBytes = 100, MaxInFlightBytes = 300 });
        var leader = cluster.Elect(1);
        cluster.Lose = message => message is { EntryCount: > 0 } && message.To == Three;
        for (var value = 0; value < 20; value++)
        {
            leader.Propose(value);
        }

        cluster.Pump();
        leader.Compact(new LogIndex(15));
        cluster.Lose = _ => false;
        cluster.Run(500);

        Assert.Equal(1, cluster[3].Installed);
        Assert.Equal(leader.Log, cluster[3].DurableLog);
    }

    /// <summary>Entry 1 is the no-op, 2 to 11 hold values; replica 3 has only the first, the others drop 8.</summary>
    private static Cluster BehindTheBase(out Replica leader)
    {
        var cluster = new Cluster(3);
        leader = cluster.Elect(1);
        cluster.Isolate(3);
        for (var value = 1; value <= 10; value++)
        {
            leader.Propose(value);
            cluster.Run(5);
        }

        leader.Compact(new LogIndex(8));
        return cluster;
    }

    private static Replica LeaderThatSentSnapshot(out RaftMessage snapshot)
    {
        var leader = ReplicationTests.LeaderOfThree();
        leader.Node.ReportUnreachable(Three);
        for (var value = 1; value <= 5; value++)
        {
            var index = leader.Propose(value);
            leader.Receive(ReplicationTests.Ack(Two, leader, index));
        }

        leader.Compact(new LogIndex(5));
        leader.TakeSent();
        leader.Node.ReportReachable(Three);
        leader.Drain();
        leader.TakeSent();
        leader.Receive(Rejection(leader, 5));
        snapshot = Assert.Single(leader.TakeSent());
        Assert.Equal((RaftMessageKind.InstallSnapshot, Three), (snapshot.Kind, snapshot.To));
        return leader;
    }

    private static RaftMessage Rejection(Replica leader, int previous) => new()
    {
        Kind = RaftMessageKind.AppendEntriesResponse,
        From = Three,
        To = One,
        Term = leader.Node.Term,
        LogIndex = new LogIndex(previous),
        LogTerm = new Term(1),
        Reject = true,
        RejectHint = new LogIndex(1),
    };

    private static RaftMessage HeartbeatAnswer(Replica leader, NodeId? from = null) => new()
    {
        Kind = RaftMessageKind.HeartbeatResponse,
        From = from ?? Three,
        To = One,
        Term = leader.Node.Term,
        LogIndex = new LogIndex(1),
    };

    private static Packet Install(
        int index, int entryTerm = 1, int term = 1, int to = 1, GroupConfiguration? configuration = null)
    {
        var message = new RaftMessage
        {
            Kind = RaftMessageKind.InstallSnapshot,
            From = Two,
            To = new NodeId(to),
            Term = new Term(term),
            LogIndex = new LogIndex(index),
            LogTerm = new Term(entryTerm),
            CommitIndex = new LogIndex(index),
            Configurations = [configuration ?? new GroupConfiguration(LogIndex.None, [One, Two, Three], [])],
        };
        return new Packet(message, [.. Enumerable.Range(1, index).Select(i => new Item(new Term(entryTerm), i))]);
    }

    private static RaftMessage Append(int previous, int[] terms, int commit = 0) => new()
    {
        Kind = RaftMessageKind.AppendEntries,
        From = Two,
        To = One,
        Term = new Term(1),
        LogIndex = new LogIndex(previous),
        LogTerm = new Term(previous == 0 ? 0 : 1),
        CommitIndex = new LogIndex(commit),
        EntryCount = terms.Length,
        EntryTerms = [.. terms.Select(term => new Term(term))],
    };
}
