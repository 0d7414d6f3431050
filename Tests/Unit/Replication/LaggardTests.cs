using Broker.Consensus;
using Broker.Replication;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>A follower whose entries are on the leader's disk alone.</summary>
public sealed class LaggardTests
{
    private static readonly TimeSpan LongerThanAnElection = TimeSpan.FromSeconds(3);

    [Fact]
    public void A_laggard_catches_up_with_entries_from_disk()
    {
        var group = WithLaggard(out var leader, out var laggard);
        laggard.Start();
        group.RunUntilEven();
        Assert.Equal(leader.Status.LastIndex, laggard.Status.AppliedIndex);
    }

    [Fact]
    public void While_a_laggards_entries_are_read_the_group_goes_on_and_nobody_campaigns()
    {
        var group = WithLaggard(out var leader, out var laggard);
        var term = leader.Status.Term;
        leader.HoldsBackground = true;
        laggard.Start();
        group.Run(LongerThanAnElection);
        group.Publish(3);

        Assert.Equal((term, leader.Id), (laggard.Status.Term, laggard.Status.Leader));
        Assert.True(laggard.Status.LastIndex < leader.Status.LastIndex, "the entries are still to be read");
        Assert.InRange(leader.BackgroundCount, 1, 4);
        leader.HoldsBackground = false;
        group.RunUntilEven();
    }

    [Fact]
    public void What_was_read_for_a_laggard_is_not_sent_by_a_leader_that_was_deposed_meanwhile()
    {
        var group = WithLaggard(out var leader, out var laggard);
        var third = group.Replicas.Single(replica => replica != leader && replica != laggard);
        leader.HoldsBackground = true;
        laggard.Start();
        group.RunUntil(() => leader.BackgroundCount > 0, "a read waits");
        group.Cut(leader);
        group.RunUntil(() => third.Status.Role == RaftRole.Leader, "another one leads");
        group.Heal();
        group.RunUntil(() => leader.Status.Role != RaftRole.Leader, "the old one hears of it");
        leader.Sent.Clear();
        leader.HoldsBackground = false;
        group.RunUntilEven();
        Assert.DoesNotContain(leader.Sent, message => message.Entries.Count > 0);
    }

    [Fact]
    public void A_learner_waits_for_its_share_of_what_a_node_sends_and_nobody_else_does()
    {
        var group = new TestGroup(3, keepsVoters: false);
        group.Publish(5);
        var learner = group.Replicas.First(replica => replica != group.Leader);
        List<TestReplica> voters = [.. group.Replicas.Where(replica => replica != learner)];
        group.Leader!.Group.DesiredMembers =
            new DesiredMembers([.. voters.Select(replica => replica.Id)], [learner.Id]);
        group.RunUntil(
            () => group.Replicas.All(replica => replica.Status.Condition.Configuration.IsLearner(learner.Id)),
            "all know that one only learns");
        learner.Stop();
        group.Publish(20);
        voters.ForEach(static voter => voter.Restart());
        var leader = group.RunUntilLed();
        group.RunUntilEven();
        voters.ForEach(static voter => voter.CopyPause = TimeSpan.FromSeconds(5));
        learner.Start();
        group.RunUntil(() => learner.Status.LastIndex == leader.Status.LastIndex, "it has what was there");
        Assert.InRange(leader.CopiedBytes, 20 * 500, 30 * 600);
        var copied = learner.Status.LastIndex;

        group.Publish(3);
        group.Run(LongerThanAnElection);
        Assert.Equal(copied, learner.Status.LastIndex);
        Assert.Equal(leader.Id, learner.Status.Leader);

        group.RunUntil(() => learner.Status.LastIndex == leader.Status.LastIndex, "it goes on", seconds: 5);
        group.RunUntilEven();
    }

    [Fact]
    public void A_backlog_after_a_restart_is_applied_without_reading_on_the_loop()
    {
        var group = new TestGroup(1);
        group.Publish(60);
        var hash = group[1].Machine.StateHash;
        group[1].Kill();
        group[1].HoldsBackground = true;
        group[1].Start();
        group.RunUntil(() => group[1].Status.Role == RaftRole.Leader, "it leads again");
        group.Run(LongerThanAnElection);
        Assert.True(group[1].Status.AppliedIndex < group[1].Status.CommitIndex, "the backlog is still to be read");
        Assert.Equal(1, group[1].BackgroundCount);

        group[1].HoldsBackground = false;
        group.RunUntilEven();
        Assert.Equal(hash, group[1].Machine.StateHash);
    }

    /// <summary>Three replicas, of which one has missed entries that no other one has in memory any more.</summary>
    private static TestGroup WithLaggard(out TestReplica leader, out TestReplica laggard)
    {
        var group = new TestGroup(3);
        group.Publish(5);
        group.RunUntilEven();
        var away = group.Replicas.First(replica => replica != group.Leader);
        away.Stop();
        group.Publish(20);
        group.RunUntilEven();
        foreach (var replica in group.Replicas.Where(replica => replica.IsUp).ToList())
        {
            replica.Restart();
        }

        leader = group.RunUntilLed();
        group.RunUntilEven();
        laggard = away;
        return group;
    }
}
