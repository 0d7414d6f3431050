using Broker.Api;
using Broker.Consensus;
using Broker.Domain;
using Broker.Replication;
using Broker.Tests.Unit.Storage;
using Xunit;

namespace Broker.Tests.Unit.Api;

public sealed class ForwardedCallsTests : IAsyncDisposable
{
    private static readonly GroupId Group = new(2);
    private static readonly GroupStatus Other = StatusOf(new NodeId(1));

    private readonly ManualClock _clock = new();
    private readonly ForwardedCalls _calls;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile GroupStatus _status = StatusOf(new NodeId(1));

    public ForwardedCallsTests() => _calls = new ForwardedCalls(1_000, Look, WaitForChangeAsync, _clock);

    public ValueTask DisposeAsync() => _calls.DisposeAsync();

    [Fact]
    public void What_is_held_is_bounded_in_bytes_and_the_rest_is_told_when_to_come_back()
    {
        var (first, second) = (new Call(_calls, 600), new Call(_calls, 600));
        Assert.True(_calls.TryEnter(first), "there is room");
        Assert.False(_calls.TryEnter(second), "there is no room");
        Assert.Equal(600, _calls.Bytes);
        Assert.Equal(RefusalCode.Overloaded, second.Refusal?.Code);
        Assert.True(second.Refusal!.RetryAfter > TimeSpan.Zero, "it says when to come back");
        _calls.Leave(first);
        Assert.Equal(0, _calls.Bytes);
        Assert.True(_calls.TryEnter(new Call(_calls, 600)), "there is room again");
    }

    [Fact]
    public async Task What_an_old_leader_leaves_unanswered_fails_when_leadership_has_moved()
    {
        var old = Send(new NodeId(1));
        var other = new Call(_calls, 10, new GroupId(3));
        Assert.True(_calls.TryEnter(other), "there is room");
        _calls.Sending(other, new NodeId(1));
        Lead(NodeId.None);
        await AwaitAsync(() => _clock.WaitingTimers >= 1);
        _clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Null(old.Refusal);

        Lead(new NodeId(3));
        var next = Send(new NodeId(3));
        await AwaitAsync(() =>
        {
            _clock.Advance(TimeSpan.FromMilliseconds(100));
            return old.Refusal is not null;
        });
        Assert.Equal(RefusalCode.OutcomeUnknown, old.Refusal?.Code);
        Assert.Null(next.Refusal);
        Assert.Equal(20, _calls.Bytes);
    }

    /// <summary>Another group keeps its leader.</summary>
    private GroupStatus Look(GroupId group) => group == Group ? _status : Other;

    private Task WaitForChangeAsync(GroupId group, GroupStatus seen, CancellationToken cancellationToken)
    {
        var changed = Volatile.Read(ref _changed);
        return ReferenceEquals(seen, Look(group)) ? changed.Task.WaitAsync(cancellationToken) : Task.CompletedTask;
    }

    private static GroupStatus StatusOf(NodeId leader) => new(
        Group, RaftRole.Follower, new Term(1), leader, LogIndex.None, LogIndex.None, LogIndex.None, null!);

    private static async Task AwaitAsync(Func<bool> condition)
    {
        for (var i = 0; i < 2_000 && !condition(); i++)
        {
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        Assert.True(condition(), "it comes about");
    }

    private Call Send(NodeId to)
    {
        var call = new Call(_calls, 10, Group);
        Assert.True(_calls.TryEnter(call), "there is room");
        _calls.Sending(call, to);
        return call;
    }

    private void Lead(NodeId leader)
    {
        _status = StatusOf(leader);
        Interlocked.Exchange(ref _changed, new(TaskCreationOptions.RunContinuationsAsynchronously)).SetResult();
    }

    private sealed class Call(ForwardedCalls holder, int sizeBytes, GroupId group = default) : IForwardedCall
    {
        public BrokerException? Refusal { get; private set; }

        public GroupId Group => group;

        public int SizeBytes => sizeBytes;

        public void Fail(BrokerException refusal)
        {
            if (refusal.Code == RefusalCode.OutcomeUnknown)
            {
                holder.Leave(this);
            }

            Refusal = refusal;
        }
    }
}
