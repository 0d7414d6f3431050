using System.Diagnostics;
using Xunit;

namespace Broker.Tests.Interop;

/// <summary>Waits for a condition, up to a deadline.</summary>
internal static class Eventually
{
    public static Task HoldsAsync(Func<bool> condition, string what, double seconds = 20) =>
        HoldsAsync(() => Task.FromResult(condition()), () => what, seconds);

    public static async Task HoldsAsync(Func<Task<bool>> condition, Func<string> what, double seconds = 20)
    {
        var watch = Stopwatch.StartNew();
        while (!await condition())
        {
            Assert.True(watch.Elapsed.TotalSeconds < seconds, $"Did not happen within {seconds} s: {what()}");
            await Task.Delay(10);
        }
    }
}
