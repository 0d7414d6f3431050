using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;
using Broker.Tests.Simulation;
using Xunit;

namespace Broker.Tests.Unit.Replication;

public sealed class MembershipTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_member_is_removed_and_comes_back_as_a_learner_and_a_voter()
    {
        var group = new TestGroup(3, keepsVoters: false);
        var leader = group.RunUntilLed();
        group.Publish(5);
        var other = group.Replicas.First(replica => replica != leader);

        await ChangeAsync(group, MembershipChangeKind.Remove, other.Id);
        Assert.False(leader.Status.Condition.Configuration.Contains(other.Id));
        group.Publish(5);
        await ChangeAsync(group, MembershipChangeKind.AddLearner, other.Id);
        group.RunUntilEven();
        Assert.True(other.Status.Condition.Configuration.IsLearner(other.Id));
        group.Run(TimeSpan.FromSeconds(1));
        await ChangeAsync(group, MembershipChangeKind.Promote, other.Id);
        group.RunUntilEven();
        Assert.All(group.Replicas, replica => Assert.True(replica.Status.Condition.Configuration.IsVoter(other.Id)));
    }

    [Fact]
    public void A_voter_that_should_only_receive_the_log_becomes_a_learner_and_stays_one()
    {
        var group = new TestGroup(3, keepsVoters: false);
        var leader = group.RunUntilLed();
        group.Publish(5);
        var other = group.Replicas.First(replica => replica != leader);
        var voters = group.Voters.Where(voter => voter != other.Id).ToArray();
        foreach (var replica in group.Replicas)
        {
            replica.Group.DesiredMembers = new DesiredMembers(voters, [other.Id]);
        }

        group.Run(TimeSpan.FromSeconds(10));
        group.Publish(5);
        group.RunUntilEven();
        Assert.All(group.Replicas, replica => Assert.Equal(
            (2, 1), (Configuration(replica).Voters.Length, Configuration(replica).Learners.Length)));
        Assert.True(Configuration(other).IsLearner(other.Id));
        Assert.NotEqual(RaftRole.Leader, other.Status.Role);

        // Whom nobody wants goes, and whom everybody wants votes again.
        leader.Group.DesiredMembers = new DesiredMembers(voters, []);
        group.Run(TimeSpan.FromSeconds(5));
        Assert.False(Configuration(leader).Contains(other.Id));
        leader.Group.DesiredMembers = new DesiredMembers(group.Voters, []);
        group.Run(TimeSpan.FromSeconds(10));
        Assert.True(Configuration(leader).IsVoter(other.Id));

        static GroupConfiguration Configuration(TestReplica replica) => replica.Status.Condition.Configuration;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_voter_stays_until_the_one_in_its_place_votes_unless_that_is_away(bool isAway)
    {
        var group = new TestGroup(4, keepsVoters: false);
        var leader = group.RunUntilLed();
        var hollow = group.Replicas.First(replica => replica != leader);
        var going = group.Replicas.Last(replica => replica != leader);
        hollow.Group.MayBeHollow = true;
        Want(new DesiredMembers([.. group.Voters.Where(voter => voter != hollow.Id)], [hollow.Id]));
        group.Run(TimeSpan.FromSeconds(10));
        Assert.True(Members().IsLearner(hollow.Id));

        Want(new DesiredMembers([.. group.Voters.Where(voter => voter != going.Id)], [going.Id]));
        group.Run(TimeSpan.FromSeconds(5));
        Assert.True(Members().IsVoter(going.Id) && Members().IsLearner(hollow.Id));
        if (isAway)
        {
            hollow.Kill();
        }
        else
        {
            hollow.Group.MayBeHollow = false;
        }

        group.Run(TimeSpan.FromSeconds(10));
        Assert.True(Members().IsLearner(going.Id));
        Assert.Equal(!isAway, Members().IsVoter(hollow.Id));

        void Want(DesiredMembers desired)
        {
            foreach (var replica in group.Replicas)
            {
                replica.Group.DesiredMembers = desired;
            }
        }

        GroupConfiguration Members() => leader.Status.Condition.Configuration;
    }

    /// <summary>It tried again each second, and said so in the log.</summary>
    [Fact]
    public void A_learner_on_a_full_disk_waits_before_it_tries_again_to_give_up_what_voters_keep()
    {
        var group = new TestGroup(4, keepsVoters: false);
        group.Publish(300);
        group.RunUntilEven();
        var learner = group.Replicas.Last(replica => replica != group.RunUntilLed());
        var tries = 0;
        learner.Device.Fault = (operation, path) =>
        {
            if (!path.EndsWith(".new.tmp", StringComparison.Ordinal))
            {
                return SimulatedDeviceFault.None;
            }

            tries += operation == SimulatedDeviceOperation.Create ? 1 : 0;
            return SimulatedDeviceFault.DiskFull;
        };
        learner.Machine.CanBeHollow = true;
        learner.Group.MayBeHollow = true;
        foreach (var replica in group.Replicas)
        {
            replica.Group.DesiredMembers =
                new DesiredMembers([.. group.Voters.Where(voter => voter != learner.Id)], [learner.Id]);
        }

        group.RunUntil(() => tries == 1, "it tries");
        group.Run(TimeSpan.FromSeconds(20));
        Assert.InRange(tries, 3, 6);
        Assert.Equal(0, learner.Log.HollowSegments);

        learner.Device.Fault = null;
        group.RunUntil(
            () => learner.Log.SealedSegments.All(
                segment => segment.IsHollow || segment.Last > learner.Status.Condition.SnapshotIndex),
            "it has given them up");
        Assert.NotEqual(0, learner.Log.HollowSegments);
    }

    [Fact]
    public void A_replica_that_drains_hands_leadership_over_and_gets_none()
    {
        var group = new TestGroup(3);
        var leader = group.RunUntilLed();
        group.Publish(5);
        leader.Group.IsDraining = true;
        group.Run(TimeSpan.FromSeconds(5));
        var next = group.RunUntilLed();
        Assert.NotEqual(leader, next);
        group.Publish(5);
        next.Group.OfferLeadership(leader.Id);
        group.Run(TimeSpan.FromSeconds(5));
        Assert.Equal(next, group.RunUntilLed());

        // When nobody else is there to lead, it does.
        var third = group.Replicas.Single(replica => replica != leader && replica != next);
        third.Group.IsDraining = true;
        next.Kill();
        group.Run(TimeSpan.FromSeconds(10));
        Assert.NotEqual(next, group.RunUntilLed());
        group.Publish(5);
    }

    [Fact]
    public async Task A_change_survives_a_restart_of_all()
    {
        var group = new TestGroup(3, keepsVoters: false);
        var leader = group.RunUntilLed();
        group.Publish(5);
        var other = group.Replicas.First(replica => replica != leader);
        await ChangeAsync(group, MembershipChangeKind.Remove, other.Id);
        group.Publish(5);
        foreach (var replica in group.Replicas)
        {
            replica.Kill();
        }

        foreach (var replica in group.Replicas.Where(replica => replica != other))
        {
            replica.Start();
        }

        group.Publish(5);
        group.RunUntilEven();
        Assert.All(
            group.Replicas.Where(replica => replica.IsUp),
            replica => Assert.False(replica.Status.Condition.Configuration.Contains(other.Id)));
    }

    [Fact]
    public async Task An_impossible_change_is_refused_with_a_reason()
    {
        var group = new TestGroup(1, keepsVoters: false);
        group.Publish(1);
        var refusal = await Assert.ThrowsAsync<BrokerException>(
            () => ChangeAsync(group, MembershipChangeKind.Remove, new NodeId(1)));
        Assert.Equal(RefusalCode.FailedPrecondition, refusal.Code);
        Assert.Contains("last voter", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_follower_refuses_a_change_and_names_the_leader()
    {
        var group = new TestGroup(3, keepsVoters: false);
        var leader = group.RunUntilLed();
        group.Publish(1);
        group.RunUntilEven();
        var follower = group.Replicas.First(replica => replica != leader);
        var task = follower.Group.ChangeConfigurationAsync(
            new MembershipChange(MembershipChangeKind.Remove, follower.Id), Stop);
        var refusal = await Assert.ThrowsAsync<BrokerException>(() => group.RunUntilDoneAsync(task));
        Assert.Equal((RefusalCode.NotLeader, leader.Id), (refusal.Code, refusal.LeaderHint));
    }

    [Fact]
    public async Task A_desired_voter_that_is_no_member_is_added_and_promoted_without_being_asked_for()
    {
        var group = new TestGroup(3);
        var leader = group.RunUntilLed();
        group.Publish(5);
        var other = group.Replicas.First(replica => replica != leader);
        await ChangeAsync(group, MembershipChangeKind.Remove, other.Id);
        group.RunUntil(
            () => leader.Status.Condition.Configuration.IsVoter(other.Id), "the desired voter is one again");
        group.RunUntilEven();
    }

    private static async Task ChangeAsync(TestGroup group, MembershipChangeKind kind, NodeId node)
    {
        var task = group.RunUntilLed().Group.ChangeConfigurationAsync(new MembershipChange(kind, node), Stop);
        await group.RunUntilDoneAsync(task);
    }
}
