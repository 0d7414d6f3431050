using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Broker.Tests.Benchmarks;

/// <summary>Waits to the 0.1 ms on a thread of one's own: timers of the runtime count whole milliseconds.</summary>
internal static partial class PreciseClock
{
    public static void SleepUntil(long timestamp)
    {
        var left = timestamp - Stopwatch.GetTimestamp();
        if (left > 0)
        {
            var nanoseconds = left * (1_000_000_000 / Stopwatch.Frequency);
            var span = new TimeSpec(nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);

            // Cut short by a signal it returns early, and the caller looks at the clock again.
            _ = NanoSleep(in span, IntPtr.Zero);
        }
    }

    [LibraryImport("libc", EntryPoint = "nanosleep")]
    private static partial int NanoSleep(in TimeSpec span, IntPtr left);

    [StructLayout(LayoutKind.Sequential)]
    private readonly struct TimeSpec(long seconds, long nanoseconds)
    {
        public readonly long Seconds = seconds;
        public readonly long Nanoseconds = nanoseconds;
    }
}
