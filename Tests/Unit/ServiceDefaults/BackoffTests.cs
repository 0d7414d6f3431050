using Broker.ServiceDefaults;
using Xunit;

namespace Broker.Tests.Unit.ServiceDefaults;

public sealed class BackoffTests
{
    private static readonly TimeSpan First = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(2);

    [Theory]
    [InlineData(1, 100)]
    [InlineData(2, 200)]
    [InlineData(5, 1_600)]
    [InlineData(6, 2_000)]
    [InlineData(1_000_000, 2_000)]
    public void A_wait_doubles_up_to_the_longest_and_half_of_it_is_chance(int attempt, int boundMs)
    {
        var waits = Enumerable.Range(0, 200)
            .Select(_ => Backoff.Draw(attempt, First, Longest).TotalMilliseconds)
            .ToList();

        Assert.All(waits, wait => Assert.InRange(wait, boundMs / 2.0, boundMs));
        Assert.True(waits.Max() - waits.Min() > boundMs / 10.0, "chance is in it");
    }

    [Fact]
    public async Task After_a_success_the_waits_begin_anew()
    {
        var backoff = new Backoff(TimeSpan.FromTicks(2), TimeSpan.FromTicks(8), TimeProvider.System);
        await backoff.WaitAsync(TestContext.Current.CancellationToken);
        await backoff.WaitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(2, backoff.Attempts);

        backoff.Reset();

        Assert.Equal(0, backoff.Attempts);
    }
}
