using Xunit;

namespace Broker.Tests.Unit.Delivery;

internal static class Poll
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    public static async Task UntilAsync(Func<bool> condition, CancellationToken cancellationToken)
    {
        var start = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(
                TimeProvider.System.GetElapsedTime(start) < Deadline, "the condition did not come true in time");
            await Task.Delay(10, cancellationToken);
        }
    }
}
