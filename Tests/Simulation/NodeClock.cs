namespace Broker.Tests.Simulation;

/// <summary>A node's clocks: a steady one that runs at its own speed, and a wall clock that may jump.</summary>
internal sealed class NodeClock(Scheduler scheduler, double rate) : TimeProvider
{
    public static readonly DateTimeOffset Epoch = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public TimeSpan Jump { get; set; }

    public override long TimestampFrequency => 1_000_000;

    public override long GetTimestamp() => (long)(scheduler.NowUs * rate);

    /// <summary>Milliseconds of the steady clock, as if it had never jumped.</summary>
    public long SteadyUnixMs => Epoch.ToUnixTimeMilliseconds() + (GetTimestamp() / 1_000);

    public override DateTimeOffset GetUtcNow() => Epoch + Jump + TimeSpan.FromMicroseconds(GetTimestamp());
}
