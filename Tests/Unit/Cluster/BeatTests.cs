using Broker.Cluster;
using Xunit;

namespace Broker.Tests.Unit.Cluster;

public sealed class BeatTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(500)]
    [InlineData(1_000)]
    [InlineData(2_000)]
    public void Whatever_the_moment_the_wait_ends_at_the_next_multiple(int intervalMs)
    {
        for (var now = 123_456_000L; now < 123_456_000L + (2 * intervalMs); now++)
        {
            var wait = Beat.WaitMs(now, intervalMs);
            Assert.InRange(wait, 1, intervalMs);
            Assert.Equal(0, (now + wait) % intervalMs);
        }
    }

    [Fact]
    public async Task A_wait_ends()
    {
        for (var round = 0; round < 5; round++)
        {
            await Beat.NextAsync(TimeSpan.FromMilliseconds(5), TimeProvider.System, Stop);
        }
    }

    [Fact]
    public async Task A_wait_that_is_given_up_ends_at_once()
    {
        using var gone = new CancellationTokenSource();
        var beat = Beat.NextAsync(TimeSpan.FromHours(1), TimeProvider.System, gone.Token);
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => beat);
    }
}
