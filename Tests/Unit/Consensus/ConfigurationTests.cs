using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>Which configuration holds in a log, and what the disk knows of it: Raft thesis 4.1.</summary>
public sealed class ConfigurationTests
{
    private static readonly NodeId One = new(1);
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Four = new(4);

    /// <summary>Raft thesis 4.1: the new configuration holds at once, so three of four must agree to it.</summary>
    [Fact]
    public void Majority_is_that_of_the_latest_configuration_in_the_log()
    {
        var cluster = MembershipTests.WithLearner(out var leader);
        cluster.Isolate(3);
        cluster.Cut(1, 4);
        leader.Change(MembershipChangeKind.Promote, 4);
        cluster.Run(50);
        Assert.Equal(leader.Node.LastIndex, cluster[2].Node.FlushedIndex);
        Assert.True(leader.Node.CommitIndex < leader.Node.LastIndex);

        cluster.Heal();
        cluster.Isolate(3);
        cluster.Run(300);

        Assert.Equal(leader.Node.LastIndex, leader.Node.CommitIndex);
    }

    /// <summary>Raft thesis 4.1: a follower uses the latest configuration in its log, committed or not.</summary>
    [Fact]
    public void Follower_adopts_a_configuration_before_it_commits()
    {
        var cluster = new Cluster(4, voters: 3);
        var leader = cluster.Elect(1);
        cluster.Lose = message => message.Kind is RaftMessageKind.AppendEntriesResponse;

        leader.Change(MembershipChangeKind.AddLearner, 4);
        cluster.Pump();

        Assert.Equal(new LogIndex(1), cluster[2].Node.CommitIndex);
        Assert.True(cluster[2].Node.Configuration.IsLearner(Four));
        Assert.Equal(cluster[2].Node.Configuration, cluster[2].DurableConfiguration);
    }

    /// <summary>Raft thesis 4.1: a server falls back to the configuration before when the latest is removed.</summary>
    [Fact]
    public void Truncated_configuration_gives_way_to_the_one_before()
    {
        var cluster = new Cluster(4, voters: 3);
        var old = cluster.Elect(1);
        cluster.Isolate(1);
        old.Change(MembershipChangeKind.AddLearner, 4);
        Assert.True(old.Node.Configuration.IsLearner(Four));
        Assert.Equal(old.Node.Configuration, old.DurableConfiguration);
        cluster.Run(3_000);
        Assert.NotEqual(RaftRole.Leader, old.Node.Role);
        cluster.Leaders.Single().Propose(7);

        cluster.Heal();
        cluster.Run(1_000);

        Assert.Equal("1 2 3 at 0", old.Node.Configuration.ToString());
        Assert.Equal(old.Node.Configuration, old.DurableConfiguration);
        Assert.Equal(cluster[2].Log, old.Log);
    }

    [Fact]
    public void Configuration_survives_a_restart_and_the_first_one_is_saved_with_the_first_term()
    {
        var cluster = MembershipTests.WithLearner(out _);
        Assert.Equal("1 2 3 learners 4 at 2", cluster[2].DurableConfiguration!.ToString());
        cluster[2].Crash();
        cluster.Restart(2);
        Assert.True(cluster[2].Node.Configuration.IsLearner(Four));

        var first = new Replica(1, 3);
        Assert.Null(first.DurableConfiguration);
        first.Receive(ElectionTests.VoteRequest(Two, term: 1));
        Assert.Equal("1 2 3 at 0", first.DurableConfiguration!.ToString());
    }

    [Fact]
    public void Configuration_whose_entry_did_not_reach_the_disk_does_not_hold_after_a_crash()
    {
        var follower = new Replica(1, 3) { AutoPersist = false };
        follower.Receive(Append([1, 1], Configuration(2, 4)));
        Assert.True(follower.Node.Configuration.IsLearner(Four));

        follower.TearWrite();
        follower.Restart(0);

        Assert.Equal("1 2 3 at 0", follower.Node.Configuration.ToString());
    }

    [Fact]
    public void Next_configuration_waits_until_the_one_before_is_on_the_disk()
    {
        var follower = new Replica(1, 3) { AutoPersist = false };
        var both = Append([1, 1, 1, 1], Configuration(2, 4), Configuration(4, 5));
        follower.Receive(both);
        Assert.Equal((new LogIndex(3), new LogIndex(2)), (follower.Node.LastIndex, follower.Node.Configuration.Index));

        follower.FinishWrites();
        var answers = follower.TakeSent();
        Assert.Equal([(false, 3L), (true, 4L)], answers.Select(m => (m.Reject, m.LogIndex.Value)));
        follower.Receive(both);

        Assert.Equal((new LogIndex(4), new LogIndex(4)), (follower.Node.LastIndex, follower.Node.Configuration.Index));
    }

    [Fact]
    public void Late_follower_takes_many_configurations_one_after_another()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster.Isolate(3);
        for (var node = 4; node < 12; node++)
        {
            Assert.Equal(ProposeResult.Accepted, leader.Change(MembershipChangeKind.AddLearner, node));
            leader.Sent.RemoveAll(packet => packet.Message.To.Value > 3);
            cluster.Pump();
            leader.Change(MembershipChangeKind.Remove, node);
            leader.Sent.RemoveAll(packet => packet.Message.To.Value > 3);
            cluster.Pump();
        }

        cluster.Heal();
        cluster.Run(500);

        Assert.Equal(leader.Log, cluster[3].DurableLog);
        Assert.Equal(leader.Node.Configuration, cluster[3].Node.Configuration);
    }

    private static GroupConfiguration Configuration(int index, int learner) =>
        new(new LogIndex(index), [One, Two, new NodeId(3)], [new NodeId(learner)]);

    private static RaftMessage Append(int[] terms, params GroupConfiguration[] configurations) => new()
    {
        Kind = RaftMessageKind.AppendEntries,
        From = Two,
        To = One,
        Term = new Term(1),
        EntryCount = terms.Length,
        EntryTerms = [.. terms.Select(term => new Term(term))],
        Configurations = configurations,
    };
}
