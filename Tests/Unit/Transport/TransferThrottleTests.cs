using Broker.Transport;
using Xunit;

namespace Broker.Tests.Unit.PeerStreams;

public sealed class TransferThrottleTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public void Pieces_leave_at_the_rate_and_in_their_order()
    {
        var time = new ManualTime();
        var throttle = new TransferThrottle(bytesPerSecond: 1_000, time);

        var first = throttle.WaitAsync(500, Stop);
        var second = throttle.WaitAsync(250, Stop);
        var third = throttle.WaitAsync(1, Stop);
        Assert.True(first.IsCompleted);
        Assert.False(second.IsCompleted);
        time.Advance(TimeSpan.FromMilliseconds(499));
        Assert.False(second.IsCompleted);
        time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.True(second.IsCompleted);
        Assert.False(third.IsCompleted);
        time.Advance(TimeSpan.FromMilliseconds(250));
        Assert.True(third.IsCompleted);
    }

    [Fact]
    public void What_has_left_already_is_made_up_for_and_others_wait_behind_it()
    {
        var time = new ManualTime();
        var throttle = new TransferThrottle(bytesPerSecond: 1_000, time);

        Assert.Equal(TimeSpan.FromMilliseconds(500), throttle.Charge(500));
        Assert.Equal(TimeSpan.FromMilliseconds(750), throttle.Charge(250));
        var piece = throttle.WaitAsync(1, Stop);
        time.Advance(TimeSpan.FromMilliseconds(749));
        Assert.False(piece.IsCompleted);
        time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.True(piece.IsCompleted);
    }

    [Fact]
    public void Time_in_which_nothing_was_sent_is_not_saved_up()
    {
        var time = new ManualTime();
        var throttle = new TransferThrottle(bytesPerSecond: 1_000, time);
        time.Advance(TimeSpan.FromHours(1));

        Assert.True(throttle.WaitAsync(1_000, Stop).IsCompleted);
        Assert.False(throttle.WaitAsync(1, Stop).IsCompleted);
    }
}
