using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>Disks that hang or are full under what a group writes.</summary>
public sealed class StallTests
{
    private static readonly TimeSpan TwoElectionTimeouts = TimeSpan.FromSeconds(2);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_leader_that_cannot_write_is_replaced_within_two_election_timeouts(bool isFull)
    {
        var group = new TestGroup(3);
        group.Publish(20);
        group.RunUntilEven();
        var leader = group.RunUntilLed();
        Break(leader, isFull);
        var lost = Offer(leader, 40);
        group.Run(TwoElectionTimeouts);
        var heir = group.RunUntilLed();
        Assert.NotEqual(leader, heir);
        Assert.True(leader.Status.Condition.IsWriteStalled, "it knows that it cannot write");
        Assert.Equal(isFull, leader.Status.Condition.IsDiskFull);
        Assert.All(lost, proposal => Assert.NotNull(proposal.Refusal));
        group.Publish(3);

        Mend(leader);
        group.RunUntilEven();
        group.Run(TimeSpan.FromSeconds(2));
        Assert.True(leader.Status.Condition.IsWell, $"{leader.Status.Condition}");
        Assert.Equal(heir, group.Leader);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Where_no_majority_can_write_leadership_stays_and_callers_hear_why(bool isFull)
    {
        var group = new TestGroup(3);
        group.Publish(20);
        group.RunUntilEven();
        var leader = group.RunUntilLed();
        foreach (var replica in group.Replicas)
        {
            Break(replica, isFull);
        }

        var underWay = Offer(leader, 40);
        group.Run(TimeSpan.FromSeconds(5));
        Assert.Equal(leader, group.Leader);
        Assert.All(underWay, proposal => Assert.True(proposal.IsAnswered, "nobody waits for ever"));
        var refused = Assert.Single(Offer(leader, 1)).Refusal;
        Assert.Equal(RefusalCode.Overloaded, refused?.Code);
        Assert.Contains(isFull ? "disks are full." : "do not answer", refused!.Message, StringComparison.Ordinal);
        Assert.True(leader.Status.Condition.IsStuck, "it says that it refuses publishes");

        foreach (var replica in group.Replicas)
        {
            Mend(replica);
        }

        group.Publish(3);
        group.RunUntilEven();
        group.Run(TimeSpan.FromSeconds(2));
        Assert.All(group.Replicas, replica => Assert.True(replica.Status.Condition.IsWell, "all are well"));
    }

    [Fact]
    public void A_leader_whose_followers_cannot_write_says_so()
    {
        var group = new TestGroup(3);
        group.Publish(20);
        group.RunUntilEven();
        var leader = group.RunUntilLed();
        foreach (var replica in group.Replicas.Where(replica => replica != leader))
        {
            Break(replica, isFull: true);
        }

        Offer(leader, 40);
        group.Run(TimeSpan.FromSeconds(6));
        Assert.Equal(leader, group.Leader);
        Assert.Equal(RefusalCode.Overloaded, Assert.Single(Offer(leader, 1)).Refusal?.Code);
    }

    [Fact]
    public void A_follower_that_cannot_write_is_no_heir()
    {
        var group = new TestGroup(3);
        group.Publish(20);
        group.RunUntilEven();
        var leader = group.RunUntilLed();
        var hung = group.Replicas.First(replica => replica != leader);
        Break(hung, isFull: true);
        group.Publish(40);
        group.Run(TwoElectionTimeouts);
        Assert.True(hung.Status.Condition.IsDiskFull, "its disk is full");

        leader.Group.OfferLeadership(hung.Id);
        leader.Group.TransferLeadership(hung.Id);
        leader.Step();
        var proposal = Assert.Single(Offer(leader, 1));
        group.RunUntil(() => proposal.IsAnswered, "publishes do not wait for an unfit heir", seconds: 1);
        Assert.NotNull(proposal.Result);
        Assert.Equal(leader, group.Leader);
    }

    [Fact]
    public void What_waits_for_the_writer_for_long_is_expedited()
    {
        var group = new TestGroup(1);
        var leader = group.RunUntilLed();
        group.Publish(3);
        leader.HoldsWrites = true;
        Offer(leader, 1);
        group.Run(TimeSpan.FromMilliseconds(30));
        Assert.Equal(0, leader.Expedited);
        group.Run(TimeSpan.FromMilliseconds(60));
        Assert.InRange(leader.Expedited, 1, 2);
    }

    private static void Break(TestReplica replica, bool isFull)
    {
        replica.HoldsWrites = !isFull;
        replica.Device.CapacityBytes = isFull ? 0 : long.MaxValue;
    }

    private static void Mend(TestReplica replica)
    {
        replica.HoldsWrites = false;
        replica.Device.CapacityBytes = long.MaxValue;
    }

    private static List<CommandProposal> Offer(TestReplica leader, int count)
    {
        var proposals = new List<CommandProposal>();
        for (var i = 0; i < count; i++)
        {
            var proposal = new CommandProposal(Topics.Entries.PublishCommand(TestGroup.Topic, new byte[500]));
            proposals.Add(proposal);
            leader.Group.Propose(proposal);
        }

        return proposals;
    }
}
