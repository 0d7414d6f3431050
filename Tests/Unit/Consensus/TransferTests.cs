using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

/// <summary>Handing leadership over: Raft thesis 3.10.</summary>
public sealed class TransferTests
{
    private static readonly NodeId Two = new(2);
    private static readonly NodeId Three = new(3);

    [Fact]
    public void Leadership_moves_at_once_to_a_follower_that_is_caught_up()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        var before = cluster.NowMs;

        Assert.True(leader.Node.TryTransferLeadership(Three));
        leader.Drain();
        cluster.Pump();

        Assert.Equal(RaftRole.Leader, cluster[3].Node.Role);
        Assert.Equal(Three, leader.Node.Leader);
        Assert.Equal(before, cluster.NowMs);
    }

    [Fact]
    public void Target_is_caught_up_first_and_proposals_wait_meanwhile()
    {
        var leader = ReplicationTests.LeaderOfThree();
        var index = leader.Propose(7);
        leader.TakeSent();

        Assert.True(leader.Node.TryTransferLeadership(Two));
        leader.Drain();
        Assert.Empty(leader.TakeSent());
        Assert.Equal(ProposeResult.TransferringLeadership, leader.Node.TryPropose(1, out _));

        leader.Receive(ReplicationTests.Ack(Two, leader, index));
        Assert.Single(leader.TakeSent(), m => m.Kind == RaftMessageKind.TimeoutNow && m.To == Two);
    }

    [Fact]
    public void Transfer_is_given_up_after_an_election_timeout()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster.Lose = message => message.Kind == RaftMessageKind.TimeoutNow;
        Assert.True(leader.Node.TryTransferLeadership(Three));

        cluster.Run(500);

        Assert.Equal(RaftRole.Leader, leader.Node.Role);
        Assert.Equal(ProposeResult.Accepted, leader.Node.TryPropose(1, out _));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_hampered_one_takes_over_when_it_is_asked_and_can(bool can)
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster[3].Node.IsHampered = true;
        cluster[3].Node.LeadsWhenAsked = can;
        cluster.Run(300);

        Assert.False(leader.Node.TryTransferLeadership(Three));
        Assert.True(leader.Node.TryTransferLeadership(Three, evenHampered: true));
        leader.Drain();
        cluster.Pump();

        Assert.Equal(can ? RaftRole.Leader : RaftRole.Follower, cluster[3].Node.Role);
    }

    [Fact]
    public void Transfer_to_a_silent_or_unknown_node_or_from_a_follower_is_refused()
    {
        var cluster = new Cluster(3);
        var leader = cluster.Elect(1);
        cluster[3].Crash();
        cluster.Run(600);

        Assert.False(leader.Node.TryTransferLeadership(Three));
        Assert.False(leader.Node.TryTransferLeadership(new NodeId(9)));
        Assert.False(leader.Node.TryTransferLeadership(leader.Id));
        Assert.False(cluster[2].Node.TryTransferLeadership(Three));
        Assert.True(leader.Node.TryTransferLeadership(Two));
        Assert.False(leader.Node.TryTransferLeadership(Two));
    }

    [Fact]
    public void Late_order_to_take_over_is_ignored_when_its_sender_does_not_lead()
    {
        var replica = new Replica(1, 3, hardState: new HardState(new Term(5), NodeId.None));

        replica.Receive(new RaftMessage
        {
            Kind = RaftMessageKind.TimeoutNow,
            From = Two,
            To = new NodeId(1),
            Term = new Term(5),
        });

        Assert.Equal((RaftRole.Follower, new Term(5)), (replica.Node.Role, replica.Node.Term));
    }
}
