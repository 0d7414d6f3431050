using Broker.Replication;
using Xunit;

namespace Broker.Tests.Unit.Replication;

/// <summary>Of a node's groups one has the turn; it keeps it until another has asked.</summary>
public sealed class ThinningTurnTests
{
    private readonly ThinningTurn _turn = new();

    [Fact]
    public void One_has_it_and_may_keep_it_while_nobody_else_has_asked()
    {
        Assert.True(_turn.TryTake());
        Assert.True(_turn.MayKeep());
        Assert.False(_turn.TryTake());
        Assert.False(_turn.MayKeep());
    }

    [Fact]
    public void Who_asked_in_vain_is_forgotten_when_it_ends()
    {
        Assert.True(_turn.TryTake());
        Assert.False(_turn.TryTake());
        _turn.End();
        Assert.True(_turn.TryTake());
        Assert.True(_turn.MayKeep());
    }
}
