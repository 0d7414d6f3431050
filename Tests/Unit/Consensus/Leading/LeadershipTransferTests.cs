using Broker.Consensus;
using Broker.Domain;
using Xunit;

namespace Broker.Tests.Unit.Consensus;

public sealed class LeadershipTransferTests
{
    private static readonly NodeId Two = new(2);
    private static readonly LogIndex Last = new(9);

    private readonly LeadershipTransfer _transfer = new();

    [Fact]
    public void Nothing_is_under_way_at_first()
    {
        Assert.False(_transfer.IsUnderWay);
        Assert.Equal(long.MaxValue, _transfer.DeadlineMs);
        Assert.False(_transfer.IsTimeToTell(FollowerAt(2, 9), Last));
    }

    [Fact]
    public void Target_is_told_once_when_it_holds_all()
    {
        _transfer.Begin(Two, deadlineMs: 500);
        Assert.Equal((true, 500), (_transfer.IsUnderWay, _transfer.DeadlineMs));
        Assert.False(_transfer.IsTimeToTell(FollowerAt(2, 8), Last));
        Assert.False(_transfer.IsTimeToTell(FollowerAt(3, 9), Last));
        Assert.True(_transfer.IsTimeToTell(FollowerAt(2, 9), Last));

        _transfer.NoteTold();

        Assert.False(_transfer.IsTimeToTell(FollowerAt(2, 9), Last));
        Assert.True(_transfer.IsUnderWay);
    }

    [Fact]
    public void Next_transfer_begins_as_the_first_did()
    {
        _transfer.Begin(Two, deadlineMs: 500);
        _transfer.NoteTold();
        _transfer.End();
        Assert.Equal((false, long.MaxValue), (_transfer.IsUnderWay, _transfer.DeadlineMs));

        _transfer.Begin(Two, deadlineMs: 900);

        Assert.Equal(900, _transfer.DeadlineMs);
        Assert.True(_transfer.IsTimeToTell(FollowerAt(2, 9), Last));
    }

    private static Follower FollowerAt(int node, int match)
    {
        var follower = new Follower(new NodeId(node), isVoter: true, new LogIndex(1), nowMs: 0);
        follower.TryAdvance(new LogIndex(match));
        return follower;
    }
}
